"""Scaling laws: how the top-1 error of a family of networks falls with their cost, and what the next member will have.

    error = a · cost^-b + c        a, b, c >= 0, error in percent

c is what the family, trained by its recipe, would not get below at any cost. Kaplan et al. (arXiv:2001.08361) found
such laws for language models; with an offset they are those of Hestness et al. (arXiv:1712.00409) and Rosenfeld et al.
(ICLR 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.scaling.laws.power_law import EXPONENTS, Array, PowerLaws, fit_power_laws

#: costs are told, and `a` refers to them, in these units; those of other metrics in ones
UNITS = {"macs": 1e9, "flops": 1e9, "params": 1e6}
#: how costs in these units are called
AXES = {"macs": "GMACs", "flops": "GFLOPs", "params": "Mparams"}
#: a law has three parameters, and one observation more tells how well it holds
FEWEST = 4
#: and with more the bootstrap takes too long: no family has so many
MOST = 300
#: members that are predicted from cheaper ones: the largest, up to so many
AHEAD = 12
#: larger inversions, in parts of the range of errors, contradict a law that only falls
LARGEST_INVERSION = 0.1
#: samples of the bootstrap
DRAWS = 4000


@dataclass(frozen=True)
class Forecast:
    """The error of a network that a law was not fitted to.

    Args:
        name: the network; "" for one that nobody has trained.
        cost: in plain units, say multiply-adds.
        error, low, high: top-1 error in percent, predicted, and the interval of it.
        measured: the error that it has, where it is known.
    """

    name: str
    cost: float
    error: float
    low: float
    high: float
    measured: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the interval holds what was measured."""
        return None if self.measured is None else self.low <= self.measured <= self.high


@dataclass(frozen=True)
class Law:
    """A scaling law with the observations it was fitted to, which together with the seed give its intervals again.

    Args:
        costs: of the observed networks, from the cheapest, in plain units (multiply-adds, parameters, ms).
        errors: their top-1 errors in percent.
        cost: what the cost is, a metric such as "macs".
        names: of the networks.
        family: what they are called together.
        origin: "published" or "given".
        source: where the errors are from.
        recipe: how the networks were trained, in words.
        epochs: for how long.
        seed: of the bootstrap.
    """

    costs: tuple[float, ...]
    errors: tuple[float, ...]
    cost: str = "macs"
    names: tuple[str, ...] = ()
    family: str = ""
    origin: Literal["published", "given"] = "given"
    source: str = ""
    recipe: str = ""
    epochs: int | None = None
    seed: int = 0

    @property
    def unit(self) -> float:
        """What `a` refers to: 1e9 multiply-adds, 1e6 parameters, 1 ms ..."""
        return UNITS.get(self.cost, 1.0)

    @property
    def a(self) -> float:
        """How much of the error, in points, cost of one unit leaves to be gained."""
        return float(self._fitted.scale[0])

    @property
    def b(self) -> float:
        """The exponent: twice the cost leaves 2^-b of what can be gained."""
        return float(self._fitted.exponent[0])

    @property
    def c(self) -> float:
        """The error in percent that the family approaches."""
        return float(self._fitted.offset[0])

    @property
    def rmse(self) -> float:
        """Root mean square of the residuals in points."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    @property
    def residual_std(self) -> float:
        """Estimated standard deviation of one network about the law in points: n - 3 degrees of freedom."""
        return float(np.sqrt(np.sum(self.residuals**2) / self._freedom))

    @property
    def residuals(self) -> Array:
        """float[n], observed minus fitted, in points."""
        residuals: Array = np.asarray(self.errors) - self._fitted.at(self._x)[0]
        return residuals

    @property
    def formula(self) -> str:
        """The law in words, e.g. "error = 4.81 · GMACs^-0.530 + 14.98"."""
        return f"error = {self.a:.3g} · {AXES.get(self.cost, self.cost)}^-{self.b:.3f} + {self.c:.2f}"

    @property
    def text(self) -> str:
        """What it is and what it rests on, in one line."""
        trained = f", {self.epochs} epochs" if self.epochs else ""
        of = f" of {self.family}" if self.family else ""
        return (
            f"the scaling law {self.formula}, fitted to {len(self.costs)} {self.origin} networks{of}{trained}, "
            f"residuals {self.rmse:.2f} points"
        )

    @property
    def undetermined(self) -> bool:
        """Whether no exponent is better than the largest or smallest that is looked at: the data show no such law."""
        return not EXPONENTS[0] * 1.01 < self.b < EXPONENTS[1] / 1.01

    def covers(self, cost: float) -> bool:
        """Whether networks both cheaper and more expensive were observed."""
        return self.costs[0] <= cost <= self.costs[-1]

    def predict(self, cost: npt.ArrayLike, level: float = 0.9) -> tuple[Array, Array, Array]:
        """Return error in percent and both ends of the interval for a new member, each float[n].

        Args:
            cost: float[n] in plain units, as `costs`.
            level: how probable it is that the interval holds the error of a network trained by the same recipe.

        Raises:
            NasError: a cost or the level is out of range.
        """
        asked = np.atleast_1d(np.asarray(cost, dtype=np.float64))
        if not ((asked > 0) & np.isfinite(asked)).all():
            raise NasError(f"cannot predict an error at {self.cost} {asked[~(asked > 0)][:1]}: a cost is positive")
        laws, std, noise = self._draws
        mean = self._fitted.at(asked / self.unit)[0]
        low, high = np.quantile(laws.at(asked / self.unit) + (std * noise)[:, None], _ends(level), axis=0)
        return np.clip(mean, 0, 100), np.clip(low, 0, 100), np.clip(high, 0, 100)

    def intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Return the interval of each of a, b and c: percentiles of the bootstrap."""
        laws, _, _ = self._draws
        drawn = np.stack([laws.scale, laws.exponent, laws.offset])
        low, high = np.quantile(drawn, _ends(level), axis=1).tolist()
        return dict(zip("abc", zip(low, high, strict=True), strict=True))

    def forecast(self, cost: float, level: float = 0.95) -> Forecast:
        """Return what a network of a cost, in plain units, will have."""
        mean, low, high = (float(each[0]) for each in self.predict(cost, level))
        return Forecast("", cost, mean, low, high)

    def ahead(self, level: float = 0.95) -> list[Forecast]:
        """Return the largest members, up to 12, that four cheaper ones precede, predicted from the cheaper ones alone.

        The last is the largest member, predicted from all others. Empty where there are fewer than five costs.
        """
        costs = np.asarray(self.costs)
        forecasts = []
        for cost in np.unique(costs)[FEWEST:][-AHEAD:]:
            cheaper, there = costs < cost, costs == cost
            known = replace(self, costs=tuple(costs[cheaper]), errors=tuple(np.asarray(self.errors)[cheaper]), names=())
            name = self.names[int(there.argmax())] if self.names else ""
            measured = float(np.asarray(self.errors)[there].mean())
            forecasts.append(replace(known.forecast(float(cost), level), name=name, measured=measured))
        return forecasts

    @property
    def _freedom(self) -> int:
        return len(self.costs) - 3

    @cached_property
    def _x(self) -> Array:
        return np.asarray(self.costs) / self.unit

    @cached_property
    def _fitted(self) -> PowerLaws:
        return fit_power_laws(self._x, np.asarray(self.errors)[None])

    @cached_property
    def _draws(self) -> tuple[PowerLaws, Array, Array]:
        """Parametric bootstrap: laws, residual standard deviations and standard normal noise, N of each.

        A standard deviation estimated from few residuals is uncertain itself: each sample has its own, s·√(ν/χ²_ν),
        so that for a law linear in its parameters the intervals would be those of Student's t.
        """
        rng = np.random.default_rng(self.seed)
        std = self.residual_std * np.sqrt(self._freedom / rng.chisquare(self._freedom, DRAWS))
        samples = self._fitted.at(self._x) + std[:, None] * rng.standard_normal((DRAWS, len(self.costs)))
        # One pass leaves far less of an exponent than samples differ by.
        return fit_power_laws(self._x, samples, passes=1), std, rng.standard_normal(DRAWS)


def fit_law(
    cost: npt.ArrayLike,
    error: npt.ArrayLike,
    names: Sequence[str] = (),
    metric: str = "macs",
    called: Sequence[str] = (),
    **about: Any,
) -> Law:
    """Return the law of least squares for networks of a cost and a top-1 error in percent.

    Args:
        cost: float[n] in plain units, say multiply-adds.
        error: float[n] in percent.
        names: of the networks.
        metric: what the cost is.
        called: what messages call the networks, if not by their names.
        about: more of the fields of a Law: family, origin, source, recipe, epochs, seed.

    Raises:
        NasError: fewer than four different costs, or more than 300 networks; a cost that is not positive, an error
            that is no percentage; errors that rise with cost by more than a tenth of their range.
    """
    costs, errors = np.asarray(cost, dtype=np.float64), np.asarray(error, dtype=np.float64)
    words = list(called) or list(names) or [f"network {i}" for i in range(1, len(costs) + 1)]
    for values, wrong, what in (
        (costs, ~(costs > 0) | ~np.isfinite(costs), f"{metric}, expected a positive number"),
        (errors, ~((errors >= 0) & (errors <= 100)), "top-1 error, expected percent between 0 and 100"),
    ):
        if wrong.any():
            raise NasError(f"{words[int(wrong.argmax())]} has {values[wrong][0]:g} {what}")
    different = len(np.unique(costs))
    if different < FEWEST:
        raise NasError(
            f"a scaling law has three parameters and needs at least {FEWEST} networks of different {metric}, "
            f"there are {different}"
        )
    if len(costs) > MOST:
        raise NasError(
            f"{len(costs)} networks are too many for one scaling law, at most {MOST}: choose a family of them"
        )
    order = np.argsort(costs, kind="stable")
    law = Law(
        tuple(costs[order].tolist()), tuple(errors[order].tolist()), metric,
        tuple(names[i] for i in order) if names else (), **about,
    )  # fmt: skip
    _refuse_inverted(law, [words[i] for i in order])
    return law


def inversion(law: Law) -> tuple[int, int, float] | None:
    """Return positions of the two networks between which the error rises most with cost, and by how many points.

    Networks of equal cost count as one of their mean error. None where the error never rises.
    """
    costs, where = np.unique(law.costs, return_inverse=True)
    means = np.bincount(where, weights=law.errors) / np.bincount(where)
    best_before = np.minimum.accumulate(means)
    rise = means - best_before
    worst = int(rise.argmax())
    if rise[worst] <= 0:
        return None
    before = int(means[:worst].argmin())
    first = law.costs.index
    return first(float(costs[before])), first(float(costs[worst])), float(rise[worst])


def _refuse_inverted(law: Law, called: Sequence[str]) -> None:
    found, spread = inversion(law), max(law.errors) - min(law.errors)
    if spread == 0:
        raise NasError(f"all {len(law.errors)} networks have the error {law.errors[0]:g} %: there is no law to fit")
    if found is not None and found[2] > LARGEST_INVERSION * spread:
        i, j, rise = found
        raise NasError(
            f"the error must fall with {law.cost}, but {called[j]} has {rise:.2f} points more than {called[i]}, which "
            f"costs less ({100 * rise / spread:.0f} % of the range of errors; {100 * LARGEST_INVERSION:.0f} % can be "
            "noise). Networks of different recipes or families are no law: give them apart"
        )


def _ends(level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise NasError(f"the level of an interval is {level:g}, expected a number between 0 and 1 such as 0.95")
    return (1 - level) / 2, (1 + level) / 2
