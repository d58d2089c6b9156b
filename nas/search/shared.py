"""Networks of one-shot runs with the weights that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.search.resolve import Resolved
from nas.space import NetworkSpec

if TYPE_CHECKING:
    from torch import Tensor


def shared_network(found: Resolved) -> tuple[NetworkSpec, dict[str, Tensor]]:
    """Return the network of a point RUN#3 as wide as its supernet has it, and its state with the shared weights.

    Raises:
        NasError: it is no point of a run that has a supernet, or its networks cannot have the weights of that.
    """
    from nas.estimators.supernet import SupernetEstimator

    estimator = found.run.problem.estimator if found.run else None
    if found.run is None or not isinstance(estimator, SupernetEstimator):
        raise NasError(f"{found.label} has no shared weights: only points RUN#3 of runs with a supernet have")
    assert found.code is not None
    spec, module = estimator.network(found.run.problem.space.encode(found.code))
    return spec, module.state_dict()
