"""What a search on a table depends on besides its seed: settings, tables, code and the versions of libraries."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import nas
from nas import registry
from nas.cost import COST_METRICS

if TYPE_CHECKING:
    from nas.search.bench import BenchPlan

#: rooms of `nas` whose code can change what a strategy proposes or is told
ROOMS = ("strategies", "space", "cost", "estimators")
LIBRARIES = ("numpy", "scipy", "torch", "optuna")


def made_with(plan: BenchPlan, tables: Mapping[str, str]) -> dict[str, str]:
    """Return what must be equal for two searches of the same benchmark, strategy and seed to be the same one.

    Args:
        tables: benchmark -> SHA-256 of its files.
    """
    settings = {
        "objectives": ",".join(plan.objectives),
        "metrics known beforehand": ",".join((*COST_METRICS, *plan.free)),
        "epochs of training": str(plan.epochs or "as each table names them"),
        "evaluations": str(max(plan.evaluations)),
        "code of nas": _code_digest(),
    }
    files = {f"files of {name}": digest[:16] for name, digest in tables.items()}
    strategies = {name: _source_of(name) for name in plan.all_strategies}
    plugins = {f"code of {name}": digest for name, digest in strategies.items() if digest}
    return settings | files | plugins | {name: _version(name) for name in LIBRARIES}


@cache
def _code_digest() -> str:
    root = Path(nas.__file__).parent
    found = hashlib.sha256()
    for file in sorted(file for room in ROOMS for file in (root / room).rglob("*.py")):
        found.update(file.relative_to(root).as_posix().encode())
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def _source_of(strategy: str) -> str:
    """The digest of the file that a strategy from outside `nas` is written in; empty for those of `nas`."""
    made = registry.load("strategies", strategy)
    plain = getattr(made, "func", made)
    if plain.__module__.split(".")[0] == nas.__name__:
        return ""
    file = inspect.getsourcefile(plain)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else "unknown"


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
