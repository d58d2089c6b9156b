"""The surrogate of `mbconv-ofa`: its stated error on held-out networks, and what it says away from resolution 224."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from nas.errors import NasError
from nas.estimators.regressor import Regressor
from nas.estimators.surrogate import SurrogateEstimator
from nas.space import Codes, Decision, SearchSpace
from search_spaces.mbconv_ofa import SPACE

ARTEFACT = Path(__file__).resolve().parents[2] / "search_spaces" / "surrogates" / "mbconv-ofa.npz"


@dataclass(frozen=True)
class Problem:
    """The part of a problem that an estimator looks at."""

    space: SearchSpace = SPACE


@pytest.fixture(scope="module")
def regressor() -> Regressor:
    return Regressor.load(ARTEFACT)


@pytest.fixture(scope="module")
def measured(data_dir: Path) -> pd.DataFrame:
    """One row a distinct network: decisions by name in the order of the artefact, and the mean top-1 of repeats."""
    rows = []
    for row in pd.read_csv(data_dir / "ofa_mbv3" / "imagenet_top1.csv.gz").itertuples():
        kernels, expands, depths = (list(map(int, text.split())) for text in (row.ks, row.e, row.d))
        decisions = {"resolution": row.r}
        for stage, depth in enumerate(depths):
            decisions[f"stage{stage + 2}.depth"] = depth
            for layer in range(4):
                exists = layer < depth
                name = f"stage{stage + 2}.layer{layer + 1}"
                decisions[f"{name}.kernel"] = kernels[4 * stage + layer] if exists else 0
                decisions[f"{name}.expand"] = expands[4 * stage + layer] if exists else 0
        rows.append(decisions | {"top1": row.top1})
    frame = pd.DataFrame(rows)
    return frame.groupby([name for name in frame if name != "top1"])["top1"].mean().reset_index()


@pytest.fixture(scope="module")
def held_out(measured: pd.DataFrame) -> pd.DataFrame:
    """The 20 % of the distinct networks that were set apart: the first ones of a fixed permutation."""
    return measured.iloc[np.random.default_rng(0).permutation(len(measured))[: round(0.2 * len(measured))]]


def codes_of(frame: pd.DataFrame) -> Codes:
    rows = frame.drop(columns="top1").to_dict("records")
    return np.array([SPACE.encode({str(name): value for name, value in row.items() if value}) for row in rows])


def kendall_tau(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Tau-b: concordant less discordant pairs over the pairs without a tie in a and in b."""
    signs = [np.sign(np.subtract.outer(x, x)) for x in (a, b)]
    return float((signs[0] * signs[1]).sum() / np.sqrt(np.abs(signs[0]).sum() * np.abs(signs[1]).sum()))


def test_the_artefact_says_what_it_is(regressor: Regressor) -> None:
    assert ARTEFACT.stat().st_size < 200_000
    assert regressor.scales == ("supernet",)
    assert regressor.metadata["licence"] == "Apache-2.0"
    about = SurrogateEstimator().about(Problem())
    assert "weights inherited from the once-for-all supernet, not trained alone" in about.note
    assert "extrapolated" in about.note
    figures = regressor.metadata["held_out"]
    assert f"fitted on 1,388 networks; held out: Kendall tau {figures['kendall_tau']:.3f}" in about.note


def test_the_data_are_the_networks_the_figures_are_about(measured: pd.DataFrame, held_out: pd.DataFrame) -> None:
    assert len(measured) == 1735
    assert len(held_out) == 347
    assert set(measured["resolution"]) == {224}


def test_the_stated_error_holds_on_networks_it_was_not_fitted_to(regressor: Regressor, held_out: pd.DataFrame) -> None:
    predicted = SurrogateEstimator().evaluate(Problem(), codes_of(held_out))
    truth, stated = held_out["top1"].to_numpy(), regressor.metadata["held_out"]
    tau = kendall_tau(predicted["top1"].to_numpy(), truth)
    covered = np.mean((predicted["top1_low"] <= truth) & (truth <= predicted["top1_high"]))
    assert tau >= 0.95
    assert 0.88 <= covered <= 0.92
    assert stated["networks"] == len(truth)
    assert stated["kendall_tau"] == pytest.approx(tau, abs=1e-4)
    assert stated["coverage_90"] == pytest.approx(covered, abs=0.5 / len(truth))
    assert stated["mae"] == pytest.approx(np.abs(predicted["top1"] - truth).mean(), abs=1e-4)


def test_no_held_out_network_is_a_centre(regressor: Regressor, held_out: pd.DataFrame) -> None:
    names = regressor.metadata["decisions"]
    centres = {tuple(row) for row in regressor.centres.tolist()}
    assert len(centres) == 512
    assert not centres & {tuple(row) for row in held_out[names].to_numpy().tolist()}


def test_decisions_are_matched_by_name(regressor: Regressor, rng: np.random.Generator) -> None:
    names = [decision.name for decision in SPACE.decisions]
    assert names != regressor.metadata["decisions"]
    codes = SPACE.sample(300, rng)
    frame = pd.DataFrame(SPACE.values(codes).astype(int), columns=names)
    by_name = regressor.predict(frame[regressor.metadata["decisions"]].to_numpy())["supernet"]
    np.testing.assert_array_equal(SurrogateEstimator().evaluate(Problem(), codes)["top1"], by_name.mean)


def test_one_scale_gives_one_column_with_its_interval(rng: np.random.Generator) -> None:
    frame = SurrogateEstimator().evaluate(Problem(), SPACE.sample(100, rng))
    assert list(frame) == ["top1", "top1_std", "top1_low", "top1_high"]
    assert np.isfinite(frame.to_numpy()).all()
    assert (frame["top1_low"] < frame["top1"]).all()
    assert (frame["top1"] < frame["top1_high"]).all()


def test_two_scales_keep_their_columns(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    codes = mbconv.sample(50, rng)
    frame = SurrogateEstimator().evaluate(Problem(mbconv), codes)
    assert list(frame)[::4] == ["top1", "top1_proxy"]
    assert mbconv.surrogate is not None
    predictions = Regressor.load(mbconv.surrogate).predict(mbconv.values(codes).astype(int))
    np.testing.assert_array_equal(frame["top1"], predictions["full"].mean)
    np.testing.assert_array_equal(frame["top1_proxy_low"], predictions["proxy"].low)


def test_a_network_gets_the_same_figure_alone_and_among_others(rng: np.random.Generator) -> None:
    estimator, codes = SurrogateEstimator(), SPACE.sample(1500, rng)
    together = estimator.evaluate(Problem(), codes)
    for i in (0, 700, 1499):
        alone = estimator.evaluate(Problem(), codes[i : i + 1])
        np.testing.assert_array_equal(alone.to_numpy()[0], together.to_numpy()[i])


def test_intervals_widen_and_accuracy_falls_away_from_the_measured_resolution(rng: np.random.Generator) -> None:
    codes = np.repeat(SPACE.sample(40, rng), 25, axis=0)
    codes[:, 0] = np.tile(np.arange(25), 40)
    frame = SurrogateEstimator().evaluate(Problem(), codes)
    top1, std = (frame[name].to_numpy().reshape(40, 25) for name in ("top1", "top1_std"))
    assert (np.diff(top1) > 0).all()
    assert (np.diff(std) < 0).all()
    # In points: a search must not take what is extrapolated to 128 pixels for measured.
    assert std[:, -1].max() < 0.15
    assert std[:, 0].min() > 1


def test_the_extrapolation_is_within_the_published_resolution_curves(data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "published" / "phone_latency.csv")
    error = {(r.model, r.precision, r.resolution): 100 - r.accuracy for r in table.itertuples() if r.accuracy > 1}
    codes = np.repeat(SPACE.sample(1, np.random.default_rng(0)), 4, axis=0)
    codes[:, 0] = [SPACE.decisions[0].choices.index(resolution) for resolution in (224, 192, 160, 128)]
    frame = SurrogateEstimator().evaluate(Problem(), codes)
    at_224 = 100 - frame["top1"][0]
    for row, resolution in enumerate((192, 160, 128), start=1):
        published = [
            error[model, precision, resolution] / error[model, precision, 224]
            for model, precision, size in error
            if size == 224 and precision == "fp32" and (model, precision, resolution) in error
        ]
        assert len(published) >= 14
        assert min(published) < (100 - frame["top1"][row]) / at_224 < max(published)
        assert (100 - frame["top1_high"][row]) / at_224 <= min(published)
        assert (100 - frame["top1_low"][row]) / at_224 >= max(published)


def test_a_space_with_other_decisions_is_refused(make_space: Callable[[Sequence[Decision]], SearchSpace]) -> None:
    space = make_space([Decision("stage1.width", (8, 16))])
    space.surrogate = ARTEFACT
    with pytest.raises(NasError, match=r"the accuracy surrogate of toy is for other decisions: 'resolution'"):
        SurrogateEstimator().evaluate(Problem(space), np.zeros((1, 1), dtype=np.int8))
