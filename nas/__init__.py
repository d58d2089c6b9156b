"""Neural architecture search and scaling for the hardware you have.

    import nas
    run = nas.search(space="mbconv", target="pixel4", max_latency_ms=20)
    run.front

The functions below are the public face of the package. Heavy libraries are imported when one first needs them.
"""

from __future__ import annotations

import sys
from types import ModuleType

from nas.api import compare, estimator, evaluate, family, load_run, network, search, space, target
from nas.errors import NasError

__version__ = "0.1.0"

__all__ = [
    "NasError",
    "__version__",
    "compare",
    "estimator",
    "evaluate",
    "family",
    "load_run",
    "network",
    "search",
    "space",
    "target",
]


class _Face(ModuleType):
    """Keeps `nas.search` and `nas.space` functions, though rooms of the package have the same names.

    Importing a room sets it as an attribute of its parent. `from nas.search.run import Run` finds it all the same.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and callable(self.__dict__.get(name))):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
