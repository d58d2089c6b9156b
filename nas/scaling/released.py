"""Published families of networks, over all packages registered in the entry-point group `nas.networks`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nas import registry
from nas.errors import NasError, UnknownNameError
from nas.scaling.coefficients import Coefficients, Multipliers
from nas.scaling.scaled import scaled
from nas.space import NetworkSpec
from nas.space.catalogue import load_network

if TYPE_CHECKING:
    import pandas as pd

    from nas.scaling.recipe import Recipe


@dataclass(frozen=True)
class PublishedMember:
    """A network of a family.

    Args:
        name: short, within the family: "b4".
        network: its name among the published networks: "efficientnet_b4".
        phi: compound coefficient, where the family has coefficients and this member has one.
        depth, width: multipliers as published; None where the member was not described by any.
        recipe: how it was trained, where that is published.
    """

    name: str
    network: str
    phi: float | None = None
    depth: float | None = None
    width: float | None = None
    recipe: Recipe | None = None

    @property
    def spec(self) -> NetworkSpec:
        """The network itself, at the resolution it was published for."""
        return load_network(self.network)

    @property
    def resolution(self) -> int:
        """Input height = width in pixels."""
        return self.spec.resolution


@dataclass(frozen=True)
class PublishedFamily:
    """Networks that were published together, from the smallest to the largest.

    Args:
        name: as users call it: "efficientnet".
        base: name of the network (in the catalogue) that the multipliers refer to.
        source: where the family was published.
        coefficients: alpha, beta, gamma as the paper states them, where it does.
        note: how the members follow from the base, and where they do not.
    """

    name: str
    base: str
    source: str
    members: tuple[PublishedMember, ...]
    coefficients: Coefficients | None = None
    note: str = ""

    def __getitem__(self, name: str) -> PublishedMember:
        """Return the member called `name`, "b4" or "efficientnet_b4".

        Raises:
            UnknownNameError: there is none of that name.
        """
        found = {member.name: member for member in self.members} | {member.network: member for member in self.members}
        if name not in found:
            raise UnknownNameError(f"member of {self.name}", name, [member.name for member in self.members])
        return found[name]

    def multipliers(self, member: PublishedMember) -> Multipliers | None:
        """Return by how much `member` is deeper, wider and finer resolved than the base; None if not published."""
        if member.depth is None or member.width is None:
            return None
        return Multipliers(member.depth, member.width, member.resolution / load_network(self.base).resolution)

    def follows(self, member: PublishedMember) -> bool:
        """Whether scaling the base by the published multipliers gives exactly the network that was released.

        Repeats are rounded up and channels to 8, see `NetworkSpec.scale`; some families round in another way, or leave
        out some layers.
        """
        multipliers = self.multipliers(member)
        if multipliers is None:
            return False
        base = load_network(self.base)
        return base.scale(multipliers.depth, multipliers.width, member.resolution) == member.spec


@cache
def published_families() -> dict[str, PublishedFamily]:
    """Return all published families by name; packages of networks list theirs in `FAMILIES`."""
    found: dict[str, PublishedFamily] = {}
    for entry in registry.names("networks"):
        found |= getattr(registry.load("networks", entry), "FAMILIES", {})
    return found


def published_family(name: str) -> PublishedFamily:
    """Return the published family called `name`.

    Raises:
        UnknownNameError: there is none of that name.
    """
    families = published_families()
    if name not in families:
        raise UnknownNameError("published family", name, families)
    return families[name]


def difference(family: PublishedFamily, coefficients: Coefficients | None = None) -> pd.DataFrame:
    """Return the released members beside those that the formula alpha^phi, beta^phi, gamma^phi gives.

    One row a member that has a phi; columns `member`, `phi`, and for each of depth, width (multipliers), resolution
    (pixels), params and macs (exact counts) `<quantity>_released`, `<quantity>_formula` and `<quantity>_percent`, by
    how much the formula is above (or, negative, below) what was released.

    Args:
        coefficients: by default those the paper states.

    Raises:
        NasError: the family states no coefficients and none are given, or its members have no phi.
    """
    import pandas as pd

    coefficients = coefficients or family.coefficients
    members = [member for member in family.members if member.phi is not None]
    if not members or coefficients is None:
        others = [name for name, other in published_families().items() if other.coefficients is not None]
        raise NasError(
            f"the family {family.name!r} was not published with compound coefficients, so there is no formula to "
            f"compare it with; families that were: {', '.join(others)}"
        )
    base = load_network(family.base)
    return pd.DataFrame([_row(family, member, base, coefficients) for member in members])


def _row(
    family: PublishedFamily, member: PublishedMember, base: NetworkSpec, coefficients: Coefficients
) -> dict[str, str | float]:
    phi, multipliers = member.phi, family.multipliers(member)
    assert phi is not None
    assert multipliers is not None
    by = coefficients.at(phi)
    row: dict[str, str | float] = {"member": member.name, "phi": phi}
    pairs = zip(_quantities(member.spec, multipliers), _quantities(scaled(base, by), by), strict=True)
    for name, (released, formula) in zip(("depth", "width", "resolution", "params", "macs"), pairs, strict=True):
        row |= {
            f"{name}_released": released,
            f"{name}_formula": formula,
            f"{name}_percent": 100 * (formula / released - 1),
        }
    return row


def _quantities(spec: NetworkSpec, by: Multipliers) -> tuple[float, ...]:
    cost = spec.cost()
    return by.depth, by.width, spec.resolution, cost["params"], cost["macs"]
