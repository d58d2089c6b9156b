"""Which cost a one-shot search weighs against the loss, and what it is taken relative to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cell_supernets import make

import nas
from nas.cost import Constraint, Objective, cost_model
from nas.errors import NasError
from nas.search.expected_cost import cost_term
from nas.search.problem import Problem
from nas.space import SearchSpace, StagedSpace
from nas.supernet.staged import ElasticSupernet
from nas.supernet.supernet import Supernet


@pytest.fixture(scope="module")
def cells() -> Supernet:
    return make("nasbench201")


def problem(space: SearchSpace, *metrics: str, targets: tuple[str, ...] = (), **bounds: float) -> Problem:
    constraints = tuple(Constraint(metric, upper=bound) for metric, bound in bounds.items())
    objectives = tuple(Objective(metric) for metric in metrics)
    return Problem(space, objectives, constraints, None, tuple(map(nas.target, targets)))


@pytest.mark.parametrize(
    ("metrics", "targets", "chosen"),
    [
        (("latency_ms",), ("edgegpu",), "latency_ms"),
        (("energy_mj",), ("edgegpu",), "energy_mj"),
        (("energy_mj", "latency_ms"), ("edgegpu",), "latency_ms"),
        (("latency_raspi4_ms", "latency_edgegpu_ms"), ("edgegpu", "raspi4"), "latency_edgegpu_ms"),
    ],
)
def test_the_first_objective_on_a_target(
    cells: Supernet, metrics: tuple[str, ...], targets: tuple[str, ...], chosen: str
) -> None:
    found = cost_term(problem(cells.space, *metrics, targets=targets), cells, None, 0.2)
    assert found is not None
    assert (found.metric, found.weight) == (chosen, 0.2)
    # With all operations as likely all networks are: the mean over the space.
    quantity = "energy_mj" if chosen == "energy_mj" else "latency_ms"
    predictor = nas.target(targets[0]).on(cells.space)[quantity].predictor
    mean, _ = predictor.predict(cells.space, cells.space.all_codes())
    assert found.reference == pytest.approx(mean.mean(), rel=1e-6)


def test_multiply_adds_where_there_is_no_target(cells: Supernet) -> None:
    without = problem(cells.space, "macs")
    found = cost_term(without, cells, 0.5, 0.2)
    assert found is not None
    assert (found.metric, found.weight) == ("macs", 0.5)
    macs = cost_model(cells.space).params_and_macs(cells.space.all_codes())[:, 1]
    assert found.reference == pytest.approx(macs.mean(), rel=1e-6)
    assert cost_term(without, cells, None, 0.2) is None
    assert cost_term(problem(cells.space), cells, 0.5, 0.2).metric == "macs"  # type: ignore[union-attr]


def test_a_target_that_only_bounds(cells: Supernet) -> None:
    bounded: Any = {"targets": ("edgegpu",), "latency_ms": 5.0}
    assert cost_term(problem(cells.space, **bounded), cells, 1.0, 0.2).metric == "latency_ms"  # type: ignore[union-attr]
    assert cost_term(problem(cells.space, "macs", **bounded), cells, 1.0, 0.2).metric == "macs"  # type: ignore[union-attr]


def test_no_weight_is_no_cost(cells: Supernet) -> None:
    assert cost_term(problem(cells.space, "latency_ms", targets=("edgegpu",)), cells, 0.0, 0.2) is None


def test_of_a_rate_the_time_of_an_image_is_kept_low(mbconv: SearchSpace) -> None:
    supernet = ElasticSupernet(mbconv)
    found = cost_term(problem(mbconv, "throughput_ips", targets=("a100",)), supernet, None, 0.2)
    assert found is not None
    assert found.metric == "time_per_image_ms"
    code = mbconv.sample(1, np.random.default_rng(0))
    images_a_second, _ = nas.target("a100").on(mbconv)["throughput_ips"].predictor.predict(mbconv, code)
    assert found.expected(supernet.weights_of(code[0])).item() == pytest.approx(1000 / images_a_second[0], rel=1e-12)


def test_the_gradient_is_that_of_the_cost(tiny_space: StagedSpace) -> None:
    supernet = ElasticSupernet(tiny_space)
    found = cost_term(problem(tiny_space, "latency_ms", targets=("pixel4",)), supernet, None, 0.2)
    assert found is not None
    rng = np.random.default_rng(1)
    logits = [
        torch.tensor(rng.normal(size=len(site.operations)), dtype=torch.float64, requires_grad=True)
        for site in supernet.sites
    ]
    assert torch.autograd.gradcheck(lambda *given: found.expected([site.softmax(0) for site in given]), logits)


def test_a_cost_that_no_network_has_is_refused() -> None:
    cells = make("darts")
    with pytest.raises(NasError, match="it predicts"):
        cost_term(problem(cells.space, "latency_ms", targets=("a100",)), cells, None, 0.2)
