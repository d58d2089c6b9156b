"""Multipliers of a base network, and the coefficients alpha, beta, gamma that a whole family of them follows."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from nas.errors import NasError

#: what a network is scaled in, in the order of alpha, beta, gamma
DIMENSIONS = ("depth", "width", "resolution")


@dataclass(frozen=True)
class Multipliers:
    """How many times as deep, as wide and as finely resolved as the base a network is."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    def __post_init__(self) -> None:
        for name, value in zip(DIMENSIONS, astuple(self), strict=True):
            if not 0 < value < math.inf:
                raise NasError(f"the {name} multiplier is {value}, must be a positive number")


@dataclass(frozen=True)
class Coefficients:
    """alpha, beta and gamma of compound scaling (Tan & Le, EfficientNet, ICML 2019, eq. 3).

    A member of the family with compound coefficient phi is alpha^phi times as deep, beta^phi as wide, gamma^phi as
    finely resolved as the base.
    """

    depth: float
    width: float
    resolution: float

    def __post_init__(self) -> None:
        for name, value in zip(DIMENSIONS, astuple(self), strict=True):
            if not 1 <= value < math.inf:
                raise NasError(f"the coefficient of {name} is {value:g}, must be at least 1: a family grows with phi")

    @classmethod
    def parse(cls, text: str) -> Coefficients:
        """Return the coefficients written as "1.2,1.1,1.15": alpha, beta, gamma.

        Raises:
            NasError: there are not three numbers, or one is below 1.
        """
        try:
            depth, width, resolution = (float(part) for part in text.split(","))
        except ValueError:
            raise NasError(f"coefficients are {text!r}, expected alpha,beta,gamma such as 1.2,1.1,1.15") from None
        return cls(depth, width, resolution)

    def at(self, phi: float) -> Multipliers:
        """Return the multipliers of the member with compound coefficient `phi`.

        Raises:
            NasError: `phi` is negative or no number.
        """
        if not 0 <= phi < math.inf:
            raise NasError(f"phi is {phi:g}, must not be negative: the base is phi 0; name a smaller base to go below")
        return self.along(phi)

    def along(self, phi: float) -> Multipliers:
        """Return the multipliers for any real `phi`; a negative one makes a network smaller than the base."""
        return Multipliers(self.depth**phi, self.width**phi, self.resolution**phi)

    @property
    def growth(self) -> float:
        """How much cost should grow with phi, alpha · beta² · gamma²: about 2 in EfficientNet."""
        return self.depth * self.width**2 * self.resolution**2

    def __str__(self) -> str:
        return ", ".join(f"{value:.4g}" for value in astuple(self))
