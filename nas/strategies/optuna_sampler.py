"""Any sampler of Optuna (Akiba et al., 2019) as a strategy: `optuna:TPESampler`, `optuna:NSGAIISampler` and so on."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError, UnknownNameError
from nas.space import Codes
from nas.strategies.base import NEAR, Strategy

#: samplers that know numbers only, no categories
_NUMERIC = frozenset({"CmaEsSampler", "QMCSampler"})
#: samplers that know of decisions that do not always matter; the others would draw those at random
_TREE = frozenset({"BruteForceSampler", "RandomSampler", "TPESampler"})
#: samplers that note nothing of a trial and learn from its parameters and values alone
_FORGETFUL = frozenset({"GPSampler", "TPESampler"})
#: packages that some samplers need beside Optuna
_NEEDED = {"CmaEsSampler": ("cmaes",), "GPSampler": ("scipy", "torch"), "QMCSampler": ("scipy",)}


class OptunaSampler(Strategy):
    """A sampler of Optuna, tree-structured Parzen estimators (Bergstra et al., 2011) by default.

    Decisions are categorical parameters; for samplers that know numbers only, the indices of their choices. What was
    told is replayed into a study by trials with given parameters, so a sampler keeps its own memory (generations,
    covariance) as if it had proposed them. A proposal that is known gives way to an unknown neighbour. Bounds that are
    learned are constraints of the trials; CMA-ES, QMC, brute force and random sampling pay no heed to those.

    Raises:
        NasError: the sampler cannot search this space for these objectives; says what Optuna says.
    """

    title = "optuna:TPESampler"
    #: the class of the sampler; None: Optuna's default
    sampler: ClassVar[Callable[..., Any] | None] = None
    _study: Any

    @classmethod
    def with_argument(cls, sampler: str) -> type[OptunaSampler]:
        """Return the strategy of another sampler.

        Raises:
            NasError: a package that the sampler needs is not installed, or it has no such sampler that needs no
                arguments.
        """
        with quiet_optuna() as optuna:
            known = {
                name: found
                for name, found in vars(optuna.samplers).items()
                if name.endswith("Sampler") and not name.startswith("Base") and not required_arguments(found)
            }
        if sampler not in known:
            raise UnknownNameError("Optuna sampler", sampler, known)
        for package in _NEEDED.get(sampler, ()):
            if find_spec(package) is None:
                raise NasError(f"optuna:{sampler} needs the package {package}: pip install {package}")
        return cls._of(known[sampler], f"optuna:{sampler}", f"Optuna's {sampler}.")

    @classmethod
    def _of(cls, sampler: Callable[..., Any], title: str, about: str) -> type[OptunaSampler]:
        members = {"sampler": staticmethod(sampler), "title": title, "__doc__": about}
        return type(sampler.__name__, (cls,), members)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        with self._running() as optuna:
            self._sampler = self.sampler or optuna.samplers.TPESampler
            directions = ["minimize"] * len(self.objectives)
            self._study = optuna.create_study(directions=directions, sampler=self._make_sampler(self.seed))
            # Brute force stops the study when all is known; one that is asked and told has no loop to stop.
            self._study.stop = lambda: None
            # A sampler that cannot do with this space or so many objectives should say so now.
            self._suggest(self._copy_of_study().ask())

    def _make_sampler(self, seed: int) -> Any:
        options = {"seed": seed, "warn_independent_sampling": False}
        accepted = inspect.signature(self._sampler).parameters
        return self._sampler(**{name: value for name, value in options.items() if name in accepted})

    @property
    def batch_size(self) -> int:
        """One at a time, as Optuna does."""
        return 1

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        found = self._none
        study = self._copy_of_study()
        with self._running():
            # Samplers keep their memory in the study; what they hold themselves is random numbers.
            study.sampler = self._make_sampler(int(rng.integers(2**31)))
        for _ in range(n):
            with self._running():
                suggested = self._suggest(study.ask())
            code = self.members(suggested[None])
            near = self.space.mutate(np.repeat(code, NEAR, axis=0), rng, rate=0.0)
            candidates = np.concatenate([self.repair(code, rng), near])
            found = np.concatenate([found, self._new(candidates, found)[:1]])
        return found

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics)
        failed = (np.isinf(points).any(axis=1) | np.isinf(excess)).tolist()
        bounds = {c.metric: c.sign * (metrics[c.metric].to_numpy(float) / c.bound - 1.0) for c in self.constraints}
        asked = self._asked(codes).tolist()
        with self._running() as optuna:
            for i, row in enumerate(codes):
                given = {
                    decision.name: self._value(int(choice))
                    for decision, choice, is_asked in zip(self.space.decisions, row, asked[i], strict=True)
                    if is_asked
                }
                self._study.enqueue_trial(given)
                trial = self._study.ask()
                if self._sampler.__name__ not in _FORGETFUL:
                    _ = trial.relative_params  # has the sampler note what it keeps of each trial
                self._suggest(trial)
                if failed[i]:
                    self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    continue
                for metric, over in bounds.items():
                    trial.set_constraint(metric, float(over[i]))
                self._study.tell(trial, points[i].tolist())

    def _copy_of_study(self) -> Any:
        """A study to ask, so that asking changes nothing; finished trials, which never change, are shared."""
        shared = {id(trial): trial for trial in self._study.get_trials(deepcopy=False)}
        return copy.deepcopy(self._study, shared)

    # --- codes and parameters -------------------------------------------------------------------------------------

    def _asked(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Return bool[n, D], which decisions are parameters of the trial of each network."""
        if self._sampler.__name__ in _TREE:
            return self.space.active(codes)
        return np.ones(codes.shape, dtype=bool)

    def _value(self, choice: int) -> Any:
        return choice if self._sampler.__name__ in _NUMERIC else str(choice)

    def _suggest(self, trial: Any) -> npt.NDArray[np.int8]:
        """Ask a trial for every decision it has as a parameter, those that others hang on first; returns int8[D]."""
        code = np.zeros(len(self.space.decisions), dtype=np.int8)
        for d, decision in enumerate(self.space.decisions):
            if not self._asked(code[None])[0, d]:
                continue
            last = len(decision.choices) - 1
            if self._sampler.__name__ in _NUMERIC:
                code[d] = trial.suggest_int(decision.name, 0, last)
            else:
                code[d] = int(trial.suggest_categorical(decision.name, [str(i) for i in range(last + 1)]))
        return code

    @contextmanager
    def _running(self) -> Iterator[Any]:
        """Optuna, with whatever a sampler raises as an error of ours: its code is not ours to foresee."""
        with quiet_optuna() as optuna:
            try:
                yield optuna
            except NasError:
                raise
            except ImportError as error:
                raise NasError(f"{self.title} needs the package {error.name}: pip install {error.name}") from error
            except Exception as error:
                asked = f"{len(self.objectives)} objectives" if len(self.objectives) > 1 else "one objective"
                raise NasError(f"{self.title} failed on {self.space.name} with {asked}: {error}") from error


def required_arguments(sampler: Callable[..., Any]) -> Sequence[str]:
    """Return the names of the arguments that a sampler cannot be made without."""
    parameters = inspect.signature(sampler).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind not in kinds]


@contextmanager
def quiet_optuna() -> Iterator[Any]:
    """Optuna without its log of every trial and its warnings of experimental features."""
    import optuna  # takes half a second

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield optuna
    finally:
        optuna.logging.set_verbosity(level)
