"""Fitting a profile folder: on devices whose truth is known, the right kind is chosen and finds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import nas
from nas.errors import NasError
from nas.hardware import Calibration, LookupPredictor, Profile, read_target
from nas.hardware.fitting.choosing import choose
from nas.hardware.fitting.fit_kinds import MeasuredData
from nas.hardware.fitting.fit_profile import fit_profile, read_measured
from nas.hardware.fitting.fit_roofline import MIN_NETWORKS, cross_validate_roofline, fit_roofline
from nas.hardware.fitting.held_out import HeldOutValues, cross_conformal, spearman
from nas.hardware.fitting.kernel_samples import samples_of
from nas.hardware.predictors.fused_kernels import CLASSES, fused_kernels
from nas.hardware.predictors.lookup import kernels
from nas.hardware.predictors.roofline import RooflinePredictor
from nas.hardware.profile import Conditions, write_profile
from nas.space import Block, Codes, NetworkSpec, SearchSpace

Device = Callable[[NetworkSpec], float]


def table_device(block: Block) -> float:
    """Milliseconds of a block, without any rule that a model of kernels could learn: a hash of its kernels."""
    text = kernels(block)
    return 0.5 + (sum(ord(letter) * (i + 1) for i, letter in enumerate(text)) % 997) / 997


def roofline_device(spec: NetworkSpec) -> float:
    """A processor with a peak, a bandwidth and a start of each kernel: depthwise kernels at a fifth of the peak."""
    total = 0.2
    for kernel in fused_kernels(spec.layers()):
        peak = 4.0 if CLASSES[kernel.kind] == "depthwise" else 20.0
        total += 0.01 + max(kernel.macs / peak, kernel.elements / 2.0)
    return total


def folder_with(tmp_path: Path, rows: pd.DataFrame) -> Path:
    folder = tmp_path / "device"
    folder.mkdir(exist_ok=True)
    conditions = Conditions(runtime="a simulation", threads=1, source="this test")
    write_profile(Profile(name="device", description="d", device="d", conditions=conditions), folder / "profile.yaml")
    rows.to_csv(folder / "measurements.csv", index=False)
    return folder


def network_rows(space: SearchSpace, codes: Codes, latency: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"kind": "network", "space": space.name, "item": space.format(codes), "latency_ms": latency})


def block_rows(space: SearchSpace) -> pd.DataFrame:
    times = {kernels(block): table_device(block) for block in space.vocabulary.blocks}
    return pd.DataFrame({"kind": "block", "space": space.name, "item": times.keys(), "latency_ms": times.values()})


@pytest.fixture(scope="module")
def additive(mbconv: SearchSpace) -> tuple[Codes, np.ndarray]:
    """Networks that take 0.8 of the sum of their blocks, less 0.02 ms a block, measured without noise."""
    codes = mbconv.sample(80, np.random.default_rng(5))
    sums = [sum(0.8 * table_device(block) - 0.02 for block in mbconv.spec(code).blocks) for code in codes]
    return codes, np.array(sums)


def test_blocks_that_add_up_make_a_look_up_table_which_is_exact(
    tmp_path: Path, mbconv: SearchSpace, additive: tuple[Codes, np.ndarray]
) -> None:
    codes, latency = additive
    rows = pd.concat([block_rows(mbconv), network_rows(mbconv, codes[:24], latency[:24])])
    folder = folder_with(tmp_path, rows)
    (fitting,) = fit_profile(folder)
    assert fitting.choice.kind == "lookup"
    fitted = read_target(folder).on(mbconv)["latency_ms"]
    assert isinstance(fitted.predictor, LookupPredictor)
    mean, _ = fitted.predictor.predict(mbconv, codes[24:])
    np.testing.assert_allclose(mean, latency[24:], rtol=1e-6)
    errors = {each.name: each.error for each in fitting.choice.candidates}
    assert errors["lookup"] < 1e-6 < 0.005 < errors["roofline"]


def test_blocks_alone_make_a_table_compared_with_the_network_measured_between_them(
    tmp_path: Path, mbconv: SearchSpace, additive: tuple[Codes, np.ndarray]
) -> None:
    codes, latency = additive
    calibration = network_rows(mbconv, codes[:1], latency[:1]).assign(kind="calibration")
    folder = folder_with(tmp_path, pd.concat([block_rows(mbconv), calibration]))
    (fitting,) = fit_profile(folder)
    assert fitting.choice.kind == "lookup"
    assert fitting.fit.held_out is None
    (compared,) = fitting.fit.published
    assert compared.predicted_ms == pytest.approx(latency[0], rel=1e-4)
    mean, _ = read_target(folder).on(mbconv)["latency_ms"].predictor.predict(mbconv, codes[1:])
    np.testing.assert_allclose(mean, latency[1:], rtol=0.02)


def test_blocks_alone_say_nothing_of_whole_networks(tmp_path: Path, mbconv: SearchSpace) -> None:
    with pytest.raises(NasError, match="measure at least one whole network"):
        fit_profile(folder_with(tmp_path, block_rows(mbconv)))


def test_a_few_blocks_make_a_roofline_that_predicts_the_others(tmp_path: Path, mbconv: SearchSpace) -> None:
    blocks = list(mbconv.vocabulary.blocks)
    measured = np.random.default_rng(1).permutation(len(blocks))[:120]
    times = [roofline_device(blocks[i]) for i in measured]
    rows = pd.DataFrame(
        {"kind": "block", "space": "mbconv", "item": [kernels(blocks[i]) for i in measured], "latency_ms": times}
    )
    (fitting,) = fit_profile(folder_with(tmp_path, rows))
    assert fitting.choice.kind == "roofline"
    assert fitting.fit.held_out is not None
    assert fitting.fit.held_out.protocol == "5-fold cross-validation of single blocks"
    predictor = fitting.choice.predictor
    others = [block for i, block in enumerate(blocks) if i not in measured]
    truth = np.array([roofline_device(block) - 0.2 for block in others])
    found = np.array([predictor.block_ms(block) for block in others])
    assert np.median(np.abs(found - truth) / truth) < 0.05


@pytest.fixture(scope="module")
def roofline(mbconv: SearchSpace) -> RooflinePredictor:
    codes = mbconv.sample(40, np.random.default_rng(2))
    specs = [mbconv.spec(code) for code in codes]
    return fit_roofline(samples_of([spec.layers() for spec in specs], [roofline_device(spec) for spec in specs]))


def test_a_roofline_device_is_recovered_from_forty_networks(roofline: RooflinePredictor, mbconv: SearchSpace) -> None:
    codes = mbconv.sample(100, np.random.default_rng(3))
    truth = np.array([roofline_device(mbconv.spec(code)) for code in codes])
    mean, std = roofline.predict(mbconv, codes)
    assert np.abs(mean / truth - 1).max() < 0.02
    assert spearmanr(mean, truth).statistic > 0.999
    assert (std < 0.03 * mean).all()


def test_networks_of_the_space_and_one_at_a_time_are_predicted_alike(
    roofline: RooflinePredictor, mbconv: SearchSpace
) -> None:
    codes = mbconv.sample(20, np.random.default_rng(4))
    each = np.array([roofline.predict_spec(mbconv.spec(code)) for code in codes])
    np.testing.assert_allclose(np.stack(roofline.predict(mbconv, codes), axis=1), each, rtol=1e-6)


def test_a_network_is_its_start_and_its_blocks(roofline: RooflinePredictor, mbconv: SearchSpace) -> None:
    spec = mbconv.spec(mbconv.sample(1, np.random.default_rng(4))[0])
    total = roofline.start + sum(roofline.block_ms(block) for block in spec.blocks)
    assert total == pytest.approx(roofline.predict_spec(spec)[0], rel=1e-6)


def test_uncertainty_grows_away_from_what_was_measured(mbconv: SearchSpace) -> None:
    """A device with an alignment effect that no roofline has: what it is like elsewhere cannot be known."""
    codes = mbconv.sample(40, np.random.default_rng(2))
    specs = [mbconv.spec(code) for code in codes]
    uneven = [
        sum((1 + 0.3 * np.sin(3 * k.shape[0])) * (k.macs / 10 + k.elements) for k in fused_kernels(spec.layers()))
        for spec in specs
    ]
    predictor = fit_roofline(samples_of([spec.layers() for spec in specs], uneven))
    near_mean, near_std = predictor.predict_spec(specs[0])
    for name in ("resnet50", "convnext_tiny"):
        mean, std = predictor.predict_spec(nas.network(name))
        assert std / mean > 2 * near_std / near_mean


def test_bounds_hold_all_networks(roofline: RooflinePredictor, tiny_space: SearchSpace) -> None:
    mean, _ = roofline.predict(tiny_space, tiny_space.all_codes())
    np.testing.assert_allclose(roofline.bounds(tiny_space), (mean.min(), mean.max()), rtol=1e-6)


def test_a_stored_roofline_is_the_same(roofline: RooflinePredictor, mbconv: SearchSpace, tmp_path: Path) -> None:
    roofline.write(tmp_path / "p.npz")
    codes = mbconv.sample(20, np.random.default_rng(4))
    again = RooflinePredictor.read(tmp_path / "p.npz")
    for stored, fitted in zip(again.predict(mbconv, codes), roofline.predict(mbconv, codes), strict=True):
        np.testing.assert_array_equal(stored, fitted)
    assert again.calibration == roofline.calibration


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", None, "no weights"),
        ("weights", np.zeros(3), "weights must be"),
        ("rooflines", -np.ones(36), "negative"),
        ("spread", np.triu(np.ones((70, 70))), "spread"),
        ("scalars", np.array([0.1, 0.1, np.nan, 1.0]), "scalars must be"),
        ("calibration", np.arange(3.0), "calibration"),
        ("kinds", np.array(["a"]), "kinds"),
    ],
)
def test_a_damaged_roofline_is_refused(
    roofline: RooflinePredictor, tmp_path: Path, name: str, value: np.ndarray | None, message: str
) -> None:
    path = tmp_path / "p.npz"
    roofline.write(path)
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    arrays.pop(name)
    np.savez(path, **arrays, **({} if value is None else {name: value}))
    with pytest.raises(NasError, match=message) as caught:
        RooflinePredictor.read(path)
    assert "p.npz" in str(caught.value)


def test_blocks_and_networks_are_fitted_together(mbconv: SearchSpace) -> None:
    """Alone a block takes 1.3 times what it takes in a network, and 0.1 ms to be called; networks tell."""
    blocks = mbconv.vocabulary.blocks
    codes = mbconv.sample(112, np.random.default_rng(6))
    specs = [mbconv.spec(code) for code in codes]
    truth = np.array([roofline_device(spec) for spec in specs])
    alone = [1.3 * (roofline_device(block) - 0.2) + 0.1 for block in blocks]
    predictor = fit_roofline(
        samples_of([s.layers() for s in specs[:12]], truth[:12], [b.layers() for b in blocks], alone)
    )
    mean, _ = predictor.predict(mbconv, codes[12:])
    assert np.abs(mean / truth[12:] - 1).mean() < 0.03


def test_too_few_samples_for_a_roofline(mbconv: SearchSpace) -> None:
    layers = [mbconv.spec(code).layers() for code in mbconv.sample(MIN_NETWORKS - 1, np.random.default_rng(0))]
    with pytest.raises(NasError, match=f"at least {MIN_NETWORKS} networks"):
        fit_roofline(samples_of(layers, np.ones(len(layers))))
    with pytest.raises(NasError, match="positive"):
        samples_of(layers, -np.ones(len(layers)))


def test_cross_validation_never_sees_what_it_predicts(mbconv: SearchSpace) -> None:
    """A network whose value is off by a factor 3 is predicted as if that had never been measured."""
    specs = [mbconv.spec(code) for code in mbconv.sample(25, np.random.default_rng(7))]
    truth = np.array([roofline_device(spec) for spec in specs])
    wrong = truth.copy()
    wrong[4] *= 3
    fold = np.arange(25) % 5
    mean, _ = cross_validate_roofline(samples_of([s.layers() for s in specs], wrong), fold)
    expected, _ = cross_validate_roofline(samples_of([s.layers() for s in specs], truth), fold)
    np.testing.assert_allclose(mean[fold == 4], expected[fold == 4], rtol=1e-9)
    assert not np.allclose(mean[fold == 0], expected[fold == 0])


def test_intervals_are_calibrated_on_other_folds() -> None:
    """Residuals ten times larger in one fold are not covered there, because that fold has no say."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=400)
    fold = np.arange(400) % 4
    mean, std = np.full(400, 100.0), np.ones(400)
    fair = cross_conformal(mean + z, mean, std, fold)
    assert 0.87 <= fair.covered.mean() <= 0.93
    z[fold == 0] *= 10
    unfair = cross_conformal(mean + z, mean, std, fold)
    assert unfair.covered[fold == 0].mean() < 0.3


def test_error_figures_against_scipy() -> None:
    rng = np.random.default_rng(1)
    measured = np.round(rng.uniform(1, 30, 50))
    predicted = np.round(measured * rng.uniform(0.8, 1.2, 50))
    assert spearman(measured, predicted) == pytest.approx(spearmanr(measured, predicted).statistic)
    values = HeldOutValues(np.array([10.0, 20.0]), np.array([11.0, 19.5]), np.array([10.5, 0]), np.array([12.0, 30]))
    held_out = values.error("p", "n")
    assert held_out.mean_absolute_percentage_error == pytest.approx(6.25)
    assert (held_out.within_5_percent, held_out.within_10_percent) == (0.5, 1.0)
    assert held_out.interval_90_coverage == 0.5


def test_fitting_again_replaces_and_leaves_no_old_files(tmp_path: Path, mbconv: SearchSpace) -> None:
    codes = mbconv.sample(30, np.random.default_rng(8))
    latency = np.array([roofline_device(mbconv.spec(code)) for code in codes])
    rows = network_rows(mbconv, codes, latency).assign(energy_mj=5 * latency)
    folder = folder_with(tmp_path, rows)
    fit_profile(folder, kind="roofline")
    assert [fit.metric for fit in read_target(folder).profile.fits] == ["latency_ms", "energy_mj"]
    fit_profile(folder, metric="latency_ms", kind="linear-kernels")
    target = read_target(folder)
    kinds = {metric: fitted.predictor.kind for metric, fitted in target.on(mbconv).items()}
    assert kinds == {"latency_ms": "linear-kernels", "energy_mj": "roofline"}
    assert target.on(mbconv)["latency_ms"].fit.runtime == "a simulation"
    assert sorted(path.name for path in folder.iterdir()) == [
        "energy_mj_mbconv.npz", "energy_mj_mbconv_held_out.csv", "latency_ms_mbconv.json",
        "latency_ms_mbconv_held_out.csv", "measurements.csv", "profile.yaml",
    ]  # fmt: skip


def test_what_does_not_add_up_is_left_to_regression(tmp_path: Path, mbconv: SearchSpace) -> None:
    codes = mbconv.sample(20, np.random.default_rng(8))
    throughput = [1e3 / roofline_device(mbconv.spec(code)) for code in codes]
    rows = pd.DataFrame({"code": mbconv.format(codes), "throughput_ips": throughput})
    (data,) = read_measured(folder_with(tmp_path, rows), mbconv)
    lacking = {kind: reason for kind, reason in _lacks(data).items() if reason}
    assert set(lacking) == {"lookup", "roofline", "linear-kernels"}
    assert "does not add up" in lacking["roofline"]


def _lacks(data: MeasuredData) -> dict[str, str]:
    from nas.hardware.fitting.fit_kinds import KINDS

    return {kind.name: kind(data).lacks() for kind in KINDS}


def test_too_few_samples_say_how_many_each_kind_needs(tmp_path: Path, mbconv: SearchSpace) -> None:
    codes = mbconv.sample(4, np.random.default_rng(8))
    folder = folder_with(tmp_path, network_rows(mbconv, codes, np.array([5.0, 6, 7, 8])))
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(NasError) as caught:
        fit_profile(folder)
    assert "roofline: 11 networks are needed, 4 were measured, or 10 blocks" in str(caught.value)
    assert "regression: 13 networks are needed, 4 were measured" in str(caught.value)
    assert "linear-kernels: 5 networks are needed, 4 were measured" in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("metric", ["latency_zcu102_ms", "latency_vck190_ms"])
def test_a_measured_device_with_sixty_networks(data_dir: Path, mbconv: SearchSpace, metric: str) -> None:
    """Accel-NASBench: fitted on 60 networks of its training split, judged on its validation split."""
    from search_spaces.tables import accel_nasbench

    frame = pd.read_csv(data_dir / "accel_nasbench" / "imagenet_mbconv.csv.gz")
    codes = accel_nasbench._codes(frame, Path("table"))
    values = frame[metric].to_numpy()
    train = np.flatnonzero(frame.split == "train")
    chosen = np.random.default_rng(0).permutation(train)[:60]
    predictor = fit_roofline(samples_of([mbconv.spec(code).layers() for code in codes[chosen]], values[chosen]))
    judged = np.flatnonzero(frame.split == "val")
    mean, _ = predictor.predict(mbconv, codes[judged])
    off = np.abs(mean - values[judged]) / values[judged]
    assert np.mean(off <= 0.1) >= 0.97
    assert spearmanr(mean, values[judged]).statistic >= 0.995


def test_choosing_by_name(mbconv: SearchSpace, tmp_path: Path) -> None:
    codes = mbconv.sample(12, np.random.default_rng(9))
    latency = np.array([roofline_device(mbconv.spec(code)) for code in codes])
    (data,) = read_measured(folder_with(tmp_path, network_rows(mbconv, codes, latency)))
    choice = choose(data, "roofline")
    assert (choice.kind, choice.reason, choice.protocol) == ("roofline", "asked for", "leave-one-out")
    assert choice.predictor.calibration != Calibration.normal(1.645)
    with pytest.raises(NasError, match="lookup: no blocks were measured"):
        choose(data, "lookup")
