"""Any sampler of Optuna (Akiba et al., 2019) as a strategy: `optuna:TPESampler`, `optuna:NSGAIISampler` and so on."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError, UnknownNameError
from nas.space import Codes
from nas.space.decision import DecisionTree
from nas.strategies.base import NEAR, Strategy

#: samplers that know numbers only, no categories
_NUMERIC = frozenset({"CmaEsSampler"})
#: samplers that note nothing of a trial and learn from its parameters and values alone
_FORGETFUL = frozenset({"GPSampler", "TPESampler"})
_VIOLATION = "violation"


class OptunaSampler(Strategy):
    """A sampler of Optuna, tree-structured Parzen estimators (Bergstra et al., 2011) by default.

    Decisions are categorical parameters, and a decision that does not matter is not asked for. What was told is
    replayed into a study by trials with given parameters, so a sampler keeps its own memory (generations, covariance)
    as if it had proposed them. A proposal that is known gives way to an unknown neighbour.
    """

    sampler = "TPESampler"
    _study: Any

    @classmethod
    def with_argument(cls, sampler: str) -> type[OptunaSampler]:
        """Return the strategy of another sampler.

        Raises:
            NasError: Optuna is not installed, or has no such sampler that needs no arguments.
        """
        with _quiet_optuna() as optuna:
            known = {name for name in dir(optuna.samplers) if name.endswith("Sampler") and not name.startswith("Base")}
            known = {name for name in known if _runs_alone(getattr(optuna.samplers, name))}
        if sampler not in known:
            raise UnknownNameError("Optuna sampler", sampler, known)
        if sampler == "CmaEsSampler" and find_spec("cmaes") is None:
            raise NasError("optuna:CmaEsSampler needs the package cmaes: pip install cmaes")
        return type(sampler, (cls,), {"sampler": sampler, "__doc__": f"Optuna's {sampler}."})

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._tree = DecisionTree(self.space.decisions)
        with _quiet_optuna() as optuna:
            directions = ["minimize"] * len(self.objectives)
            self._study = optuna.create_study(directions=directions, sampler=self._make_sampler(self.seed))

    def _make_sampler(self, seed: int) -> Any:
        import optuna

        sampler = getattr(optuna.samplers, self.sampler)
        options: dict[str, Any] = {"seed": seed, "warn_independent_sampling": False}
        if self.constraints:
            options["constraints_func"] = _violation_of
        accepted = inspect.signature(sampler).parameters
        return sampler(**{name: value for name, value in options.items() if name in accepted})

    @property
    def batch_size(self) -> int:
        """One at a time, as Optuna does."""
        return 1

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        found = self._none
        with _quiet_optuna():
            study = self._copy_of_study()
            # Samplers keep their memory in the study; what they hold themselves is random numbers.
            study.sampler = self._make_sampler(int(rng.integers(2**31)))
            for _ in range(n):
                code = self.members(self._suggest(study.ask())[None])
                near = self.space.mutate(np.repeat(code, NEAR, axis=0), rng, rate=0.0)
                candidates = np.concatenate([self.repair(code, rng), near])
                found = np.concatenate([found, self._new(candidates, found)[:1]])
        return found

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics)
        active = self.space.active(codes)
        with _quiet_optuna() as optuna:
            for row, matters, point, over in zip(codes, active, points, excess, strict=True):
                given = {
                    decision.name: self._value(d, int(row[d]))
                    for d, decision in enumerate(self.space.decisions)
                    if matters[d]
                }
                self._study.enqueue_trial(given)
                trial = self._study.ask()
                if self.sampler not in _FORGETFUL:
                    _ = trial.relative_params  # has the sampler note what it keeps of each trial
                self._suggest(trial)
                trial.set_user_attr(_VIOLATION, float(over))
                failed = not np.isfinite([*point, over]).all()
                state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
                self._study.tell(trial, None if failed else point.tolist(), state)

    def _copy_of_study(self) -> Any:
        """A study to ask, so that asking changes nothing; finished trials, which never change, are shared."""
        shared = {id(trial): trial for trial in self._study.get_trials(deepcopy=False)}
        return copy.deepcopy(self._study, shared)

    # --- codes and parameters -------------------------------------------------------------------------------------

    def _value(self, d: int, choice: int) -> Any:
        return choice if self.sampler in _NUMERIC else str(choice)

    def _suggest(self, trial: Any) -> npt.NDArray[np.int8]:
        """Ask a trial for every decision that matters, the ones it hangs on first; returns int8[D]."""
        code = np.zeros(len(self.space.decisions), dtype=np.int8)
        matters = np.zeros(len(code), dtype=bool)
        for d, decision in enumerate(self.space.decisions):
            parent = self._tree.parent[d]
            matters[d] = parent < 0 or (matters[parent] and int(code[parent]) in self._tree.activating[d])
            if not matters[d]:
                continue
            count = len(decision.choices)
            if self.sampler in _NUMERIC:
                code[d] = trial.suggest_int(decision.name, 0, count - 1)
            else:
                code[d] = int(trial.suggest_categorical(decision.name, [str(i) for i in range(count)]))
        return code


def _violation_of(trial: Any) -> tuple[float]:
    return (trial.user_attrs[_VIOLATION],)


def _runs_alone(sampler: Callable[..., Any]) -> bool:
    return all(
        parameter.default is not inspect.Parameter.empty for parameter in inspect.signature(sampler).parameters.values()
    )


@contextmanager
def _quiet_optuna() -> Iterator[Any]:
    """Optuna without its log of every trial and its warnings of experimental features.

    Raises:
        NasError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise NasError("strategies optuna:... need the package optuna: pip install optuna") from None
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield optuna
    finally:
        optuna.logging.set_verbosity(level)
