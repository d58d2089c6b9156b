"""Expected predictions: the predictor itself at every code, the mean over all networks elsewhere."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cell_supernets import make
from torch import Tensor

import nas
from nas.errors import NasError
from nas.hardware import Fitted
from nas.hardware.calibration import Calibration
from nas.hardware.predictors.fused_kernels import CLASSES, SHAPE
from nas.hardware.predictors.roofline import TERMS, Correction, RooflinePredictor
from nas.space import Codes, SearchSpace, StagedSpace
from nas.supernet.expected_codes import EnumeratedMetric, SampledMetric
from nas.supernet.expected_metric import AdditiveMetric, ExpectedMetric, expected_metric, expected_sum
from nas.supernet.staged import ElasticSupernet
from nas.supernet.supernet import Site, Supernet
from search_spaces.mbconv_proxyless import SKELETON, STAGES

#: predictions are rounded to 1e-9, and so is what they are compared with
ROUNDING = 2e-9
COUNTS = (3, 2, 4)
SITES = tuple(Site(f"site{i}", tuple(map(str, range(n)))) for i, n in enumerate(COUNTS))


def fitted(target: str, space: SearchSpace, metric: str) -> Fitted:
    return nas.target(target).on(space)[metric]


def roofline(correction: float) -> RooflinePredictor:
    """A device whose dense convolutions take that share more than a roofline says; 0.3 ms to start."""
    count = len(CLASSES)
    weights = np.array([0.1] + [correction * (name == "dense") for name in CLASSES])
    return RooflinePredictor(
        0.3, np.full(count * TERMS, 1e-7), Correction(np.array([0]), np.full((1, len(SHAPE)), 4.0), np.eye(1), 8.0),
        weights, 0.01 * np.eye(1 + count), 0.1, 0.05, Calibration.normal(1.645),
    )  # fmt: skip


@pytest.fixture(scope="module")
def mbconv_supernet(mbconv: SearchSpace) -> ElasticSupernet:
    return ElasticSupernet(mbconv)


@pytest.fixture(scope="module")
def cells() -> Supernet:
    return make("nasbench201")


@pytest.fixture(scope="module")
def edgegpu(cells: Supernet) -> ExpectedMetric:
    return expected_metric(cells, fitted("edgegpu", cells.space, "latency_ms").predictor)


def check_codes(supernet: Supernet, expected: ExpectedMetric, truth: npt.NDArray[np.float64], codes: Codes) -> None:
    with torch.no_grad():
        found = [expected(supernet.weights_of(code)).item() for code in codes]
    np.testing.assert_allclose(found, truth, rtol=1e-12, atol=ROUNDING)


def some(space: SearchSpace) -> Codes:
    return space.sample(100, np.random.default_rng(0))


def test_a_published_look_up_table() -> None:
    stages = [stage.replace("c{24,32}", "c24") for stage in STAGES]
    # The table knows no difference between ReLU and ReLU6, MnasNet has the former.
    skeleton = replace(SKELETON, activation="relu", norm_eps=1e-5)
    supernet = ElasticSupernet(StagedSpace("measured", skeleton, stages, layerwise=True))
    predictor = nas.target("pixel1").fitted[0].predictor
    expected, codes = expected_metric(supernet, predictor), some(supernet.space)
    assert isinstance(expected, AdditiveMetric)
    check_codes(supernet, expected, predictor.predict(supernet.space, codes)[0], codes)
    # The rows of MnasNet-B1 in the table of ProxylessNAS (mobile_trim.yaml), added up.
    mnasnet = supernet.space.encode(nas.network("mnasnet_b1"))
    assert round(expected(supernet.weights_of(mnasnet)).item(), 2) == 88.06


@pytest.mark.parametrize("kind", ["linear-kernels", "roofline"])
def test_kernels_that_add_up(mbconv_supernet: ElasticSupernet, kind: str) -> None:
    space = mbconv_supernet.space
    predictor = roofline(0.2) if kind == "roofline" else fitted("pixel4", space, "latency_ms").predictor
    assert predictor.kind == kind
    expected, codes = expected_metric(mbconv_supernet, predictor), some(space)
    assert isinstance(expected, AdditiveMetric)
    check_codes(mbconv_supernet, expected, predictor.predict(space, codes)[0], codes)


def test_cells_whose_sites_are_no_decisions() -> None:
    supernet = make("darts")
    predictor, codes = fitted("pixel4", supernet.space, "latency_ms").predictor, some(supernet.space)
    check_codes(supernet, expected_metric(supernet, predictor), predictor.predict(supernet.space, codes)[0], codes)
    with pytest.raises(NasError, match=r"a roofline predictor judges whole networks of darts.*objectives top1,macs"):
        expected_metric(supernet, roofline(-3.0))


def test_a_table_of_a_small_space(cells: Supernet, edgegpu: ExpectedMetric) -> None:
    assert isinstance(edgegpu, EnumeratedMetric)
    codes = some(cells.space)
    mean, _ = fitted("edgegpu", cells.space, "latency_ms").predictor.predict(cells.space, codes)
    check_codes(cells, edgegpu, mean, codes)


def test_draws_from_a_large_space(mbconv_supernet: ElasticSupernet) -> None:
    space = mbconv_supernet.space
    predictor, codes = fitted("a100", space, "throughput_ips").predictor, some(space)
    expected = expected_metric(mbconv_supernet, predictor, rate=True)
    assert isinstance(expected, SampledMetric)
    check_codes(mbconv_supernet, expected, 1000 / predictor.predict(space, codes)[0], codes)


def test_a_roofline_that_does_not_add_up_is_drawn(mbconv_supernet: ElasticSupernet) -> None:
    """No network takes less than a tenth of its rooflines, whatever its blocks add up to."""
    space, predictor = mbconv_supernet.space, roofline(-3.0)
    expected, codes = expected_metric(mbconv_supernet, predictor), some(space)
    assert isinstance(expected, SampledMetric)
    check_codes(mbconv_supernet, expected, predictor.predict(space, codes)[0], codes)


def test_multiply_adds_are_those_of_the_network(cells: Supernet) -> None:
    code = some(cells.space)[0]
    found = expected_sum(cells, lambda block: block.macs)(cells.weights_of(code))
    assert found.item() == sum(block.macs for block in cells.space.spec(code).blocks)


# --- away from the codes ----------------------------------------------------------------------------------------------


def distribution(counts: tuple[int, ...], seed: int) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.dirichlet(np.ones(n))).requires_grad_() for n in counts]


def shares(codes: Codes, probabilities: list[Tensor]) -> npt.NDArray[np.float64]:
    """The probability of each code."""
    factors = [p.detach().numpy()[codes[:, d]] for d, p in enumerate(probabilities)]
    return np.asarray(np.prod(factors, axis=0))


def test_the_table_gives_the_mean_over_all_networks_and_its_slopes(cells: Supernet, edgegpu: ExpectedMetric) -> None:
    codes, probabilities = cells.space.all_codes(), distribution((5,) * 6, 1)
    latency, _ = fitted("edgegpu", cells.space, "latency_ms").predictor.predict(cells.space, codes)
    share = shares(codes, probabilities)
    found = edgegpu(probabilities)
    gradients = torch.autograd.grad(found, probabilities)
    assert found.item() == pytest.approx(share @ latency, rel=1e-12)
    for d, k in itertools.product(range(6), range(5)):
        chosen = codes[:, d] == k
        mean = share[chosen] @ latency[chosen] / share[chosen].sum()
        assert gradients[d][k].item() == pytest.approx(mean, rel=1e-12)


def jagged(codes: Codes) -> npt.NDArray[np.float64]:
    """A number for each of 24 codes that is no sum over decisions."""
    return np.random.default_rng(2).lognormal(size=COUNTS)[tuple(codes.T)]


def test_draws_are_unbiased() -> None:
    logits = [p.detach().log().requires_grad_() for p in distribution(COUNTS, 3)]
    probabilities = [site.softmax(0) for site in logits]
    exact = EnumeratedMetric(SITES, jagged)(probabilities)
    slopes = torch.cat(torch.autograd.grad(exact, logits, retain_graph=True))
    rows = []
    for seed in range(400):
        found = SampledMetric(SITES, jagged, draws=3, seed=seed)(probabilities)
        gradient = torch.cat(torch.autograd.grad(found, logits, retain_graph=True))
        rows.append(np.append(gradient.numpy(), found.item()))
    mean, error = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))
    truth = np.append(slopes.numpy(), exact.item())
    assert (error > 0).all()
    assert (np.abs(mean - truth) <= 3 * error).all()


def test_the_value_is_near_the_mean_of_many_networks(mbconv_supernet: ElasticSupernet) -> None:
    space, rng = mbconv_supernet.space, np.random.default_rng(4)
    predictor = fitted("a100", space, "throughput_ips").predictor
    expected = expected_metric(mbconv_supernet, predictor, rate=True)
    probabilities = distribution(tuple(len(site.operations) for site in mbconv_supernet.sites), 5)
    drawn = [rng.choice(len(p), size=4000, p=p.detach().numpy()) for p in probabilities]
    latency = 1000 / predictor.predict(space, space.canonical(np.stack(drawn, axis=1).astype(np.int8)))[0]
    with torch.no_grad():
        found = expected(probabilities).item()
    # As far as 16 independent draws would be; those of the estimate are stratified.
    assert abs(found - latency.mean()) < 3 * latency.std() * np.sqrt(1 / 16 + 1 / 4000)


def test_a_gradient_comes_back_through_the_paths_that_carry_one() -> None:
    """As of ProxylessNAS: at one-hot gates the difference between the two networks that the gate chooses from."""
    gates: list[Any] = [torch.eye(n)[1] for n in COUNTS]
    gate = torch.tensor([0.0, 1.0], requires_grad=True)
    gates[2] = [gate[0], gate[1], torch.zeros(()), torch.zeros(())]
    asked: list[int] = []

    def metric(codes: Codes) -> npt.NDArray[np.float64]:
        asked.append(len(np.unique(codes, axis=0)))
        return jagged(codes)

    found = SampledMetric(SITES, metric)(gates)
    found.backward()  # type: ignore[no-untyped-call]
    value, other = jagged(np.array([[1, 1, 1], [1, 1, 0]], dtype=np.int8))
    assert found.item() == pytest.approx(value, rel=1e-15)
    assert gate.grad is not None
    assert (gate.grad[0] - gate.grad[1]).item() == pytest.approx(other - value, rel=1e-6)
    assert asked == [2]


def test_equal_probabilities_are_estimated_equally() -> None:
    one, two = distribution(COUNTS, 6), distribution(COUNTS, 7)
    expected = SampledMetric(SITES, jagged, draws=4)
    first, other, again = (expected(given).item() for given in (one, two, one))
    assert first == again != other
    assert SampledMetric(SITES, jagged, draws=4)(one).item() == first
    assert SampledMetric(SITES, jagged, draws=4, seed=1)(one).item() != first


def test_what_has_no_probability_is_not_drawn() -> None:
    given = [torch.tensor(p) for p in ([0.3, 0.7, 0.0], [0.0, 1.0], [0.0, 0.1, 0.0, 0.9])]
    drawn: list[Codes] = []

    def metric(codes: Codes) -> npt.NDArray[np.float64]:
        drawn.append(codes)
        return jagged(codes)

    for seed in range(50):
        SampledMetric(SITES, metric, draws=10, seed=seed)(given)
    for d, site in enumerate(given):
        assert set(np.concatenate(drawn)[:, d]) == set(np.flatnonzero(site.numpy()))
        # Ten strata of equal probability: ten draws hold the shares exactly.
        counts = np.bincount(drawn[0][:, d], minlength=len(site))
        np.testing.assert_allclose(counts, 10 * site.numpy(), atol=1e-5)


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_block_that_was_not_measured_is_named() -> None:
    supernet = ElasticSupernet(nas.space("mbconv-proxyless"))
    with pytest.raises(NasError, match=r"mbconv-proxyless needs every block.*ir_k3_s2_e3_c32 on .* cost_weight=0"):
        expected_metric(supernet, nas.target("pixel1").fitted[0].predictor)


@pytest.mark.parametrize("wrong", [[float("nan"), 1.0], [-0.5, 1.5], [0.0, 0.0]])
def test_what_is_no_probability_is_refused(wrong: list[float]) -> None:
    given = [torch.ones(3) / 3, torch.tensor(wrong), torch.ones(4) / 4]
    with pytest.raises(NasError, match=r"site1: .* no probabilities"):
        SampledMetric(SITES, jagged)(given)
