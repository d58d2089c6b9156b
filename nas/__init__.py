"""Neural architecture search and scaling for the hardware you have.

    import nas
    run = nas.search(space="mbconv", target="pixel4", max_latency_ms=20)
    run.front

The functions below are the public face of the package. Heavy libraries are imported when one first needs them.
"""

from __future__ import annotations

# Two functions share their name with a room of the package. Importing the rooms first leaves the names to the
# functions; `from nas.search.run import Run` finds the room all the same.
import nas.search
import nas.space  # noqa: F401
from nas.api import estimator, evaluate, load_run, network, search, space, target
from nas.errors import NasError

__version__ = "0.1.0"

__all__ = [
    "NasError",
    "__version__",
    "estimator",
    "evaluate",
    "load_run",
    "network",
    "search",
    "space",
    "target",
]
