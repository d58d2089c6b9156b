"""What the records of a one-shot search say: curves by epoch, architecture weights, the derived network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.cost import COST_METRICS
from nas.errors import NasError
from nas.search.metrics import METRICS, Metric

if TYPE_CHECKING:
    from nas.supernet.supernet import Site

Record = Mapping[str, Any]

#: beginnings of the names of what an architecture costs: the expectation, and the exact value of the derived network
EXPECTED, DERIVED = "expected_", "derived_"
#: what has a place of its own
_TOLD = {
    "epoch", "seconds", "train_loss", "architecture_loss", "entropy", "skip_share", "eigenvalue", "eigenvalue_error",
    "derived", "weights",
}  # fmt: skip
#: epochs of which the pace is the mean
PACE = 5
#: of the criterion of DARTS-ES: eigenvalues of a mean, and the largest ratio of the mean before to it
WINDOW, RATIO = 5, 0.75


@dataclass(frozen=True)
class Series:
    """One curve; `epochs` count from 1, `errors` are half-lengths of bars, `marked` epochs are told apart."""

    name: str
    epochs: Sequence[int]
    values: Sequence[float]
    errors: Sequence[float] = ()
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Panel:
    """Curves on one axis; `note` says what each number is, `share` that the axis is from 0 to 100 %."""

    title: str
    note: str
    unit: str
    series: Sequence[Series]
    share: bool = False


@dataclass(frozen=True)
class Stretch:
    """Epochs in a row, counted from 1, after which the derived network was the same."""

    first: int
    last: int
    code: str


def number_of(record: Record, name: str) -> float | None:
    """Return a recorded number, None where there is none that is finite."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def curve(records: Sequence[Record], key: str, name: str, scale: float = 1.0) -> Series:
    """Return what was recorded under a name, divided by a scale, in the epochs that have it."""
    found = [(i, value) for i, record in enumerate(records, 1) if (value := number_of(record, key)) is not None]
    return Series(name, [i for i, _ in found], [value / scale for _, value in found])


def panels(records: Sequence[Record], errors: Mapping[str, str] | None = None) -> list[Panel]:
    """Return the plots by epoch, without those of which nothing is recorded.

    Args:
        errors: predicted metric -> the held-out error of its predictor, in words.
    """
    return [panel for panel in _panels(records, errors or {}) if any(series.epochs for series in panel.series)]


def _panels(records: Sequence[Record], errors: Mapping[str, str]) -> Iterator[Panel]:
    yield Panel(
        "Loss",
        "Measured on the batches of each epoch, of what the strategy trains there, while the shared weights change. "
        "Training: the images that train the weights; architecture: those that train what chooses. Cross-entropy, "
        "without any cost.",
        "nats",
        _measured(records, ("train_loss", "architecture_loss"), "_loss"),
    )
    names = {name: None for record in records for name in record}
    accuracies = dict.fromkeys(["train_accuracy", *(name for name in names if name.endswith("_accuracy"))])
    yield Panel(
        "Accuracy of the supernet",
        "Share of right answers on the same batches, measured. It is that of no finished network.",
        "%",
        _measured(records, accuracies, "_accuracy", 0.01),
    )
    yield _certainty(records)
    for metric in (METRICS[name.removeprefix(EXPECTED)] for name in names if name.startswith(EXPECTED)):
        yield _cost(records, metric, errors)
    yield _eigenvalue(records)
    for name in names:
        if name not in _TOLD and not name.startswith((EXPECTED, DERIVED)) and not name.endswith("_accuracy"):
            words = name.replace("_", " ")
            yield Panel(words, f"As the strategy recorded it ({name}).", "", [curve(records, name, words)])


def _measured(
    records: Sequence[Record], names: Iterable[str], ending: str, scale: float = 1.0
) -> list[Series]:  # fmt: skip
    """The curves of those names of which anything is recorded; without their ending they say of which images."""
    series = [curve(records, name, name.removesuffix(ending).replace("train", "training"), scale) for name in names]
    return [each for each in series if each.epochs]


def _certainty(records: Sequence[Record]) -> Panel:
    skips = curve(records, "skip_share", "skip share", 0.01)
    note = "Computed. Entropy: mean over the sites, 100 % where all operations are as likely, 0 % where one is certain."
    title = "Certainty"
    if skips.epochs:
        title += " and skip connections"
        note += " Skip share: of the operations in the derived network other than none. Many are how DARTS collapses."
    return Panel(title, note, "%", [curve(records, "entropy", "entropy", 0.01), skips], share=True)


def origin_of(metric: str) -> str:
    """Return where the cost of a network comes from."""
    return "computed" if metric in COST_METRICS else "predicted"


def _cost(records: Sequence[Record], metric: Metric, errors: Mapping[str, str]) -> Panel:
    origin = origin_of(metric.name)
    exact = curve(records, DERIVED + metric.name, "derived network", metric.scale)
    note = (
        f"Expected: {metric.label} of the space's own networks, {origin}, in expectation over the architecture weights."
    )
    if exact.epochs:
        note += f" Derived network: its {metric.label}, {origin}."
    if origin == "predicted":
        note += f" The predictor: {errors.get(metric.name, 'its error is in nas show target NAME')}."
    expected = curve(records, EXPECTED + metric.name, "expected", metric.scale)
    return Panel(f"Expected {metric.label}", note, metric.unit, [expected, exact])


def sharpened_epochs(records: Sequence[Record]) -> list[int]:
    """Return the epochs, from 1, after which a search would end by the criterion of DARTS-ES."""
    from nas.strategies.oneshot.bilevel import has_sharpened

    found = curve(records, "eigenvalue", "")
    return [
        epoch
        for count, epoch in enumerate(found.epochs, 1)
        if has_sharpened(found.values[:count], window=WINDOW, ratio=RATIO)
    ]


def _eigenvalue(records: Sequence[Record]) -> Panel:
    found = curve(records, "eigenvalue", "dominant eigenvalue")
    errors = [number_of(records[epoch - 1], "eigenvalue_error") or 0.0 for epoch in found.epochs]
    marked = sharpened_epochs(records)
    note = (
        "Measured on one batch of the images that train the architecture: the largest eigenvalue of the Hessian of the "
        "loss by the architecture weights, bars its error bound. DARTS-ES (Zela et al., ICLR 2020) ends a search where "
        f"the mean of the last {WINDOW} is above {1 / RATIO:.2f} times that of the {WINDOW} before: "
        f"{_sharpening(found.values, marked)}."
    )
    series = Series(found.name, found.epochs, found.values, errors, marked)
    return Panel("Dominant eigenvalue", note, "", [series])


def _sharpening(values: Sequence[float], marked: Sequence[int]) -> str:
    if len(values) < 2 * WINDOW:
        return f"known from {2 * WINDOW} eigenvalues on, {len(values)} so far"
    latest, before = sum(values[-WINDOW:]), sum(values[-2 * WINDOW : -WINDOW])
    now = f"now {latest / before:.2f} times" if before > 0 else "now without meaning, the mean before is not positive"
    if not marked:
        return f"{now}; never met so far"
    return f"{now}; met after epoch{'s' if len(marked) > 1 else ''} {spans(marked)} (crosses)"


def spans(epochs: Sequence[int]) -> str:
    """Return rising numbers in words, e.g. "3, 7 to 9"."""
    groups = itertools.groupby(enumerate(epochs), key=lambda entry: entry[1] - entry[0])
    runs = [[epoch for _, epoch in run] for _, run in groups]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def stretches(records: Sequence[Record]) -> list[Stretch]:
    """Return the derived networks one after the other; epochs that derived none are left out."""
    found: list[Stretch] = []
    for epoch, record in enumerate(records, 1):
        code = record.get("derived")
        if not isinstance(code, str):
            continue
        if found and found[-1].code == code and found[-1].last == epoch - 1:
            found[-1] = Stretch(found[-1].first, epoch, code)
        else:
            found.append(Stretch(epoch, epoch, code))
    return found


def architecture_weights(
    records: Sequence[Record], sites: Sequence[Site], where: str
) -> dict[int, list[list[float]]]:  # fmt: skip
    """Return for each epoch, from 1, that has them the weights of the operations of each site.

    Raises:
        NasError: they are not of these sites.
    """
    counts, found = [len(site.operations) for site in sites], {}
    for epoch, record in enumerate(records, 1):
        weights = record.get("weights")
        if weights is None:
            continue
        try:
            fits = [len(site) for site in weights] == counts
            finite = math.isfinite(sum(map(sum, weights)))
        except TypeError:
            fits = finite = False
        if not fits:
            raise NasError(f"{where}, line {epoch}: the weights are not of the {len(sites)} sites of this supernet")
        if finite:
            found[epoch] = weights
    return found


def seconds_an_epoch(records: Sequence[Record]) -> float | None:
    """Return the mean time of the last epochs, None where it is not recorded."""
    times = [seconds for record in records[-PACE:] if (seconds := number_of(record, "seconds")) is not None]
    return sum(times) / len(times) if times else None


def duration(seconds: float) -> str:
    """Return a time as people say it, e.g. "45 s", "12 min", "3 h 20 min"."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
