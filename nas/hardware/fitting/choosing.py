"""Which kind of predictor suits what was measured: the one of least cross-validated error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.errors import NasError, UnknownNameError
from nas.hardware.calibration import Calibration
from nas.hardware.fitting.fit_kinds import KINDS, MIN_HELD_OUT, Folds, Kind, Lookup, MeasuredData, Roofline
from nas.hardware.fitting.held_out import HeldOutValues, cross_conformal
from nas.hardware.predictor import Array, LatencyPredictor

AUTO, NOT_ASKED = "auto", "not asked for"
FOLDS = 5
#: up to so many networks are held out one at a time
_ONE_BY_ONE = 20
#: half of a 90 % interval of a normal distribution, where too little is known of another
_NORMAL_90 = 1.645


@dataclass(frozen=True)
class Candidate:
    """A kind of predictor, and what became of it.

    Args:
        values: its cross-validated predictions, where there are any.
        lacks: why it was not fitted, in words.
    """

    name: str
    title: str
    values: HeldOutValues | None = None
    lacks: str = ""

    @property
    def error(self) -> float:
        """Mean absolute error, as a share; infinite where it is not known."""
        if self.values is None:
            return float("inf")
        return float(np.mean(np.abs(self.values.predicted - self.values.measured) / self.values.measured))


@dataclass(frozen=True)
class Choice:
    """The chosen predictor, fitted to all data.

    Args:
        kind: its name; suffix: of its file.
        reason: why it was chosen.
        values: its cross-validated predictions, of networks or, where hardly any were measured, of single blocks; None
            where neither can be had. protocol: how they were held out.
        candidates: every kind, in the order of KINDS.
    """

    kind: str
    suffix: str
    reason: str
    predictor: LatencyPredictor
    values: HeldOutValues | None
    protocol: str
    candidates: tuple[Candidate, ...]


def check_kind(kind: str) -> None:
    """Raises UnknownNameError: there is no such kind of predictor to fit, and it is not "auto"."""
    names = [AUTO, *(each.name for each in KINDS)]
    if kind not in names:
        raise UnknownNameError("kind of predictor", kind, names)


def choose(data: MeasuredData, kind: str = AUTO, seed: int = 0) -> Choice:
    """Cross-validate the kinds that the data allow, and fit the best one to all of it.

    Args:
        kind: the only one to consider; "auto": all.
        seed: of the folds.

    Raises:
        NasError: the data allow none, or not the one asked for; says what each lacks.
    """
    tried = [_Trial(each(data), kind, seed) for each in KINDS]
    candidates = tuple(trial.candidate for trial in tried)
    possible = [trial for trial in tried if not trial.candidate.lacks]
    if not possible:
        raise NasError(_nothing_possible(data, candidates, kind))
    if data.count >= MIN_HELD_OUT:
        best = min(possible, key=lambda trial: trial.candidate.error)
        reason = "least cross-validated error" if kind == AUTO else "asked for"
        fold = _folds(data.count, seed)
        predictor = best.kind.fit(fold, best.calibration)
        return best.choice(predictor, reason, best.candidate.values, _protocol(fold), candidates)
    return _of_blocks(data, possible, kind, seed, candidates)


def _of_blocks(
    data: MeasuredData, possible: list[_Trial], kind: str, seed: int, candidates: tuple[Candidate, ...]
) -> Choice:
    """Choose without networks to compare on: a table of every block adds nothing of its own, so it goes first."""
    best = next((trial for trial in possible if isinstance(trial.kind, Lookup)), possible[0])
    reason = "asked for"
    if kind == AUTO:
        every = isinstance(best.kind, Lookup)
        reason = "every block was measured" if every else "it can predict blocks that were not measured"
    predictor = best.kind.fit(_folds(data.count, seed), Calibration.normal(_NORMAL_90))
    if not isinstance(best.kind, Roofline) or len(data.block_layers) < MIN_HELD_OUT:
        return best.choice(predictor, reason, None, "", candidates)
    assert data.blocks is not None
    fold = _folds(len(data.blocks), seed)
    mean, std = best.kind.cross_validate_blocks(fold)
    values = cross_conformal(data.blocks.values[data.metric], mean, std, fold)
    return best.choice(predictor, reason, values, f"{_protocol(fold)} of single blocks", candidates)


class _Trial:
    """A kind on the data: cross-validated if it can be, and if it may be the one asked for."""

    def __init__(self, kind: Kind, asked: str, seed: int):
        self.kind = kind
        data, lacks = kind.data, kind.lacks()
        if asked not in (AUTO, kind.name):
            lacks = NOT_ASKED
        self._held_out: tuple[Array, Array] | None = None
        values = None
        if not lacks and data.count >= MIN_HELD_OUT:
            fold = _folds(data.count, seed)
            mean, std = self._held_out = kind.cross_validate(fold)
            values = cross_conformal(data.values, mean, std, fold)
        self.candidate = Candidate(kind.name, kind.title, values, lacks)

    @property
    def calibration(self) -> Calibration:
        """Of intervals, from all held-out residuals."""
        assert self._held_out is not None
        mean, std = self._held_out
        return Calibration.of((self.kind.data.values - mean) / std)

    def choice(
        self, predictor: LatencyPredictor, reason: str, values: HeldOutValues | None, protocol: str,
        candidates: tuple[Candidate, ...],
    ) -> Choice:  # fmt: skip
        return Choice(self.kind.name, self.kind.suffix, reason, predictor, values, protocol, candidates)


def _folds(count: int, seed: int) -> Folds:
    folds = count if count <= _ONE_BY_ONE else FOLDS
    return np.random.default_rng(seed).permutation(count).astype(np.int64) % max(folds, 1)


def _protocol(fold: Folds) -> str:
    folds = len(np.unique(fold))
    return "leave-one-out" if folds == len(fold) else f"{folds}-fold cross-validation"


def _nothing_possible(data: MeasuredData, candidates: tuple[Candidate, ...], kind: str) -> str:
    asked = [each for each in candidates if kind in (AUTO, each.name)]
    lacking = "; ".join(f"{each.name}: {each.lacks}" for each in asked)
    return f"no predictor can be fitted to what was measured of {data.metric}; {lacking}"
