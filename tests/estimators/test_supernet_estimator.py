"""Accuracy with shared weights: that of the extracted network, recalibrated; nothing else changes it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from digit_supernets import SMALL, load, record_of
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

import nas
from nas.cost import Box, Objective
from nas.data.dataset import Dataset
from nas.errors import NasError
from nas.estimators.base import About, Estimator, HasSpace
from nas.estimators.shared_weights import SharedWeights
from nas.estimators.supernet import SupernetEstimator, wilson
from nas.search.config import SearchConfig
from nas.search.problem import Problem
from nas.space import Codes, SearchSpace
from nas.space.space_file import space_from
from nas.supernet.cell_edge import PLAIN, CandidateOptions
from nas.supernet.checkpoint import CHECKPOINT, read_checkpoint, write_checkpoint
from nas.supernet.factory import make_supernet
from nas.supernet.record import read_supernet_record, write_supernet_record
from nas.supernet.supernet import Supernet

CHAINS = {
    "name": "chains", "resolution": 16, "num_classes": 10, "in_channels": 1, "stem": "cn_k3_s2_c8", "dropout": 0.5,
    "stages": ["ir_r{1-2}_k{3,5}_e{1,3}_c8_se{0,1}", "ir_r{1-2}_k3_s2_e3_c16"], "head": ["cn_c32", "pool", "fc"],
}  # fmt: skip


def untrained(
    folder: Path, space: SearchSpace, options: CandidateOptions, size: int, network: dict[str, Any], **fields: Any
) -> Supernet:
    """Write a supernet whose weights are random, and statistics of nothing that was ever seen; return it."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        supernet = make_supernet(space, options, **network)
        for module in supernet.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()  # type: ignore[union-attr]
    write_supernet_record(folder, record_of(space, size, network, **fields))
    state = {"strategy": {"supernet": supernet.state_dict()}, "ended": "all epochs are over", "epoch": 1}
    write_checkpoint(folder / CHECKPOINT, state)
    return supernet


def pixels(data: Dataset, part: str) -> tuple[Tensor, Tensor]:
    """Normalised images and labels of a part, by hand."""
    rows = getattr(data.splits, part)
    x = torch.from_numpy(data.data.images[rows].astype(np.float64) / 255).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.normalisation.mean, data.normalisation.std))
    return ((x - mean) / std).float(), torch.from_numpy(data.data.labels[rows])


def by_hand(network: nn.Module, data: Dataset, part: str) -> float:
    """Percent right, with the statistics that PyTorch's own `update_bn` takes."""
    update_bn([pixels(data, "train")[0]], network)
    images, labels = pixels(data, part)
    with torch.no_grad():
        return 100 * float((network.eval()(images).argmax(1) == labels).double().mean())


class OneOf(nn.Module):
    """One network inside a supernet."""

    def __init__(self, supernet: Supernet, code: Codes):
        super().__init__()
        self.supernet, self.code = supernet, code

    def forward(self, images: Tensor) -> Tensor:
        return self.supernet.forward_code(images, self.code)


def problem(estimator: Estimator, space: SearchSpace) -> Problem:
    return Problem(space, (Objective("oneshot_top1", True), Objective("macs", False)), (), estimator)


def codes_of(space: SearchSpace, n: int) -> Codes:
    return space.sample(n, np.random.default_rng(5))


# --- the value --------------------------------------------------------------------------------------------------------


def test_accuracy_is_that_of_the_extracted_network_recalibrated(trained: Path) -> None:
    space, data = nas.space("nasbench201"), load(8)
    estimator, codes = SupernetEstimator(trained), codes_of(space, 8)
    state = read_checkpoint(trained / CHECKPOINT)
    assert state is not None
    supernet = make_supernet(space, PLAIN, **SMALL)
    supernet.load_state_dict(state["strategy"]["supernet"])
    found = estimator.evaluate(problem(estimator, space), codes)["oneshot_top1"]
    expected = [by_hand(supernet.extract(code), data, "validation") for code in codes]
    assert found.to_numpy() == pytest.approx(expected, abs=1e-9)
    # The networks differ, and some learnt more than to guess one of ten digits.
    assert found.nunique() > 3
    assert found.max() > 20
    tested = estimator.report(codes)["oneshot_test_top1"]
    assert tested.to_numpy() == pytest.approx([by_hand(supernet.extract(c), data, "test") for c in codes], abs=1e-9)


def test_accuracy_of_chains_of_blocks(tmp_path: Path) -> None:
    space, data = space_from(CHAINS, "test"), load(16)
    supernet = untrained(tmp_path, space, PLAIN, 16, network={}, space_declaration=CHAINS)
    estimator, codes = SupernetEstimator(tmp_path), codes_of(space, 5)
    found = estimator.evaluate(problem(estimator, space), codes)["oneshot_top1"]
    assert found.to_numpy() == pytest.approx(
        [by_hand(supernet.extract(code), data, "validation") for code in codes], abs=1e-9
    )


def test_accuracy_where_no_network_can_be_extracted(tmp_path: Path) -> None:
    space, data = nas.space("nasbench201"), load(8)
    options = CandidateOptions(affine=False, partial=2, pool_norm=True)
    supernet = untrained(
        tmp_path, space, options, 8, network=SMALL, affine=False, partial=2, pool_norm=True
    )  # fmt: skip
    estimator, codes = SupernetEstimator(tmp_path), codes_of(space, 5)
    found = estimator.evaluate(problem(estimator, space), codes)["oneshot_top1"]
    expected = [by_hand(OneOf(copy.deepcopy(supernet), code), data, "validation") for code in codes]
    assert found.to_numpy() == pytest.approx(expected, abs=1e-9)


def test_it_depends_on_nothing_but_the_network(trained: Path) -> None:
    space = nas.space("nasbench201")
    codes, before = codes_of(space, 6), (trained / CHECKPOINT).read_bytes()
    one = SupernetEstimator(trained)
    together = one.evaluate(problem(one, space), codes)
    another = SupernetEstimator(trained)
    of_another = problem(another, space)
    torch.rand(3)  # another random state
    for code, (_, row) in zip(codes[::-1], together[::-1].iterrows(), strict=True):
        pd.testing.assert_series_equal(another.evaluate(of_another, code[None]).iloc[0], row, check_names=False)
    assert (trained / CHECKPOINT).read_bytes() == before
    assert one.about(of_another).digest == another.about(of_another).digest


def test_fewer_images_are_drawn_with_the_classes_in_proportion(trained: Path) -> None:
    data = load(8)
    record = read_supernet_record(trained).model_copy(update={"validation_images": 40, "recalibration_images": 20})
    supernet = make_supernet(nas.space("nasbench201"), PLAIN, **SMALL)
    judge = SharedWeights(supernet, data, record)
    labels = torch.cat([labels for _, labels in judge._judging["validation"]])
    assert judge.sizes == {"validation": 40, "test": len(data.splits.test)}
    # 10 digits about as frequent as one another
    assert torch.bincount(labels, minlength=10).tolist() == pytest.approx([4] * 10, abs=1)
    drawn = judge._drawn(data.splits.validation, 40, 0)
    assert set(drawn) <= set(data.splits.validation)
    assert len(set(drawn)) == 40


def test_a_network_with_infinite_outputs_has_no_accuracy(tmp_path: Path) -> None:
    space = nas.space("nasbench201")
    supernet = untrained(tmp_path, space, PLAIN, 8, network=SMALL)
    with torch.no_grad():
        list(supernet.parameters())[-1].fill_(math.inf)
    state = {"strategy": {"supernet": supernet.state_dict()}, "ended": "", "epoch": 1}
    write_checkpoint(tmp_path / CHECKPOINT, state)
    estimator = SupernetEstimator(tmp_path)
    assert estimator.evaluate(problem(estimator, space), codes_of(space, 1)).isna().to_numpy().all()


def test_the_interval_covers_nine_in_ten_draws() -> None:
    n = 144
    share = np.arange(n + 1) / n
    low, high = wilson(share, n)
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert ((low <= share) & (share <= high)).all()
    coverage = [
        sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if low[k] <= p <= high[k])
        for p in np.linspace(0.05, 0.95, 37)
    ]
    assert np.mean(coverage) == pytest.approx(0.9, abs=0.01)
    assert min(coverage) > 0.85


# --- before a search --------------------------------------------------------------------------------------------------


class Slow(Estimator):
    """An accuracy that nobody can wait for."""

    metrics = ("oneshot_top1",)
    origin = "measured"
    cost_hint = "h"

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        raise AssertionError("evaluated before the search")

    def about(self, problem: HasSpace) -> About:
        return About("slow", "nowhere", "")


class Limited(Slow):
    def limits(self, metric: str) -> tuple[float, float] | None:
        return 0.0, 100.0


def test_nothing_slow_is_evaluated_before_a_search(tiny_space: SearchSpace) -> None:
    objectives = (Objective("oneshot_top1", True), Objective("macs", False))
    macs = Problem(tiny_space, ()).bounds["macs"]
    with_limits = Problem(tiny_space, objectives, (), Limited())
    assert "oneshot_top1" not in with_limits.preview.ranges
    assert with_limits.preview.exact == set(with_limits.preview.ranges) == {"macs", "params", "peak_activation_bytes"}
    assert with_limits.box() == Box((-100.0, macs[0]), (0.0, macs[1]))
    with pytest.raises(NasError, match="range of oneshot_top1 is not known"):
        Problem(tiny_space, objectives, (), Slow()).box()


def test_bounds_that_only_evaluating_tells(trained: Path) -> None:
    def at_least(percent: float) -> Problem:
        config = SearchConfig(
            space="nasbench201", estimator=f"supernet:{trained}", min={"oneshot_top1": percent}, max_macs=50e6
        )
        return Problem.from_config(config)

    possible = at_least(90)
    possible.check_feasible()
    preview = possible.preview
    assert [constraint.metric for constraint in preview.constraints] == ["macs"]
    macs = possible.costs(possible.space.all_codes())["macs"]
    assert preview.feasible == (macs <= 50e6).sum()
    with pytest.raises(NasError, match="lower it to at most 100 %"):
        at_least(101).check_feasible()
