"""From what a user names for `nas scale plan` to the family, the schedules and the clock of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from nas.errors import NasError, suggestion
from nas.scaling.coefficients import Coefficients
from nas.scaling.emit import emit, emit_released
from nas.scaling.family import Family, family_file, read_family
from nas.scaling.laws.sources import load_law
from nas.scaling.planning.plan import Schedule
from nas.scaling.planning.training_time import Clock, device_clock, measured_clock
from nas.scaling.released import published_families, published_family
from nas.search.resolve import resolve


def find_family(text: str) -> Family:
    """Return the family in a file or folder, or the published one of that name.

    Raises:
        NasError: there is neither; says which published name is near.
    """
    file = family_file(text)
    if file is not None:
        return read_family(file, lambda name: resolve(name).spec)
    if text in published_families():
        return emit_released(published_family(text))
    near = suggestion(text, published_families())
    raise NasError(f"{text!r} is no published family and no file of one that nas scale emit wrote{near}")


def make_family(base: str, coefficients: str, phis: Sequence[float]) -> Family:
    """Return the members of a base and coefficients written as alpha,beta,gamma."""
    return emit(resolve(base).spec, base, Coefficients.parse(coefficients), phis)


def find_schedules(laws: Sequence[str], family: Family, epochs: int | None) -> list[Schedule]:
    """Return a schedule for each law: a file, or the name of a published family whose recipe is meant.

    Without laws, that of the published family which the members, or their base, belong to.

    Args:
        epochs: of laws that do not say for how many their networks were trained.

    Raises:
        NasError: no law is known for the family, or `epochs` are not those a law was fitted for.
    """
    home = _home(family)
    if not laws and home is None:
        raise NasError(
            f"no law tells the accuracy of this family around {family.base}; fit one with nas scale law RESULTS.csv "
            "--out law.yaml and give it by --law"
        )
    released = any(member.network for member in family.members)
    return [_schedule(text, home, released, epochs) for text in laws or [str(home)]]


def _home(family: Family) -> str | None:
    """Name of the published family with all published members of a family, or with its base."""
    named = {member.network for member in family.members if member.network} or {family.base}
    for name, published in published_families().items():
        if named <= {member.network for member in published.members}:
            return name
    return None


def _schedule(text: str, home: str | None, released: bool, epochs: int | None) -> Schedule:
    published = released and text == home
    try:
        law = load_law(text)
    except NasError:
        if not published:
            raise
        # Too few members for a law: what is published of them is known all the same.
        return Schedule(text, None, epochs, published)
    if home is not None and law.family in published_families() and law.family != home:
        raise NasError(
            f"the law {text} is of the networks of {law.family}, these are of {home}: another family has another law"
        )
    if epochs is not None and law.epochs not in (None, epochs):
        raise NasError(
            f"the law {text} holds for {law.epochs} epochs, not for {epochs}: what those leave of the accuracy is not "
            "known; leave --epochs out, or give a law of networks that were trained so"
        )
    return Schedule(text, law, law.epochs or epochs, published)


def find_clock(device: str, images_per_second: float | None, of: str | None) -> Clock:
    """Return what predicts time: measured on a device, or scaled from what the user measured of one network.

    Raises:
        NasError: only one of throughput and network is given, or one of them or the device is not known.
    """
    if (images_per_second is None) != (of is None):
        raise NasError("--images-per-second and --of go together: the throughput, and the network it was measured of")
    if images_per_second is None or of is None:
        return device_clock(device)
    return measured_clock(images_per_second, resolve(of).spec, device)
