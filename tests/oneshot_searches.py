"""A few steps of two searches on a share of each batch."""

from __future__ import annotations

import torch
from oneshot_toys import ToySupernet, toy_batch
from torch import Tensor

from nas.strategies.oneshot.base import Batch, Moment
from nas.strategies.oneshot.methods import DARTS, GDAS


def searched(shard: tuple[int, int]) -> dict[str, Tensor]:
    """Return weights, architecture, eigenvalue and states of optimisers, as one vector each, by method."""
    rank, count = shard

    def share(batch: Batch) -> Batch:
        return Batch(batch.images[rank::count], batch.labels[rank::count])

    found = {}
    for name, method, settings in (
        ("first", DARTS, {}), ("second", DARTS, {"order": 2}), ("differences", DARTS, {"order": 2, "exact": False}),
        ("drawn", GDAS, {}),
    ):  # fmt: skip
        torch.manual_seed(0)
        given = {
            "learning_rate": 0.1,
            "architecture_learning_rate": 0.05,
            "gradient_clip": 0.1,
            "eigenvalue_images": 64,
        }
        strategy = method(ToySupernet().double(), method.Settings(**given | settings))
        rng = torch.Generator().manual_seed(1)
        for n in range(4):
            batches = [Batch(images.double(), labels) for images, labels in (toy_batch(32, rng), toy_batch(32, rng))]
            at, drawn = Moment(0, n, 50, 4), torch.Generator().manual_seed(n)
            strategy.step(share(batches[0]), share(batches[1]), at, drawn)
        found[f"{name} weights"] = torch.cat([p.detach().flatten() for p in strategy.supernet.parameters()])
        found[f"{name} architecture"] = torch.cat([p.detach() for p in strategy.architecture_parameters()])
        for kind, optimizer in (("momenta", strategy.optimizer), ("adam", strategy.architecture_optimizer)):
            moments = [v for state in optimizer.state.values() for key, v in state.items() if key != "step"]
            found[f"{name} {kind}"] = torch.cat([v.flatten() for v in moments if isinstance(v, Tensor)])
        eigenvalue = strategy.end_epoch(share(batches[1]), Moment(0, 3, 50, 4), rng)["eigenvalue"]
        found[f"{name} eigenvalue"] = torch.tensor([eigenvalue])
    return found
