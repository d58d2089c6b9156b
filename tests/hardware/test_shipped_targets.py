"""Shipped targets: all load and predict where they say, and the errors they state are those that the data show."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import nas
from nas.errors import NasError
from nas.hardware import Fitted, target_names
from nas.report.target import held_out_pairs
from nas.space import Codes

FITS = [fitted for name in target_names() for fitted in nas.target(name).fitted]
IDS = [f"{fitted.target} {fitted.metric} {' '.join(fitted.fit.spaces) or 'any'}" for fitted in FITS]
#: with so many networks held out, the share that 90 % intervals hold is known to about ±3 points
MANY = 300


def fitted_on(target: str, metric: str, space: str) -> Fitted:
    return nas.target(target).on(nas.space(space))[metric]


@pytest.fixture(scope="module")
def tables(repo_root: Path) -> Iterator[ModuleType]:
    """The reader that the targets were fitted with."""
    spec = importlib.util.spec_from_file_location("tables", repo_root / "experiments" / "hardware" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["tables"]


@pytest.mark.parametrize("fitted", FITS, ids=IDS)
def test_every_predictor_predicts_on_each_of_its_spaces(fitted: Fitted) -> None:
    for name in fitted.fit.spaces or ("mbconv",):
        space = nas.space(name)
        codes = space.sample(40, np.random.default_rng(3))
        if name == "mbconv-proxyless":
            codes = codes[[_in_proxyless_table(fitted, codes[i : i + 1]) for i in range(len(codes))]]
        mean, std = fitted.predictor.predict(space, codes)
        low, high = fitted.predictor.interval(mean, std)
        assert len(codes) > 0
        assert np.isfinite([mean, std]).all()
        assert (mean > 0).all()
        assert (std >= 0).all()
        assert (low <= high).all()
        assert np.ptp(mean) > 0


def _in_proxyless_table(fitted: Fitted, code: Codes) -> bool:
    try:
        fitted.predictor.predict(nas.space("mbconv-proxyless"), code)
    except NasError:
        return False
    return True


@pytest.mark.parametrize("fitted", FITS, ids=IDS)
def test_every_fit_says_where_it_comes_from_and_how_well_it_does(fitted: Fitted) -> None:
    fit = fitted.fit
    assert all(text.strip() for text in (fit.source, fit.valid_for, fit.fitted_on))
    held = fit.held_out
    if held is None:
        return
    assert held.noise.strip()
    assert held.networks >= 4
    pairs = held_out_pairs(fitted)
    if held.networks >= MANY:
        assert pairs is not None
        assert 100 <= len(pairs) <= 150
        # The pairs are a sample of the networks judged: their error must be about the one stated.
        error = (pairs["predicted"] / pairs["measured"] - 1).abs()
        assert abs((error <= 0.1).mean() - held.within_10_percent) < 0.12
        assert abs(((pairs["low"] <= pairs["measured"]) & (pairs["measured"] <= pairs["high"])).mean()
                   - held.interval_90_coverage) < 0.12  # fmt: skip


def test_error_of_accelerators_is_that_on_the_authors_validation_split(data_dir: Path) -> None:
    """Read here independently of what fitted: rows of `val` that are not in `train`."""
    space = nas.space("mbconv")
    frame = pd.read_csv(data_dir / "accel_nasbench" / "imagenet_mbconv.csv.gz")
    words = ["expand", "kernel", "layers", "se"]
    train = set(map(tuple, frame.loc[frame["split"] == "train", words].to_numpy().tolist()))
    judged = frame[[split == "val" and tuple(row) not in train
                    for split, row in zip(frame["split"], frame[words].to_numpy().tolist(), strict=True)]]  # fmt: skip
    codes = np.stack([
        space.encode({f"stage{i + 1}.{word}": int(row[word].split()[i]) for word in words for i in range(7)})
        for _, row in judged.iterrows()
    ])  # fmt: skip
    for target, metric, column, rho in (
        ("a100", "throughput_ips", "throughput_a100_ips", 0.998),
        ("tpuv3", "throughput_ips", "throughput_tpuv3_ips", 0.98),
        ("zcu102", "latency_ms", "latency_zcu102_ms", 0.998),
    ):
        fitted = fitted_on(target, metric, "mbconv")
        measured = judged[column].to_numpy()
        known = measured > 0
        predicted = fitted.predictor.predict(space, codes[known])[0]
        error = np.abs(predicted / measured[known] - 1)
        held = fitted.fit.held_out
        assert held is not None
        assert held.networks == known.sum()
        assert 100 * error.mean() == pytest.approx(held.mean_absolute_percentage_error, abs=0.002)
        assert (error <= 0.05).mean() == pytest.approx(held.within_5_percent, abs=1e-4)
        assert spearmanr(predicted, measured[known]).statistic == pytest.approx(held.spearman, abs=1e-4)
        assert held.spearman >= rho


@pytest.mark.parametrize(
    ("target", "table", "column", "space"),
    [
        ("pixel4-dsp", "latbench", "latbench_sd855_hexagon690_dsp", "nasbench201"),
        ("pixel2", "help-cells", "pixel2", "nasbench201"),
        ("gold_6226", "help-fbnet", "gold_6226", "mbconv-fbnet-cifar100"),
        ("v100-b64", "help-ofa", "v100_64", "mbconv-ofa"),
    ],
)
def test_stated_error_is_reproduced(
    target: str, table: str, column: str, space: str, tables: ModuleType, data_dir: Path
) -> None:
    read, fitted = tables.read_table(table, data_dir), fitted_on(target, "latency_ms", space)
    assert not set(map(bytes, read.codes[read.fitted])) & set(map(bytes, read.codes[read.held_out]))
    measured = read.values(column)[read.held_out]
    mean, std = fitted.predictor.predict(read.space, read.codes[read.held_out])
    low, high = fitted.predictor.interval(mean, std)
    held = fitted.fit.held_out
    assert held is not None
    assert held.networks == len(measured) >= MANY
    assert 100 * np.mean(np.abs(mean / measured - 1)) == pytest.approx(held.mean_absolute_percentage_error, abs=0.002)
    assert np.mean((low <= measured) & (measured <= high)) == pytest.approx(held.interval_90_coverage, abs=1e-4)


def test_fbnet_as_helps_table_has_it_is_the_space_for_small_images(tables: ModuleType, data_dir: Path) -> None:
    """Sums of a table of blocks must be sums over the blocks of our networks, to the digits of the file."""
    read = tables.read_table("help-fbnet", data_dir)
    ids = read.space.vocabulary.ids(read.codes)
    counts = np.stack([(ids == block).sum(axis=1) for block in range(len(read.space.vocabulary))], axis=1)
    for column in ("raspi4", "pixel3", "fpga", "eyeriss"):
        values = read.values(column)
        weights = np.linalg.lstsq(counts[:1500], values[:1500], rcond=None)[0]
        assert np.abs(counts[1500:] @ weights / values[1500:] - 1).max() < 1e-5


def test_a_larger_batch_takes_longer() -> None:
    space = nas.space("mbconv-ofa")
    codes = space.sample(200, np.random.default_rng(0))
    one, many = (fitted_on(name, "latency_ms", "mbconv-ofa").predictor.predict(space, codes)[0]
                 for name in ("titan_rtx", "titan_rtx-b64"))  # fmt: skip
    assert np.mean(many > one) > 0.97


def test_energy_is_known_where_it_was_measured() -> None:
    assert set(nas.target("edgegpu").on(nas.space("nasbench201"))) == {"latency_ms", "energy_mj"}
    assert list(nas.target("zcu102").on(nas.space("mbconv"))) == ["latency_ms", "throughput_ips"]


@pytest.mark.parametrize(
    ("target", "space", "abilities"),
    [
        ("zcu102", "darts", "latency_ms, throughput_ips on mbconv"),
        ("gold_6226", "mbconv-fbnet", "latency_ms on nasbench201; latency_ms on mbconv-fbnet-cifar100"),
        ("edgegpu", "mbconv", "latency_ms, energy_mj on nasbench201"),
    ],
)
def test_a_space_without_data_is_refused_with_what_is_known(target: str, space: str, abilities: str) -> None:
    with pytest.raises(NasError, match=f"has no data on the space {space}; it predicts {abilities}"):
        nas.target(target).on(nas.space(space))


def test_the_chip_of_a_phone_is_not_called_the_phone() -> None:
    for name in ("pixel4", "pixel4-gpu", "pixel4-dsp"):
        assert "Snapdragon 855" in fitted_on(name, "latency_ms", "nasbench201").fit.not_measured


def test_profiles_stay_small(repo_root: Path) -> None:
    sizes = [path.stat().st_size for path in (repo_root / "hardware_profiles").rglob("*") if path.is_file()]
    assert sum(sizes) < 10e6
    assert max(sizes) < 160_000
