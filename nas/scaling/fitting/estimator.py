"""Accuracy of scaled networks by an estimator, where they are points of a space that it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.errors import NasError
from nas.estimators.base import Estimator
from nas.scaling.fitting.cost_growth import CostGrowth
from nas.scaling.fitting.grid import POINTS, GridFit, fit_grid
from nas.space import Codes, NetworkSpec, SearchSpace


def fit_by_estimator(
    base: NetworkSpec, judge: EstimatedAccuracy, growth: CostGrowth, cost: Callable[[NetworkSpec], float] | None,
    factor: float = 2.0, points: int = POINTS, seed: int = 0,
) -> GridFit:  # fmt: skip
    """Fit coefficients by a grid (see `fit_grid`) of the scaled networks that an estimator knows.

    Raises:
        NasError: it knows too few of them; says which it knows, and what to do instead.
    """
    if not judge.knows(base):
        raise NasError(f"{base.name or 'the base'} is {judge.outside}")
    try:
        return fit_grid(base, judge, growth, cost, factor, points=points, seed=seed, knows=judge.knows)
    except NasError as error:
        raise NasError(f"{error}; scaled networks are mostly {judge.outside}") from None


@dataclass(frozen=True)
class _On:
    """The part of a problem that estimators look at."""

    space: SearchSpace


@dataclass(frozen=True)
class EstimatedAccuracy:
    """Top-1 of networks by an estimator, of those that are points of one of its spaces."""

    estimator: Estimator
    spaces: tuple[SearchSpace, ...]

    @classmethod
    def of(cls, estimator: Estimator, spaces: Sequence[SearchSpace]) -> EstimatedAccuracy:
        """Return the estimator on those of `spaces` that it knows.

        Raises:
            NasError: it knows none of them, or another accuracy than that of trained networks.
        """
        if "top1" not in estimator.metrics:
            raise NasError(f"the estimator gives {estimator.metrics[0]}; scaling needs top-1 of trained networks")
        known = tuple(space for space in spaces if _covers(estimator, space))
        if not known:
            raise NasError("the estimator says nothing of the networks of any installed space")
        return cls(estimator, known)

    def knows(self, network: NetworkSpec) -> bool:
        """Whether a network is a point of one of the spaces."""
        return any(_code(space, network) is not None for space in self.spaces)

    def __call__(self, network: NetworkSpec) -> float:
        """Return top-1 in percent.

        Raises:
            NasError: the network is no point of a space; says what to do instead.
        """
        for space in self.spaces:
            code = _code(space, network)
            if code is not None:
                return float(self.estimator.evaluate(_On(space), code[None])["top1"].iloc[0])
        raise NasError(f"{network.name or 'the network'} is {self.outside}")

    @property
    def outside(self) -> str:
        """What is to be said of networks that it does not know."""
        names = ", ".join(space.name for space in self.spaces)
        return (
            f"outside of what the estimator knows, which is networks of the spaces {names}; train the networks that "
            "`nas scale design` proposes and give their accuracies by --observations"
        )


def _covers(estimator: Estimator, space: SearchSpace) -> bool:
    try:
        estimator.about(_On(space))
    except NasError:
        return False
    return True


def _code(space: SearchSpace, network: NetworkSpec) -> Codes | None:
    try:
        return space.encode(network)
    except NasError:
        return None
