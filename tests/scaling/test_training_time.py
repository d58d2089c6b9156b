"""Time of training: activations as pycls counts them, the fit against known truth and against what was left out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import nas
from nas.errors import NasError
from nas.hardware import Calibration
from nas.scaling.planning.training_time import (
    TRAINING,
    Clock,
    activations,
    device_clock,
    measured_clock,
    read_training_time,
    training_devices,
    write_training_time,
)
from nas.scaling.planning.training_time_fit import (
    fit_coefficients,
    left_out,
    mean_error_percent,
    pair_residuals,
    symmetric_quantiles,
)

#: activations that pycls counts, model_complexity.json
ACTS = {
    "efficientnet_b0": 6_748_036,
    "efficientnet_b3": 23_831_296,
    "regnetx_002": 2_164_056,
    "regnety_040": 12_287_200,
    "resnet50": 11_315_688,
}
#: hours of 100 epochs on eight V100 with ImageNet, MODEL_ZOO.md of pycls
HOURS = {
    "regnetx_002": 3.0, "regnetx_016": 8.9, "regnetx_040": 17.9, "regnetx_160": 41.3, "regnetx_320": 81.8,
    "regnety_002": 3.3, "regnety_016": 10.3, "regnety_040": 17.5, "regnety_160": 50.8, "regnety_320": 79.4,
    "resnet50": 14.8, "resnet101": 24.0, "resnet152": 33.7,
}  # fmt: skip


@pytest.mark.parametrize("name", ACTS)
def test_activations_are_those_of_pycls(name: str) -> None:
    assert activations(nas.network(name)) == ACTS[name]


def test_activations_of_the_whole_zoo(data_dir: Path) -> None:
    import pandas as pd

    zoo = pd.read_csv(data_dir / "published" / "pycls_zoo.csv").set_index("model")
    sizes = {f"{family}-{size}": f"{family.lower()}_{number}" for family in ("RegNetX", "RegNetY") for size, number in
             (("400MF", "004"), ("3.2GF", "032"), ("8.0GF", "080"), ("12GF", "120"))}  # fmt: skip
    for theirs, ours in (sizes | {"EfficientNet-B5": "efficientnet_b5", "ResNet-152": "resnet152"}).items():
        assert activations(nas.network(ours)) == zoo.at[theirs, "acts"], ours


def synthetic(seed: int, noise: float) -> tuple[npt.NDArray[np.float64], ...]:
    rng = np.random.default_rng(seed)
    macs = np.exp(rng.uniform(math.log(2e8), math.log(3e10), 60))
    acts = macs / np.exp(rng.uniform(math.log(60), math.log(1000), 60))
    seconds = (2e-13 * macs + 3e-10 * acts) * np.exp(noise * rng.standard_normal(60))
    return macs, acts, seconds


def test_the_fit_finds_known_coefficients() -> None:
    fitted = fit_coefficients(*synthetic(0, 0.0))
    assert fitted.per_mac == pytest.approx(2e-13, rel=1e-3)
    assert fitted.per_activation == pytest.approx(3e-10, rel=1e-3)


def test_the_fit_is_the_least_one_that_a_general_minimiser_finds() -> None:
    from scipy.optimize import minimize

    macs, acts, seconds = synthetic(1, 0.2)

    def loss(logs: npt.NDArray[np.float64]) -> float:
        a, b = np.exp(logs)
        return float(np.sum(np.log(seconds / (a * macs + b * acts)) ** 2))

    found = minimize(loss, np.log([1e-13, 1e-10]), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    ours = fit_coefficients(macs, acts, seconds)
    assert ours == pytest.approx(np.exp(found.x), rel=1e-3)
    assert loss(np.log(ours)) <= found.fun * (1 + 1e-6)


def test_a_network_left_out_is_judged_by_the_others_only() -> None:
    macs, acts, seconds = synthetic(2, 0.0)
    families = np.array(["a", "b", "c"] * 20)
    slow = seconds.copy()
    slow[7] *= 3
    assert left_out(macs, acts, slow, families).network[7] == pytest.approx(math.log(3), abs=2e-3)
    slow = np.where(families == "b", 2 * seconds, seconds)
    residuals = left_out(macs, acts, slow, families)
    np.testing.assert_allclose(residuals.family[families == "b"], math.log(2), atol=2e-3)
    assert residuals.network[families == "b"].max() < 0.9 * math.log(2)


def test_a_gpu_that_is_slower_for_all_networks_has_the_same_ratios() -> None:
    assert pair_residuals(np.full(3, 0.7)).tolist() == [0.0] * 6
    assert sorted(pair_residuals(np.array([0.0, 0.0, 0.7]))) == [-0.7, -0.7, 0.0, 0.0, 0.7, 0.7]


def test_error_is_relative_to_what_was_measured() -> None:
    assert mean_error_percent(np.log([1 / 1.1, 1 / 0.9])) == pytest.approx(10)


def test_too_few_families_are_refused() -> None:
    macs, acts, seconds = synthetic(0, 0.0)
    with pytest.raises(NasError, match="60 networks of 2 families were measured, at least 10 of 3"):
        left_out(macs, acts, seconds, np.array(["a", "b"] * 30))


def test_hours_of_the_zoo_are_within_the_interval_nine_times_in_ten() -> None:
    clock = device_clock("v100")
    held = 0
    for name, hours in HOURS.items():
        low, high = (seconds * 1_281_167 * 100 / 3600 / 8 for seconds in clock.interval(nas.network(name)))
        held += low <= hours <= high
    assert held >= 0.9 * len(HOURS)


def test_the_shipped_fit_says_its_error() -> None:
    times = read_training_time("v100")
    assert (times.networks, times.families) == (36, 5)
    assert 8 < times.error_percent < times.new_family_error_percent < 12
    b7, b0 = nas.network("efficientnet_b7"), nas.network("efficientnet_b0")
    assert times.extrapolates(b7)
    assert not times.extrapolates(b0)


def test_odds_and_intervals_agree() -> None:
    clock, spec = device_clock("v100"), nas.network("efficientnet_b0")
    low, high = clock.interval(spec)
    assert [clock.probability_below(spec, s) for s in (low, clock.seconds(spec), high)] == pytest.approx(
        [0.05, 0.5, 0.95], abs=2e-3
    )
    assert clock.quantile(spec, 0.95) == high


def test_a_measured_throughput_is_kept_for_its_network_and_sets_the_scale_of_others() -> None:
    b0, b4 = nas.network("efficientnet_b0"), nas.network("efficientnet_b4")
    clock, twice = (measured_clock(rate, b0, device="v100") for rate in (1000, 2000))
    assert clock.seconds(b0) == pytest.approx(1e-3)
    assert clock.interval(b0) == (clock.seconds(b0),) * 2
    assert [clock.probability_below(b0, s) for s in (0.99e-3, 1e-3)] == [0, 1]
    assert clock.seconds(b4) == pytest.approx(2 * twice.seconds(b4))
    # On V100 an image of B4 takes 12.83 ms and one of B0 1.978 ms: train_fw_bw_time of the zoo.
    low, high = clock.interval(b4)
    assert low < 12.83 / 1.978 * 1e-3 < high


def test_another_gpu_is_less_sure_than_the_one_measured() -> None:
    clock = measured_clock(1000, nas.network("efficientnet_b0"), device="v100")
    assert clock.above_percent > device_clock("v100").above_percent
    assert f"+{clock.above_percent:.0f} %" in clock.says


def test_ratios_on_another_gpu_are_in_the_interval(data_dir: Path) -> None:
    """EfficientNet under mixed precision on an RTX 4090, as timm measured it: inference, the nearest there is."""
    import pandas as pd

    table = pd.read_csv(data_dir / "published" / "timm-benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv")
    rows = table[table["model"].str.fullmatch(r"efficientnet_b[0-5]")]
    b0 = nas.network("efficientnet_b0")
    known = rows[(rows["model"] == "efficientnet_b0") & (rows["infer_img_size"] == 224)].iloc[0]
    clock = measured_clock(known["infer_samples_per_sec"], b0, device="v100")
    held = 0
    for row in rows.itertuples():
        low, high = clock.interval(nas.network(str(row.model)).scale(resolution=int(row.infer_img_size)))
        held += low <= 1 / row.infer_samples_per_sec <= high
    assert len(rows) > 5
    assert held >= 0.9 * len(rows)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    times = read_training_time("v100")
    (tmp_path / "profile.yaml").write_text("name: mine\ndescription: d\ndevice: g\n", encoding="utf-8")
    path = write_training_time(times, tmp_path)
    assert read_training_time(str(tmp_path)) == times
    path.write_text(path.read_text(encoding="utf-8").replace("networks: 36", "networks: many"), encoding="utf-8")
    with pytest.raises(NasError, match=rf"{TRAINING}: networks: "):
        read_training_time(str(tmp_path))
    path.write_text("gmacs: [1", encoding="utf-8")
    with pytest.raises(NasError, match="cannot read"):
        read_training_time(str(tmp_path))


@pytest.mark.parametrize("quantiles", ["[0, 1]", "[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"])
def test_quantiles_that_are_none_are_refused(tmp_path: Path, quantiles: str) -> None:
    (tmp_path / "profile.yaml").write_text("name: mine\ndescription: d\ndevice: g\n", encoding="utf-8")
    path = write_training_time(read_training_time("v100"), tmp_path)
    head = path.read_text(encoding="utf-8").partition("new_family:")[0]
    tail = path.read_text(encoding="utf-8").partition("other_gpus:")[2]
    path.write_text(f"{head}new_family: {quantiles}\nother_gpus:{tail}", encoding="utf-8")
    with pytest.raises(NasError, match=r"training\.yaml.*new_family.*rising order"):
        device_clock(str(tmp_path))


def test_devices_and_their_misspelling() -> None:
    assert "v100" in training_devices()
    with pytest.raises(NasError, match="unknown training device 'v10'; did you mean 'v100'"):
        device_clock("v10")
    with pytest.raises(NasError, match="unknown training device 'pixel4'"):
        device_clock("pixel4")


@pytest.mark.parametrize("rate", [0, -3, math.nan, math.inf])
def test_throughputs_that_cannot_be(rate: float) -> None:
    with pytest.raises(NasError, match=r"images per second are .*, must be a positive number"):
        measured_clock(rate, nas.network("efficientnet_b0"), device="v100")


def test_symmetric_quantiles_hold_their_share() -> None:
    rng = np.random.default_rng(0)
    calibration = Calibration(symmetric_quantiles(rng.standard_normal(5000)))
    assert calibration.quantile(0.5) == pytest.approx(0, abs=1e-6)
    assert calibration.quantile(0.95) == pytest.approx(1.645, abs=0.05)
    assert isinstance(replace(device_clock("v100"), calibration=calibration), Clock)
