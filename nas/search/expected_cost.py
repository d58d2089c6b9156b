"""What a one-shot search weighs against the loss: the expected cost on its target, or the expected multiply-adds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.search.metrics import METRICS

if TYPE_CHECKING:
    from nas.search.device import DeviceMetric
    from nas.search.problem import Problem
    from nas.strategies.oneshot.base import CostTerm
    from nas.supernet.expected_metric import ExpectedMetric
    from nas.supernet.supernet import Supernet


def cost_term(
    problem: Problem, supernet: Supernet, weight: float | None, default_weight: float
) -> CostTerm | None:  # fmt: skip
    """Return the cost of the architectures of a supernet, None where it is given no weight.

    It is the first objective that is predicted on a target; where there is none, multiply-adds if they are an
    objective, else the main quantity of the first target, which then is a bound only; without target multiply-adds. Of
    a rate, such as images a second, it is the time of one image in ms, "time_per_image_ms": times add up, and less is
    better. Its reference is the expectation where all operations of every site are as likely.

    Args:
        weight: of the cost; None for `default_weight` where there is a target, and 0 where there is none.

    Raises:
        NasError: the expectation of this cost is not known on these networks, see `expected_metric`.
    """
    import torch

    from nas.strategies.oneshot.base import CostTerm
    from nas.supernet.expected_metric import expected_sum

    if weight is None:
        weight = default_weight if problem.targets else 0.0
    if weight == 0:
        return None
    device = _device(problem)
    metric, expected = (
        ("macs", expected_sum(supernet, lambda block: block.macs)) if device is None else _on_target(device, supernet)
    )
    place = next(supernet.parameters()).device
    uniform = [torch.full((n,), 1 / n, device=place) for n in (len(site.operations) for site in supernet.sites)]
    with torch.no_grad():
        reference = float(expected(uniform))
    if not (math.isfinite(reference) and reference > 0):
        raise NasError(f"the expected {metric} of a network of {supernet.space.name} is {reference:g}, must be above 0")
    return CostTerm(metric, expected, reference, weight)


def _device(problem: Problem) -> DeviceMetric | None:
    """Return what is predicted on a target and to be kept low, None for multiply-adds."""
    objectives = {objective.metric for objective in problem.objectives}
    asked = [device for device in problem.devices if device.name in objectives]
    if asked:
        return asked[0]
    return None if "macs" in objectives else problem.main_device


def _on_target(device: DeviceMetric, supernet: Supernet) -> tuple[str, ExpectedMetric]:
    from nas.supernet.expected_metric import expected_metric

    predictor = device.fitted.predictor
    if not METRICS[device.name].larger_is_better:
        return device.name, expected_metric(supernet, predictor)
    if not device.name.endswith("_ips"):
        raise NasError(
            f"more of {device.name} is better, so it is no cost to add to a loss; search with another objective of "
            f"{device.target}, with --objectives top1,macs, or with --set cost_weight=0"
        )
    return "time_per_image_ms", expected_metric(supernet, predictor, rate=True)
