"""Progressive shrinking: what is admitted when, who teaches, and what the loss is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nas
from nas.space import Codes, StagedNetwork, StagedSpace
from nas.strategies.oneshot.base import Batch, Moment
from nas.strategies.oneshot.shrinking import OFA, Admission, ranked_choices
from nas.supernet.extremes import largest_code
from nas.supernet.factory import make_supernet

#: two layers of their own kernel, expansion and squeeze-and-excite, and how many there are
SPACE = StagedSpace(
    "layerwise",
    StagedNetwork.from_strings("cn_k3_s2_c8", (), ("pool", "fc"), activation="relu", resolution=8, num_classes=10),
    ("ir_r{1-2}_k{3,5,7}_s2_e{1,2}_c8_se{0,1}",), layerwise=True,
)  # fmt: skip
LARGEST = {
    "stage1.depth": 2, "stage1.layer1.kernel": 7, "stage1.layer1.expand": 2, "stage1.layer1.se": 1,
    "stage1.layer2.kernel": 7, "stage1.layer2.expand": 2, "stage1.layer2.se": 1,
}  # fmt: skip


def batch() -> Batch:
    rng = torch.Generator().manual_seed(1)
    return Batch(torch.randn(6, 1, 8, 8, generator=rng), torch.randint(10, (6,), generator=rng))


def strategy(space: StagedSpace = SPACE, **settings: float) -> OFA:
    torch.manual_seed(0)
    supernet = make_supernet(space, num_classes=10, in_channels=1, resolution=8, dropout=0.0)
    return OFA(supernet, OFA.Settings(**settings))


def admitted(over: float) -> dict[str, list[object]]:
    choices = Admission(SPACE, largest_code(SPACE)).choices(over)
    return {d.name: [d.choices[i] for i in found] for d, found in zip(SPACE.decisions, choices, strict=True)}


def test_the_largest_network_is_alone_at_first() -> None:
    assert {name: [value] for name, value in LARGEST.items()} == admitted(-0.1)


@pytest.mark.parametrize(
    ("over", "kernel", "depth", "expand", "se"),
    [
        (0.00, [7, 5], [2], [2], [1]),
        (0.12, [7, 5], [2], [2], [1]),
        (0.13, [7, 5, 3], [2], [2], [1]),
        (0.24, [7, 5, 3], [2], [2], [1]),
        (0.25, [7, 5, 3], [2, 1], [2], [1]),
        (0.50, [7, 5, 3], [2, 1], [2, 1], [1]),
        (0.75, [7, 5, 3], [2, 1], [2, 1], [1, 0]),
        (0.99, [7, 5, 3], [2, 1], [2, 1], [1, 0]),
    ],
)
def test_kernels_then_depths_then_widths_then_the_rest(
    over: float, kernel: list[int], depth: list[int], expand: list[int], se: list[int]
) -> None:
    assert admitted(over) == {
        "stage1.depth": depth, "stage1.layer1.kernel": kernel, "stage1.layer1.expand": expand, "stage1.layer1.se": se,
        "stage1.layer2.kernel": kernel, "stage1.layer2.expand": expand, "stage1.layer2.se": se,
    }  # fmt: skip


def test_training_draws_what_is_admitted_and_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ofa = strategy(largest_share=0.2)
    drawn: set[tuple[int, ...]] = set()
    weights_of = ofa.supernet.weights_of

    def spy(code: Codes) -> list[Tensor]:
        drawn.add(tuple(map(int, code)))
        return weights_of(code)

    monkeypatch.setattr(ofa.supernet, "weights_of", spy)
    # Progress 0.1 comes before the shrinking; 0.25 is 1/16 of it, where only kernels 5 and 7 are admitted.
    for at, expected in ((Moment(1, 0, 10, 4), 1), (Moment(2, 2, 10, 4), 4)):
        drawn.clear()
        for seed in range(30):
            ofa.step(batch(), None, at, torch.Generator().manual_seed(seed))
        assert len(drawn) == expected
        networks = [SPACE.decode(np.array(code)).decisions for code in drawn]
        assert all(network["stage1.depth"] == 2 and network["stage1.layer1.expand"] == 2 for network in networks)
    assert {network["stage1.layer2.kernel"] for network in networks} == {5, 7}
    # In the end all networks of the space are drawn, and shares say so.
    ofa.progress = 0.99
    codes = ofa.draw(5000, torch.Generator().manual_seed(0))
    assert len(np.unique(codes, axis=0)) == SPACE.size
    assert [round(float(p), 1) for p in ofa.probabilities()[0]] == [0.5, 0.5]


def test_choices_are_ranked_by_the_multiply_adds_of_built_networks() -> None:
    space = nas.space("nasbench201")
    ranked = ranked_choices(space, largest_code(space))
    # On one edge of a cell 3×3 costs 9 times 1×1; the others cost none, and nothing at all comes last.
    words = [[space.decisions[d].choices[i] for i in found] for d, found in enumerate(ranked)]
    assert words == [["nor_conv_3x3", "nor_conv_1x1", "skip_connect", "avg_pool_3x3", "none"]] * 6
    mbconv = nas.space("mbconv-fbnet")
    largest = largest_code(mbconv)
    for decision, found in zip(mbconv.decisions, ranked_choices(mbconv, largest), strict=True):
        if "groups" not in decision.name and "block" not in decision.name:
            values = [decision.choices[i] for i in found]
            assert values == sorted(decision.choices, reverse=True), decision.name


def test_groups_matter_only_without_expansion_and_are_ranked_there() -> None:
    space = nas.space("mbconv-fbnet")
    for decision, found in zip(space.decisions, ranked_choices(space, largest_code(space)), strict=True):
        if decision.name.endswith("groups"):
            # Two groups halve the multiply-adds of 1×1 convolutions.
            assert [decision.choices[i] for i in found] == [1, 2]


def test_the_loss_is_that_of_labels_and_of_the_answers_of_a_frozen_copy() -> None:
    plain_sgd = {
        "learning_rate": 1.0, "learning_rate_end": 1.0, "momentum": 0.0, "weight_decay": 0.0, "gradient_clip": 1e9,
    }  # fmt: skip
    ofa = strategy(largest_share=0.5, distillation=0.7, paths=2, **plain_sgd)
    supernet, given, rng = ofa.supernet, batch(), torch.Generator()
    ofa.step(given, None, Moment(0, 0, 1, 2), rng)
    with torch.no_grad():
        p = supernet.forward_code(given.images, ofa.largest).softmax(1)
    for seed in (1, 2):
        ofa.progress = 0.5
        codes = ofa.draw(2, rng.manual_seed(seed))
        parameters = list(supernet.parameters())
        total = torch.zeros(())
        for code in codes:
            log_q = supernet.forward_code(given.images, code).log_softmax(1)
            total = total - log_q[torch.arange(6), given.labels].mean() - 0.7 * (p * log_q).sum(1).mean()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        before = [parameter.detach().clone() for parameter in parameters]
        ofa.step(given, None, Moment(0, 1, 1, 2), rng.manual_seed(seed))
        for old, new, gradient in zip(before, parameters, gradients, strict=True):
            expected = torch.zeros_like(old) if gradient is None else gradient
            torch.testing.assert_close(old - new.detach(), expected, rtol=1e-4, atol=1e-5)
        # The weights have moved on; the answers have not: they are still those of the end of the first phase.
        assert not torch.allclose(supernet.forward_code(given.images, ofa.largest).softmax(1), p, atol=1e-3)
        assert ofa.teacher is not None
        torch.testing.assert_close(ofa.teacher(given.images).softmax(1), p, rtol=1e-4, atol=1e-6)


def test_the_teacher_survives_a_checkpoint() -> None:
    ofa = strategy(largest_share=0.5)
    for step in range(3):
        ofa.step(batch(), None, Moment(0, step, 1, 3), torch.Generator().manual_seed(step))
    fresh = strategy(largest_share=0.5)
    fresh.load_state_dict(ofa.state_dict())
    assert ofa.teacher is not None
    assert fresh.teacher is not None

    def answers(teacher: nn.Module) -> Tensor:
        found: Tensor = teacher(batch().images)
        return found

    torch.testing.assert_close(answers(fresh.teacher), answers(ofa.teacher), rtol=0, atol=0)
    # It is not the largest network as that is now.
    now = ofa.supernet.forward_code(batch().images, ofa.largest)
    assert not torch.allclose(answers(fresh.teacher), now, atol=1e-4)
