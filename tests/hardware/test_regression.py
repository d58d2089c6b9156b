"""Whole-network regression: against measured tables, against scikit-learn's Gaussian process, and on bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import nas
from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.fitting import fit_regression as fitting
from nas.hardware.fitting.fit_regression import cross_validate, fit_regression
from nas.hardware.fitting.regression_likelihood import PRIORS, _negative_log_likelihood
from nas.hardware.predictor import read_predictor
from nas.hardware.predictors.regression import Process, RegressionPredictor
from nas.hardware.predictors.regression_features import features_of
from nas.space import Codes, SearchSpace

Array = npt.NDArray[np.float64]


def additive(space: SearchSpace, codes: Codes) -> Array:
    """Milliseconds that add up over blocks: 1 for 100 million multiply-adds, and 0.05 for each block."""
    ids = space.vocabulary.ids(codes)
    macs = np.array([*(block.macs for block in space.vocabulary.blocks), 0.0])
    return np.asarray(macs[ids].sum(axis=1) / 1e8 + 0.05 * (ids >= 0).sum(axis=1))


@pytest.fixture(scope="module")
def fitted(mbconv: SearchSpace) -> RegressionPredictor:
    codes = mbconv.sample(40, np.random.default_rng(1))
    return fit_regression(mbconv, codes, additive(mbconv, codes))


def nasbench201(path: Path, column: str) -> tuple[SearchSpace, Codes, Array]:
    if not path.exists():
        pytest.skip(f"no {path.name}")
    space, frame = nas.space("nasbench201"), pd.read_csv(path)
    return space, np.array([space.encode(cell) for cell in frame["arch_str"]]), frame[column].to_numpy()


def test_what_adds_up_is_learned_from_forty_networks(mbconv: SearchSpace, fitted: RegressionPredictor) -> None:
    codes = mbconv.sample(500, np.random.default_rng(2))
    mean, _ = fitted.predict(mbconv, codes)
    assert np.mean(np.abs(mean / additive(mbconv, codes) - 1) < 0.05) > 0.98


def test_throughput_is_learned_by_its_reciprocal(mbconv: SearchSpace) -> None:
    codes = mbconv.sample(540, np.random.default_rng(3))
    rate = 1000 / additive(mbconv, codes)
    predictor = fit_regression(mbconv, codes[:40], rate[:40], "throughput_ips")
    mean, std = predictor.predict(mbconv, codes[40:])
    assert np.mean(np.abs(mean / rate[40:] - 1) < 0.05) > 0.98
    assert (std > 0).all()


def test_phone_from_one_hundred_networks(data_dir: Path) -> None:
    table = data_dir / "snapdragon855" / "nb201_latency_ms.csv.gz"
    space, codes, measured = nasbench201(table, "latbench_sd855_kryo485_cpu")
    order = np.random.default_rng(0).permutation(len(codes))
    known, held_out = order[:100], order[100:]
    predictor = fit_regression(space, codes[known], measured[known])
    mean, std = predictor.predict(space, codes[held_out])
    low, high = predictor.interval(mean, std)
    assert spearmanr(mean, measured[held_out]).statistic > 0.97
    assert np.mean(np.abs(mean / measured[held_out] - 1) < 0.1) > 0.97
    assert 0.84 < np.mean((low <= measured[held_out]) & (measured[held_out] <= high)) < 0.96


def test_posterior_is_that_of_scikit_learn(mbconv: SearchSpace, fitted: RegressionPredictor) -> None:
    """With the linear and additive terms switched off a standard process remains, which scikit-learn has too."""
    features = features_of(mbconv)
    codes, new = np.split(mbconv.sample(80, np.random.default_rng(4)), [60])
    times = additive(mbconv, codes) * np.exp(np.random.default_rng(5).normal(0, 0.1, 60))
    start, inputs = fitting._prepared(features, codes, times)
    tiny = {name: np.full_like(getattr(start, name), 1e-12) for name in ("work_slope", "number_slope", "smooth", "own")}
    p = replace(start, **tiny, signal=np.array([0.04]), noise=np.array([0.003]))
    p, left_out, _ = fitting._weighted(features, p, inputs)
    process = Process(features, p)
    seen = process.see(codes)
    kernel = ConstantKernel(0.04) * RBF(1.0) + WhiteKernel(0.003)
    target = times / seen.baseline - 1
    reference = GaussianProcessRegressor(kernel, optimizer=None).fit(seen.place, target)
    expected, expected_std = reference.predict(process.see(new).place, return_std=True)
    mean, std = process.predict(new)
    baseline = process.see(new).baseline
    np.testing.assert_allclose(mean / baseline - 1, expected, atol=1e-5)
    np.testing.assert_allclose(std / baseline, expected_std, rtol=1e-4)
    rest = np.arange(60) != 7
    without = GaussianProcessRegressor(kernel, optimizer=None).fit(seen.place[rest], target[rest])
    assert left_out[7] == pytest.approx(target[7] - without.predict(seen.place[7:8])[0], abs=1e-5)


def test_gradient_of_the_likelihood(tiny_space: SearchSpace) -> None:
    codes = tiny_space.all_codes()[::4]
    start, inputs = fitting._prepared(features_of(tiny_space), codes, additive(tiny_space, codes))
    values = {name: getattr(start, name) for name in PRIORS}
    ends = np.cumsum([len(value) for value in values.values()])[:-1]

    def value(theta: Array) -> float:
        at = dict(zip(values, np.split(np.exp(theta), ends), strict=True))
        return _negative_log_likelihood(features_of(tiny_space), replace(start, **at), inputs)[0]

    centre = np.log(np.concatenate(list(values.values())))
    _, gradient = _negative_log_likelihood(features_of(tiny_space), start, inputs)
    np.testing.assert_allclose(gradient, approx_fprime(centre, value, 1e-6), atol=2e-3)


def test_uncertainty_grows_away_from_the_data(mbconv: SearchSpace) -> None:
    codes = mbconv.sample(2000, np.random.default_rng(6))
    deep = additive(mbconv, codes) > np.median(additive(mbconv, codes))
    noise = np.exp(np.random.default_rng(7).normal(0, 0.02, 2000))
    shallow = np.flatnonzero(~deep)[:60]
    predictor = fit_regression(mbconv, codes[shallow], (additive(mbconv, codes) * noise)[shallow])
    mean, std = predictor.predict(mbconv, codes)
    assert (std / mean)[deep].mean() > (std / mean)[~deep].mean()


def test_jitter_that_does_not_grow_makes_fast_networks_less_certain(mbconv: SearchSpace) -> None:
    """With the same jitter in ms everywhere, intervals cover fast and slow networks alike."""
    rng = np.random.default_rng(10)
    codes = mbconv.sample(1120, rng)
    times = additive(mbconv, codes)
    measured = times + rng.normal(0, 0.05 * times.min(), 1120)
    predictor = fit_regression(mbconv, codes[:120], measured[:120])
    mean, std = predictor.predict(mbconv, codes[120:])
    low, high = predictor.interval(mean, std)
    covered = (low <= measured[120:]) & (measured[120:] <= high)
    fast = mean < np.quantile(mean, 0.25)
    assert (std / mean)[fast].mean() > 1.25 * (std / mean)[mean > np.quantile(mean, 0.75)].mean()
    assert covered.mean() > 0.85
    assert abs(covered[fast].mean() - covered[~fast].mean()) < 0.05


def test_a_calibration_that_is_known_is_taken(tiny_space: SearchSpace) -> None:
    codes = tiny_space.all_codes()[:30]
    known = Calibration.normal(2.0)
    predictor = fit_regression(tiny_space, codes, additive(tiny_space, codes), calibration=known)
    assert predictor.calibration is known


def test_dead_parts_of_a_cell_cost_nothing_where_the_runtime_leaves_them_out() -> None:
    space = nas.space("nasbench201")
    codes = space.sample(400, np.random.default_rng(8))
    times = additive(space, space.live(codes))
    predictor = fit_regression(space, codes[:100], times[:100])
    mean, _ = predictor.predict(space, codes[100:])
    assert np.median(np.abs(mean / times[100:] - 1)) < 0.01
    assert spearmanr(additive(space, codes), additive(space, space.live(codes))).statistic < 0.98


def test_a_file_gives_the_same_predictions(mbconv: SearchSpace, fitted: RegressionPredictor, tmp_path: Path) -> None:
    path = tmp_path / "predictor.npz"
    fitted.write(path)
    read = read_predictor(path)
    codes = mbconv.sample(100, np.random.default_rng(9))
    np.testing.assert_array_equal(read.predict(mbconv, codes), fitted.predict(mbconv, codes))
    np.testing.assert_array_equal(read.calibration.quantiles, fitted.calibration.quantiles)
    mean, std = read.predict(mbconv, codes[:1])
    assert read.predict_spec(mbconv.spec(codes[0])) == pytest.approx((mean[0], std[0]), abs=1e-8)
    assert path.stat().st_size < 150_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("centre_weight", np.zeros(3)), ("noise", np.array([-1.0])), ("block_weight", np.full(172, np.nan)),
        ("unit", np.zeros(1)), ("space", None), ("quantiles", np.zeros(3)), ("centres", np.zeros((40, 3), np.int8)),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(fitted: RegressionPredictor, tmp_path: Path, name: str, value: Array) -> None:
    path = tmp_path / "predictor.npz"
    fitted.write(path)
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    np.savez(path, **arrays)
    with pytest.raises(NasError, match=r"predictor\.npz"):
        RegressionPredictor.read(path)


def test_a_truncated_file_is_refused(fitted: RegressionPredictor, tmp_path: Path) -> None:
    path = tmp_path / "predictor.npz"
    fitted.write(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(NasError, match=r"predictor\.npz"):
        RegressionPredictor.read(path)


def test_another_space_is_refused(fitted: RegressionPredictor, tiny_space: SearchSpace) -> None:
    with pytest.raises(NasError, match="fitted on the space mbconv; it says nothing of tiny"):
        fitted.predict(tiny_space, tiny_space.all_codes())
    with pytest.raises(NasError):
        fitted.predict_spec(nas.network("mobilenet_v3_large"))


@pytest.mark.parametrize(
    ("count", "value", "message"),
    [(9, 1.0, "at least 10"), (20, -1.0, "value 3 is -1.0"), (20, np.nan, "value 3 is nan"), (20, 0.0, "positive")],
)
def test_what_cannot_be_fitted(mbconv: SearchSpace, count: int, value: float, message: str) -> None:
    values = np.ones(count)
    values[3] = value
    with pytest.raises(NasError, match=message):
        fit_regression(mbconv, mbconv.sample(count, np.random.default_rng(0)), values)


def test_equal_networks_are_held_out_together(tiny_space: SearchSpace) -> None:
    """Each network occurs twice with one surprising value: whoever saw its twin would know it."""
    codes = np.repeat(tiny_space.all_codes()[::8], 2, axis=0)
    values = additive(tiny_space, codes) * np.repeat(np.exp(np.random.default_rng(0).normal(0, 0.5, 12)), 2)
    mean, _ = cross_validate(tiny_space, codes, values)
    assert np.median(np.abs(np.log(mean / values))) > 0.1
