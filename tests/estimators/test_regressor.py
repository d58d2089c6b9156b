"""The accuracy surrogate: the artefact's round trip, its errors, and the shipped one against held-out networks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from nas.estimators.regressor import Encoding, Regressor

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "search_spaces" / "surrogates" / "mbconv.npz"
DATA = Path(os.environ.get("NAS_DATA", ROOT.parent / "shared" / "data")) / "accel_nasbench"


def small_regressor() -> Regressor:
    """Two groups, of decisions {3, 5} × {1, 2} and {0, 4, 6}: seven states, one feature, one amount, two scales."""
    encoding = Encoding(
        choices=np.array([3, 5, 1, 2, 0, 4, 6]),
        choice_counts=np.array([2, 2, 3]),
        group_sizes=np.array([2, 1]),
        local=np.arange(7, dtype=np.float32)[:, None] / 7,
        additive=np.arange(1.0, 8.0)[:, None],
        additive_offset=np.array([10.0]),
        log_shift=np.array([2.0]),
        log_scale=np.array([1.5]),
        kernel_scale=np.array([0.5]),
    )
    return Regressor(
        encoding=encoding,
        centres=np.array([[3, 1, 0], [5, 2, 6]]),
        weights=np.array([0.3, -0.2], dtype=np.float32),
        linear=np.linspace(-0.1, 0.1, 14).reshape(7, 2),
        log_std=np.zeros((7, 2)),
        aggregate_weights=np.array([[0.05, 0.0]]),
        intercept=np.array([-3.0, 0.1]),
        slope=np.array([0.0, 1.1]),
        log_std_intercept=np.log([0.02, 0.03]),
        ceiling=np.array([80.0, 85.0]),
        quantiles=np.array([[-1.6, 1.7], [-1.7, 1.7]]),
        metadata={"scales": ["proxy", "full"]},
    )


def every_network() -> npt.NDArray[np.int64]:
    return np.array([[a, b, c] for a in (3, 5) for b in (1, 2) for c in (0, 4, 6)])


def test_prediction_equals_the_formula_written_out() -> None:
    regressor, network = small_regressor(), np.array([[5, 1, 4]])
    states = [2, 5]  # within the first group 5 is choice 1 and 1 is choice 0; the second group starts at row 4
    aggregate = (np.log(10 + 3 + 6) - 2.0) * 1.5
    features = np.array([2 / 7, 5 / 7, 0.5 * aggregate])
    latent = -3.0 + regressor.linear[states, 0].sum() + 0.05 * aggregate
    for weight, rows, amount in ((0.3, (0, 4), 16), (-0.2, (3, 6), 21)):
        centre = np.array([rows[0] / 7, rows[1] / 7, 0.5 * (np.log(amount) - 2.0) * 1.5])
        latent += weight * np.exp(-0.5 * np.square(features - centre).sum())
    predictions = regressor.predict(network)
    proxy, full = predictions["proxy"], predictions["full"]
    full_latent = 0.1 + 1.1 * latent + regressor.linear[states, 1].sum()
    np.testing.assert_allclose(proxy.mean, 80 - np.exp(-latent), rtol=0, atol=1e-6)
    np.testing.assert_allclose(proxy.low, 80 - np.exp(-(latent - 1.6 * 0.02)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(proxy.std, np.exp(-latent) * 0.02, rtol=0, atol=1e-6)
    np.testing.assert_allclose(full.high, 85 - np.exp(-(full_latent + 1.7 * 0.03)), rtol=0, atol=1e-6)


def test_round_trip_keeps_every_prediction(tmp_path: Path) -> None:
    regressor, path = small_regressor(), tmp_path / "small.npz"
    regressor.save(path)
    loaded = Regressor.load(path)
    assert loaded.metadata == regressor.metadata
    for scale in regressor.scales:
        before, after = regressor.predict(every_network())[scale], loaded.predict(every_network())[scale]
        np.testing.assert_array_equal(before.mean, after.mean)
        np.testing.assert_array_equal(before.low, after.low)
        assert (after.low < after.mean).all()
        assert (after.mean < after.high).all()


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    regressor = small_regressor()
    whole = regressor.predict(every_network())["full"].mean
    monkeypatch.setattr("nas.estimators.regressor.CHUNK", 5)
    np.testing.assert_allclose(regressor.predict(every_network())["full"].mean, whole, rtol=1e-6)
    assert regressor.predict(np.empty((0, 3), dtype=int))["proxy"].mean.shape == (0,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([3, 1, 0]), r"shape \(n, 3\), got \(3,\)"),
        (np.array([[3, 1]]), r"shape \(n, 3\), got \(1, 2\)"),
        (np.array([[3.0, 1.0, 0.0]]), "integer decision values, got float64"),
        (np.array([[3, 1, 0], [4, 1, 0]]), r"decision 0 is 4; allowed: \[3, 5\]"),
        (np.array([[3, 1, 9]]), r"decision 2 is 9; allowed: \[0, 4, 6\]"),
    ],
)
def test_wrong_values_are_named(values: npt.NDArray[np.int64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_regressor().predict(values)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    small_regressor().save(path)
    whole = path.read_bytes()
    middle = len(whole) // 3
    flipped = whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 40]) + whole[middle + 40 :]
    for content in (b"", b"not an archive", whole[: len(whole) // 2], flipped):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"small\.npz is not a surrogate artefact, or is damaged"):
            Regressor.load(path)


def test_a_file_without_one_array_or_with_a_wrong_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    small_regressor().save(path)
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **{name: array for name, array in arrays.items() if name != "weights"})
    with pytest.raises(ValueError, match="weights"):
        Regressor.load(path)
    np.savez(path, **(arrays | {"choice_counts": np.array([2, 2, 4])}))
    with pytest.raises(ValueError, match="do not fit 3 decisions"):
        Regressor.load(path)
    with pytest.raises(ValueError, match=r"ceiling must be finite and of shape \(2,\)"):
        replace(small_regressor(), ceiling=np.array([80.0, np.nan]))


def test_the_shipped_artefact_is_small_and_says_where_it_comes_from() -> None:
    assert SHIPPED.stat().st_size < 2_000_000
    metadata = Regressor.load(SHIPPED).metadata
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["fitted_rows"] == 4100
    assert metadata["scales"] == ["proxy", "full"]


@pytest.mark.skipif(not DATA.exists(), reason="needs accel_nasbench from NAS_DATA or ../shared/data")
def test_the_shipped_artefact_holds_on_networks_it_was_not_fitted_to() -> None:
    frame = pd.read_csv(DATA / "imagenet_mbconv.csv.gz")
    val = frame[frame["split"] == "val"]
    columns = [val[name].str.split(expand=True).astype(int) for name in ("expand", "kernel", "layers", "se")]
    values = np.stack([column.to_numpy() for column in columns], axis=2).reshape(len(val), -1)
    regressor = Regressor.load(SHIPPED)
    predicted, truth = regressor.predict(values)["proxy"], val["top1"].to_numpy()
    ordered = np.sign(np.subtract.outer(predicted.mean, predicted.mean)) * np.sign(np.subtract.outer(truth, truth))
    tau = ordered.sum() / (len(truth) * (len(truth) - 1))
    assert tau >= 0.925
    assert regressor.metadata["held_out"]["kendall_tau"] == pytest.approx(tau, abs=1e-3)
    assert 0.88 <= np.mean((predicted.low <= truth) & (truth <= predicted.high)) <= 0.92
