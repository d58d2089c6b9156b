"""Expected latency, energy or another predicted quantity of a network whose decisions are uncertain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from nas.errors import NasError
from nas.hardware.predictor import AdditivePredictor, LatencyPredictor
from nas.space import Block, BlockTable, Codes, SearchSpace
from nas.supernet.expected_codes import EnumeratedMetric, Metric, SampledMetric, combinations
from nas.supernet.supernet import Supernet
from nas.supernet.weights import SiteWeights

Array = npt.NDArray[np.float64]

#: combinations of choices up to which a metric is tabulated; a second or two of predictions
MOST_COMBINATIONS = 50_000
#: networks on which a sum over blocks is compared with the predictor
_COMPARED = 2048
#: how far predictions, which are rounded to 1e-9, may be from the sum
_ROUNDING = 2e-9

#: weights of the sites -> the scalar expectation, float64, differentiable; what the predictor says at one-hot weights
ExpectedMetric = Callable[[Sequence[SiteWeights]], Tensor]


class AdditiveMetric:
    """The exact expectation of a sum over blocks, see `Supernet.expected`, plus a constant.

    Args:
        values: float[V], the share of each block of `supernet.vocabulary`.
    """

    def __init__(self, supernet: Supernet, values: Array, constant: float = 0.0):
        self.supernet, self.values, self.constant = supernet, values, constant

    def __call__(self, weights: Sequence[SiteWeights]) -> Tensor:
        """Return the scalar expectation, float64, differentiable."""
        return self.supernet.expected(self.values, weights) + self.constant


def expected_sum(supernet: Supernet, share: Callable[[Block], float]) -> AdditiveMetric:
    """Return the expectation of what adds up over blocks, such as multiply-adds."""
    return AdditiveMetric(supernet, np.array([share(block) for block in supernet.vocabulary.blocks], dtype=np.float64))


def expected_metric(supernet: Supernet, predictor: LatencyPredictor, rate: bool = False) -> ExpectedMetric:
    """Return the expectation of what a predictor says of the networks of a supernet.

    It is the predictor itself at one-hot weights. Of three kinds it is the first that can be: a sum over blocks, exact
    on all supernets; where sites are decisions, a table of all networks of a small space, exact too
    (`EnumeratedMetric`), or draws from a large one, unbiased (`SampledMetric`).

    Args:
        rate: it predicts units a second, which are not averaged but turned into milliseconds a unit: times add up.

    Raises:
        NasError: the predictor says nothing of the space or of a block of it, or does not add up over blocks where
            sites are no decisions.
    """
    space = supernet.space
    if isinstance(predictor, AdditivePredictor) and not rate:
        values = _shares(space, predictor)
        constant = _constant(space, predictor, values)
        if constant is not None:
            return AdditiveMetric(supernet, values, constant)
    if not _sites_are_decisions(supernet):
        raise NasError(
            f"a {predictor.kind} predictor judges whole networks of {space.name}, and its supernet mixes operations of "
            "which no network is made up; the cost there must add up over blocks: search with a target whose predictor "
            "does (kinds linear-kernels, roofline, lookup), with --objectives top1,macs, or with --set cost_weight=0"
        )
    metric = _metric(space, predictor, rate)
    if combinations(supernet.sites) <= MOST_COMBINATIONS:
        return EnumeratedMetric(supernet.sites, metric)
    return SampledMetric(supernet.sites, metric)


def _shares(space: SearchSpace, predictor: AdditivePredictor) -> Array:
    """Return float[V], what each block of a space takes.

    Raises:
        NasError: the predictor says nothing of one of them.
    """
    try:
        return np.array([predictor.block_ms(block) for block in space.vocabulary.blocks], dtype=np.float64)
    except NasError as error:
        raise NasError(
            f"the expectation over all networks of {space.name} needs every block that they can have: {error}; narrow "
            "the space to these, name another target, or search without the cost: --set cost_weight=0"
        ) from None


def _constant(space: SearchSpace, predictor: AdditivePredictor, values: Array) -> float | None:
    """Return what a network takes besides its blocks, None where that is not the same for all.

    A roofline has a floor for a network, and none of its blocks takes less than nothing; where that shows, its
    networks are no sums.
    """
    codes = space.sample(min(space.size, _COMPARED), np.random.default_rng(0))
    mean, _ = predictor.predict(space, codes)
    rest = mean - BlockTable(space.vocabulary, values[:, None]).sum(codes)[:, 0]
    constant = float(np.median(rest))
    tolerance = _ROUNDING + 1e-12 * float(np.abs(mean).max())
    return constant if np.abs(rest - constant).max() <= tolerance else None


def _metric(space: SearchSpace, predictor: LatencyPredictor, rate: bool) -> Metric:
    def metric(codes: Codes) -> Array:
        mean, _ = predictor.predict(space, codes)
        return 1000.0 / mean if rate else mean

    def of_any(codes: Codes) -> Array:
        # A decision that does not matter changes nothing, so many codes are one network.
        distinct, index = np.unique(space.canonical(codes), axis=0, return_inverse=True)
        found: Array = metric(distinct)[index.reshape(-1)]
        return found

    return of_any


def _sites_are_decisions(supernet: Supernet) -> bool:
    sites = [(site.name, len(site.operations)) for site in supernet.sites]
    return sites == [(decision.name, len(decision.choices)) for decision in supernet.space.decisions]
