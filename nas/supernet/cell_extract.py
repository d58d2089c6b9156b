"""Copying the weights of one path of a supernet into the network of the space that it stands for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nas.errors import NasError
from nas.nn import GraphNetwork
from nas.supernet.cell_edge import CandidateOptions

#: a module of a supernet, and which of its input channels remain where the network's has fewer
Source = tuple[nn.Module, Tensor | None]


def check_extractable(options: CandidateOptions) -> None:
    """Refuse candidates that the networks of the space cannot have."""
    if options.changes_outputs:
        what = "normalises its pools" if options.partial == 1 else "mixes a part of the channels only"
        raise NasError(f"a supernet that {what} has no weights for the networks of its space; train them from scratch")


def transplant(sources: Sequence[Source], network: nn.Module) -> None:
    """Set the state of `network` to that of the modules it was taken from, in the same order of execution.

    What has no state (sums, pools, identities) is passed over on both sides. Normalisations keep the weights,
    biases and statistics they are born with where the source has none.
    """
    blocks = network.blocks if isinstance(network, GraphNetwork) else network
    targets = [block for block in blocks.children() if block.state_dict()]
    held = [source for source in sources if source[0].state_dict()]
    for (module, channels), target in zip(held, targets, strict=True):
        state = target.state_dict()
        for name, value in module.state_dict().items():
            sliced = channels is not None and name in state and state[name].shape != value.shape
            state[name] = value[:, channels] if sliced else value
        target.load_state_dict(state)
