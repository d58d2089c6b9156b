"""Few-shot transfer: against brute force, closed forms, and the measured tables of HELP."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import nas
from nas.cli.profile_transfer import transfer
from nas.errors import NasError
from nas.hardware import LatencyPredictor, load_target
from nas.hardware.calibration import Calibration
from nas.hardware.fitting import transfer_posterior as posteriors
from nas.hardware.fitting.fit_regression import fit_regression
from nas.hardware.fitting.fit_transfer import _most_informative, choose_samples, fit_transfer
from nas.hardware.fitting.held_out import spearman
from nas.hardware.fitting.transfer_posterior import TYPICAL, Prior, TransferPosterior
from nas.hardware.fitting.transferring import transfer_profile
from nas.hardware.predictor import read_predictor
from nas.hardware.predictors.source_basis import Features, Source, SourceBasis, block_counts
from nas.space import NetworkSpec, SearchSpace

TESTS = ("titan_rtx_256", "gold_6226", "pixel2", "raspi4", "eyeriss", "fpga")


class Table(LatencyPredictor):
    """A source that knows the latency of every cell of NAS-Bench-201."""

    kind = "table"
    calibration = Calibration.normal(1.645)

    def __init__(self, space: SearchSpace, codes: np.ndarray, values: np.ndarray):
        self.values = np.empty(len(values))
        self.values[self.place(codes)] = values

    @staticmethod
    def place(codes: np.ndarray) -> np.ndarray:
        return codes.astype(int) @ 5 ** np.arange(6)

    def predict(self, space: SearchSpace, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = self.values[self.place(codes)]
        return mean, 0.05 * mean

    def predict_spec(self, spec: NetworkSpec) -> tuple[float, float]:
        raise NotImplementedError

    def write(self, path: Path) -> None:
        raise NotImplementedError

    @classmethod
    def read(cls, path: Path) -> Table:
        raise NotImplementedError


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return nas.space("nasbench201")


@pytest.fixture(scope="module")
def measured(data_dir: Path, space: SearchSpace) -> tuple[np.ndarray, pd.DataFrame]:
    """Codes and latencies of all cells on the devices of HELP."""
    frame = pd.read_csv(data_dir / "help_latency" / "nb201_latency_ms.csv.gz")
    return np.array([space.encode(cell) for cell in frame["arch_str"]]), frame


@pytest.fixture(scope="module")
def sources(space: SearchSpace, measured: tuple[np.ndarray, pd.DataFrame]) -> list[Source]:
    codes, frame = measured
    known = [name for name in frame.columns[2:] if name not in TESTS and not name.startswith("titan_rtx")]
    return [(name, Table(space, codes, frame[name].to_numpy(dtype=float))) for name in known]


@pytest.fixture(scope="module")
def real_sources(space: SearchSpace) -> list[Source]:
    """One predictor stored as JSON and one as NPZ."""
    codes = space.sample(12, np.random.default_rng(3))
    pixel4 = load_target("pixel4").on(space)["latency_ms"].predictor
    values = pixel4.predict(space, codes)[0] * np.linspace(0.8, 1.2, 12)
    return [("pixel4", pixel4), ("other", fit_regression(space, codes, values))]


def random_features(n: int, rng: np.random.Generator) -> Features:
    return Features(
        rng.uniform(0.5, 2, n), rng.normal(size=(n, 1)), rng.normal(size=(n, 3)), rng.normal(size=(n, 4))
    )  # fmt: skip


def test_posterior_is_bayesian_linear_regression(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The textbook formula in the space of weights, (X'N⁻¹X + P⁻¹)⁻¹ X'N⁻¹t, on the same prior."""
    prior = Prior(blocks=0.2, noise=0.05)
    monkeypatch.setattr(posteriors, "PRIORS", (prior,))
    samples, others, values, spread = random_features(7, rng), random_features(5, rng), rng.uniform(5, 9, 7), 0.3

    def weighted(f: Features) -> np.ndarray:
        return np.concatenate([np.ones((len(f.level), 1)), f.common, f.departures, f.blocks], axis=1)

    precision = np.diag(1 / np.array([prior.constant, prior.common, *[prior.departures] * 3, *[prior.blocks] * 4]))
    x, noise = weighted(samples), prior.noise * samples.level**2
    target = (values / values.mean() - 1) / spread
    covariance = np.linalg.inv(x.T @ (x / noise[:, None]) + precision)
    weights = covariance @ (x.T @ (target / noise))
    new = weighted(others)
    variance = ((new @ covariance) * new).sum(axis=1) + prior.noise * others.level**2
    mean, std = TransferPosterior(samples, values, spread).predict(others)
    expected = values.mean() * (1 + spread * new @ weights)
    np.testing.assert_allclose(mean, np.maximum(expected, 0.01 * values.min()), atol=1e-6)
    np.testing.assert_allclose(std, values.mean() * spread * np.sqrt(variance), atol=1e-6)


def test_leave_one_out_is_what_the_others_say(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    prior = Prior(blocks=0.2, noise=0.05)
    monkeypatch.setattr(posteriors, "PRIORS", (prior,))
    samples, values = random_features(8, rng), rng.uniform(5, 9, 8)
    mean, std = TransferPosterior(samples, values, 0.3).leave_one_out()
    target, unit = (values / values.mean() - 1) / 0.3, values.mean() * 0.3
    kernel, noise = prior.covariance(samples, samples), prior.noise_variance(samples)
    for i in range(8):
        rest = np.arange(8) != i
        gain = np.linalg.solve(kernel[np.ix_(rest, rest)] + np.diag(noise[rest]), kernel[rest, i])
        assert mean[i] == pytest.approx(max(values.mean() + unit * gain @ target[rest], 0.01 * values.min()), rel=1e-6)
        variance = kernel[i, i] - gain @ kernel[rest, i] + noise[i]
        assert std[i] == pytest.approx(unit * np.sqrt(variance), rel=1e-6)


def test_choice_maximises_the_determinant(rng: np.random.Generator) -> None:
    """Each network added is the one of largest det(I + N^-½ K N^-½), all tried."""
    features = random_features(12, rng)
    kernel = TYPICAL.covariance(features, features)
    scale = 1 / np.sqrt(TYPICAL.noise_variance(features))
    normed = kernel * np.outer(scale, scale)
    taken = [0, 1]
    for _ in range(4):
        scores = {
            i: np.linalg.slogdet(np.eye(len(taken) + 1) + normed[np.ix_([*taken, i], [*taken, i])])[1]
            for i in range(12)
            if i not in taken
        }
        taken.append(max(scores, key=scores.__getitem__))
    assert (_most_informative(features, known=2, n=4) + 2).tolist() == taken[2:]


def test_basis_reproduces_every_source(space: SearchSpace, rng: np.random.Generator) -> None:
    """No information of a source is lost: each is a linear function of the features."""
    means = rng.uniform(1, 9, (200, 4))
    counts = block_counts(space, space.sample(200, rng))
    features = SourceBasis.of(means, counts)(means, counts)
    x = np.concatenate([np.ones((200, 1)), features.common, features.departures], axis=1)
    fitted = x @ np.linalg.lstsq(x, means, rcond=None)[0]
    np.testing.assert_allclose(fitted, means, atol=1e-8)
    assert features.common.std() == pytest.approx(1)
    assert (features.blocks**2).sum(axis=1).mean() == pytest.approx(1)


def test_ten_samples_rank_new_devices(
    space: SearchSpace, measured: tuple[np.ndarray, pd.DataFrame], sources: list[Source]
) -> None:
    """HELP with 10 samples: mean Spearman 0.932 over these six devices (Lee et al., 2021)."""
    codes, frame = measured
    chosen = choose_samples(space, sources, 10)
    place = {tuple(code): row for row, code in enumerate(codes.tolist())}
    rows = [place[tuple(code)] for code in chosen.tolist()]
    rest = np.setdiff1d(np.arange(len(codes)), rows)
    scores, covered = [], []
    for device in TESTS:
        values = frame[device].to_numpy(dtype=float)
        predictor = fit_transfer(space, chosen, values[rows], sources)
        mean, std = predictor.predict(space, codes[rest])
        low, high = predictor.interval(mean, std)
        scores.append(spearman(mean, values[rest]))
        covered.append(((low <= values[rest]) & (values[rest] <= high)).mean())
    assert np.mean(scores) >= 0.955
    assert 0.75 <= np.mean(covered) <= 0.99


def test_samples_are_new_and_distinct(space: SearchSpace, real_sources: list[Source]) -> None:
    first = choose_samples(space, real_sources, 6, seed=1)
    then = choose_samples(space, real_sources, 6, seed=1, measured=first)
    assert len(np.unique(np.concatenate([first, then]), axis=0)) == 12
    np.testing.assert_array_equal(first, choose_samples(space, real_sources, 6, seed=1))


def test_round_trip(space: SearchSpace, real_sources: list[Source], tmp_path: Path) -> None:
    codes = space.sample(6, np.random.default_rng(1))
    predictor = fit_transfer(space, codes, np.linspace(4, 9, 6), real_sources)
    predictor.write(tmp_path / "transfer.npz")
    again = read_predictor(tmp_path / "transfer.npz")
    assert again.calibration == predictor.calibration
    new = space.sample(50, np.random.default_rng(2))
    for a, b in zip(again.predict(space, new), predictor.predict(space, new), strict=True):
        np.testing.assert_array_equal(a, b)
    mean, std = again.predict(space, new[:1])
    assert again.predict_spec(space.spec(new[0])) == pytest.approx((mean[0], std[0]))
    assert again.predict(space, new[:0])[0].shape == (0,)


@pytest.mark.parametrize("name", ["space", "values", "source_1", "basis_counts", "samples_level"])
def test_damaged_files_are_refused(space: SearchSpace, real_sources: list[Source], tmp_path: Path, name: str) -> None:
    path = tmp_path / "transfer.npz"
    fit_transfer(space, space.sample(5, np.random.default_rng(1)), np.ones(5), real_sources).write(path)
    with np.load(path) as archive:
        content = dict(archive)
    for broken in (None, np.array([1.0, np.nan])):
        changed = {key: value for key, value in content.items() if key != name} | (
            {} if broken is None else {name: broken}
        )
        np.savez(path, **changed)
        if name == "space" and broken is not None:
            continue
        with pytest.raises(NasError, match=r"transfer\.npz"):
            read_predictor(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(NasError, match="cannot read"):
        read_predictor(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], "at least 3 measured networks, not 2"),
        ([1.0, 2.0, -3.0], "value 3 is -3.0"),
        ([1.0, float("nan"), 3.0], "value 2 is nan"),
    ],
)
def test_bad_values_are_refused(
    space: SearchSpace, real_sources: list[Source], values: list[float], message: str
) -> None:
    codes = space.sample(len(values), np.random.default_rng(0))
    with pytest.raises(NasError, match=message):
        fit_transfer(space, codes, values, real_sources)


def test_other_mistakes_are_refused(space: SearchSpace, real_sources: list[Source], mbconv: SearchSpace) -> None:
    codes = space.sample(4, np.random.default_rng(0))
    with pytest.raises(NasError, match="4 networks need as many values"):
        fit_transfer(space, codes, [1.0, 2.0, 3.0], real_sources)
    with pytest.raises(NasError, match="at least one target"):
        fit_transfer(space, codes, [1.0, 2.0, 3.0, 4.0], [])
    with pytest.raises(NasError, match="cannot choose 5 networks to measure among"):
        choose_samples(space, real_sources, 5, candidates=codes)
    predictor = fit_transfer(space, codes, [1.0, 2.0, 3.0, 4.0], real_sources)
    with pytest.raises(NasError, match="fitted on the space nasbench201; it says nothing of mbconv"):
        predictor.predict(mbconv, mbconv.sample(2, np.random.default_rng(0)))
    with pytest.raises(NasError, match="a rate"):
        transfer_profile(Path("x"), space, metric="throughput_ips")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(transfer)

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["--space", "nasbench201", "--from", "pixel4", *arguments])
        if result.exception is not None:
            raise result.exception
        return result.output

    return invoke


def test_command_plans_then_fits(run: Callable[..., str], space: SearchSpace, tmp_path: Path) -> None:
    assert "Measure" in run("--to", "phone", "--samples", "5")
    table = tmp_path / "phone" / "to_measure.csv"
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["latency_ms"] for row in rows] == [""] * 5
    codes = np.array([space.encode(row["code"]) for row in rows])
    values = 2 * load_target("pixel4").on(space)["latency_ms"].predictor.predict(space, codes)[0]
    for row, value in zip(rows, values, strict=True):
        row["latency_ms"] = f"{value:.4f}"
    with table.open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    filled = table.read_text()
    output = run("--to", "phone", "--measurements", str(table), "--samples", "3")
    assert "leave-one-out" in output
    assert table.read_text() == filled
    with (tmp_path / "phone" / "to_measure_2.csv").open() as file:
        following = [row["code"] for row in csv.DictReader(file)]
    assert len(following) == 3
    assert not set(following) & {row["code"] for row in rows}
    fitted = load_target(str(tmp_path / "phone")).on(space)["latency_ms"]
    # A device that is twice as slow as its only source, on every network.
    mean, _ = fitted.predictor.predict(space, codes)
    np.testing.assert_allclose(mean, values, rtol=0.2)
    assert fitted.fit.held_out is not None
    assert fitted.fit.held_out.networks == 5


def test_command_refuses_an_unfilled_table(run: Callable[..., str], tmp_path: Path) -> None:
    run("--to", "phone", "--samples", "4")
    with pytest.raises(NasError, match=r"to_measure\.csv"):
        run("--to", "phone", "--measurements", "phone/to_measure.csv")
    assert sorted(path.name for path in (tmp_path / "phone").iterdir()) == ["to_measure.csv"]
