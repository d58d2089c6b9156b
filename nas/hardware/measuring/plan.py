"""What a measuring session measures, and where it is kept so that the same command continues it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field

from nas.errors import NasError
from nas.hardware.measuring.backends import Workload
from nas.hardware.predictor_file import write_whole
from nas.hardware.predictors.lookup import kernels
from nas.plain_yaml import read_record
from nas.space import BlockTable, Codes, SearchSpace

Count = Annotated[int, Field(ge=1)]


class Plan(BaseModel):
    """Everything that decides what is measured and how.

    Args:
        space: name or file of the space, as the user gives it.
        what: whole networks, or every block of the space once.
        number: of networks; blocks are all measured.
        rounds: visits to each, spread over the session; the median of them counts.
        host: user@machine of another machine, None for this one.
        python: interpreter on that machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: str
    backend: str
    what: Literal["networks", "blocks"] = "networks"
    number: Count = 80
    rounds: Count = 3
    threads: Count = 1
    seed: Annotated[int, Field(ge=0)] = 0
    host: str | None = None
    python: str = "python3"


class Begun(BaseModel):
    """A session that was begun: its plan, and what the worker said of the machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Plan
    machine: dict[str, Any]
    started: str


def keep(begun: Begun, path: Path) -> Begun:
    """Write the session down, or where it is, check that it is the same; returns what is written.

    Raises:
        NasError: another session was begun here, or the machine or runtime is not the one it was begun on.
    """
    if not path.exists():
        text = yaml.safe_dump(begun.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_whole(path, text.encode())
        return begun
    known = read_begun(path)
    before, now = known.plan.model_dump(), begun.plan.model_dump()
    before |= {f"its {key}": known.machine.get(key) for key in ("processor", "version")}
    now |= {f"its {key}": begun.machine.get(key) for key in ("processor", "version")}
    for key, value in now.items():
        if value != before[key]:
            raise NasError(
                f"{path.parent} was begun with {key} {before[key]!r}, now {key} is {value!r}; "
                f"continue it with the same options, or give --out another folder"
            )
    return known


def read_begun(path: Path) -> Begun:
    """Read what `keep` wrote.

    Raises:
        NasError: it cannot be read or is malformed.
    """
    return read_record(Begun, path)


def planned(plan: Plan, space: SearchSpace) -> list[Workload]:
    """Return what a plan measures, the network that is measured again and again first.

    Networks are drawn uniformly, without repetition; the ones of fewest and most multiply-adds are added.
    """
    rng = np.random.default_rng(plan.seed)
    if plan.what == "blocks":
        blocks = {kernels(block): block for block in space.vocabulary.blocks}
        codes = space.sample(1, rng)
        items = [Workload("block", name, block) for name, block in blocks.items() if name]
    else:
        codes = _distinct(space, plan.number, rng)
        ends = np.concatenate([codes, extreme(space, codes, -1), extreme(space, codes, 1)])
        items = network_workloads(space, np.unique(ends, axis=0))
    (calibration,) = network_workloads(space, codes[:1])
    return [Workload("calibration", calibration.item, calibration.subject), *items]


def fresh_networks(space: SearchSpace, number: int, seed: int, measured: Sequence[str]) -> list[Workload]:
    """Return networks that were not measured before, drawn uniformly.

    Raises:
        NasError: the space has not so many left.
    """
    known = set(measured)
    drawn = network_workloads(space, _distinct(space, number + len(known), np.random.default_rng([seed, 1])))
    fresh = [workload for workload in drawn if workload.item not in known][:number]
    if len(fresh) < number:
        raise NasError(f"{space.name} has {len(fresh)} networks that were not measured, not {number}")
    return fresh


def network_workloads(space: SearchSpace, codes: Codes) -> list[Workload]:
    """Return the networks of these codes."""
    names = space.format(codes)
    return [Workload("network", name, space.spec(code)) for name, code in zip(names, codes, strict=True)]


def extreme(space: SearchSpace, codes: Codes, sign: int) -> Codes:
    """Return int8[1, D], a network of the fewest (`sign` -1) or most (1) multiply-adds, climbing from some networks."""
    table = BlockTable(
        space.vocabulary, np.array([[block.macs] for block in space.vocabulary.blocks], dtype=np.float64)
    )
    best, highest = codes[:1], -np.inf
    while len(codes):
        macs = sign * table.sum(codes)[:, 0]
        if macs.max() <= highest:
            break
        best, highest = codes[[macs.argmax()]], macs.max()
        codes = space.neighbours(best[0])
    return best


def _distinct(space: SearchSpace, number: int, rng: np.random.Generator) -> Codes:
    """int8[n, D], networks in the order in which they are first drawn; all of a space that has no more."""
    if space.size <= number:
        return space.all_codes()
    codes = space.sample(0, rng)
    while len(codes) < number:
        codes = np.concatenate([codes, space.sample(number, rng)])
        codes = codes[np.sort(np.unique(codes, axis=0, return_index=True)[1])]
    return codes[:number]
