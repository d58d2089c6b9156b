"""The controller of policy-gradient search: an LSTM that writes a network decision by decision (Zoph & Le, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.space import Decision
from nas.space.decision import DecisionTree


class Controller(nn.Module):
    """Gives every decision a distribution, given all earlier ones.

    A decision that does not matter after the earlier ones is passed over: it is 0, its probability is 1.

    Args:
        decisions: of the space.
        hidden: width of the LSTM and of the embedding of choices.
        seed: of the initial weights.
    """

    def __init__(self, decisions: Sequence[Decision], hidden: int, seed: int):
        super().__init__()
        self.counts = [len(decision.choices) for decision in decisions]
        self.hidden = hidden
        tree = DecisionTree(decisions)
        self.parent = tree.parent
        self.activating = [
            torch.tensor([choice in tree.activating[d] for choice in range(self.counts[parent])])
            if parent >= 0
            else None
            for d, parent in enumerate(tree.parent)
        ]
        # Modules draw initial weights, replaced below, from the global generator, which is not ours.
        with torch.random.fork_rng(devices=[]):
            self.cell = nn.LSTMCell(hidden, hidden)
            # Token 0 stands for the start and for a decision passed over.
            self.embedding = nn.Embedding(1 + sum(self.counts), hidden)
            self.heads = nn.ModuleList(nn.Linear(hidden, count) for count in self.counts)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1, generator=generator)

    def sample(self, uniform: Tensor) -> Tensor:
        """Return long[n, D], codes drawn by inverting the distribution at float[n, D] uniform numbers."""
        with torch.no_grad():
            return self._write(None, uniform)[0]

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return float[n], the log-probability of long[n, D] codes, and float[n], the entropy along them."""
        return self._write(codes, None)[1:]

    def _write(self, codes: Tensor | None, uniform: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        source = codes if codes is not None else uniform
        assert source is not None
        n = len(source)
        h = c = torch.zeros(n, self.hidden)
        token = torch.zeros(n, dtype=torch.long)
        log_probability, entropy = torch.zeros(n), torch.zeros(n)
        picks: list[Tensor] = []
        matters: list[Tensor] = []
        offset = 1
        for d, count in enumerate(self.counts):
            h, c = self.cell(self.embedding(token), (h, c))
            log_p = torch.log_softmax(self.heads[d](h), dim=1)
            parent, activating = self.parent[d], self.activating[d]
            active = torch.ones(n, dtype=torch.bool)
            if activating is not None:
                active = matters[parent] & activating[picks[parent]]
            if codes is not None:
                pick = codes[:, d]
            else:
                assert uniform is not None
                pick = (log_p.exp().cumsum(1) < uniform[:, [d]]).sum(1).clamp(max=count - 1)
            pick = pick * active
            log_probability = log_probability + log_p.gather(1, pick[:, None])[:, 0] * active
            entropy = entropy - (log_p.exp() * log_p).sum(1) * active
            picks.append(pick)
            matters.append(active)
            token, offset = (pick + offset) * active, offset + count
        return torch.stack(picks, 1), log_probability, entropy
