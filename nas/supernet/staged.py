"""One set of sliced weights for all networks of a space of chains: MBConv spaces, ConvNeXt and the like."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.space import Codes, NetworkSpec, SearchSpace
from nas.space.decision import word
from nas.supernet.elastic_choice import Choice, Choices
from nas.supernet.elastic_layer import ElasticLayer, tail
from nas.supernet.elastic_places import derived_columns, places
from nas.supernet.expected import ExpectedCost
from nas.supernet.extremes import largest_code, smallest_code
from nas.supernet.supernet import Site, Supernet
from nas.supernet.weights import SiteWeights, dense, one_hot, terms


class ElasticSupernet(Supernet):
    """All networks of a space whose networks are chains of blocks, every decision a site.

    Shared, as in once-for-all networks (Cai et al., ICLR 2020) and BigNAS (Yu et al., ECCV 2020): in every place of
    the chain a block takes the leading channels of the widest one (widths, expansion, bottleneck of
    squeeze-and-excite) and the centre of its largest kernel, with `transforms` times trained matrices; a shorter stage
    leaves out its last layers. Blocks share what they have in common but squeeze-and-excite, layer scale, global
    response normalisation and activations.

    Not shared: different places; types of blocks; blocks of one type with other convolutions (MBConv without
    expansion, other groups, a stride or a shortcut more); batch and layer normalisation. The resolution has no
    weights: the caller gives images of the size that a network is to see.

    A relaxation draws every decision independently. In a place it is a sum over operations (blocks that share weights)
    of probability × output, and inside an operation one pass at the largest size: with the expected kernel (Stamoulis
    et al., Single-Path NAS, 2019), channels as strong as they are likely to exist (Wan et al., FBNetV2, 2020), shares
    of normalisations, activations, squeeze-and-excite and shortcuts; in a stage a sum over depths of probability ×
    output after so many layers. Choices certain, it is the network of the code. Batch normalisation comes before the
    mask and keeps one set of statistics: in training mode a block updates those of its leading channels, a relaxation
    those of all it computes.

    With a `width` the networks are those of the space scaled by it (see `NetworkSpec.scale`): narrow proxies that train
    fast, under the codes of the space and with its expected costs. Networks that differ in nothing but what rounds to
    one width share all weights.

    Args:
        space: a space of chains without derived columns in its vocabulary, or a ResidualSpace.
        transforms: smaller kernels pass through trained matrices, the identity at first.
        width: all channels are so many times those of the space, rounded to a multiple of 8; 1 leaves them as they are.
        overrides: fields of the networks that are other than in the space, of `num_classes`, `in_channels`,
            `resolution` and `dropout`. Expected costs remain those of the space.

    Raises:
        NasError: the networks are no chains, a block is of a kind that shares nothing, `width` is not above 0 and at
            most 1, or the largest blocks have too many weights.
    """

    def __init__(self, space: SearchSpace, transforms: bool = False, width: float = 1.0, **overrides: Any):
        super().__init__()
        self.space = space
        self.width = _checked_width(width)
        self.overrides = overrides
        self.sites = tuple(Site(d.name, tuple(map(word, d.choices))) for d in space.decisions)
        _check_overrides(space, overrides)
        spec = self.network(np.zeros(len(space.decisions), dtype=np.int8))
        if not spec.is_chain:
            raise NasError(f"the networks of {space.name} are no chains of blocks; they have a supernet of their own")
        self._derived = derived_columns(space)
        vocabulary = space.vocabulary if width == 1 else space.scaled_vocabulary(width)
        self.layers = nn.ModuleList(places(space, vocabulary, spec, transforms))
        self._cost: ExpectedCost | None = None

    def network(self, code: npt.NDArray[np.integer]) -> NetworkSpec:
        spec = self.space.spec(code, **self.overrides)
        return spec if self.width == 1 else spec.scale(width=self.width)

    # --- running --------------------------------------------------------------------------------------------------

    def forward(self, images: Tensor, weights: Sequence[SiteWeights]) -> Tensor:
        """Return logits float[batch, classes]; see `Supernet.forward` and `nas.supernet.weights`."""
        choices = self._choices(weights)
        x = images
        for column, layers in self._runs():
            if column is None:
                for layer in layers:
                    x = layer(x, choices)
            else:
                x = tail(x, layers, choices)
        return x

    def _runs(self) -> Iterator[tuple[int | None, list[ElasticLayer]]]:
        """The layers in order, those together whose number one decision says; its position, None for fixed ones."""
        layers = [layer for layer in self.layers if isinstance(layer, ElasticLayer)]
        for column, run in itertools.groupby(layers, key=lambda layer: layer.depth and layer.depth[0]):
            yield column, list(run)

    def _choices(self, weights: Sequence[SiteWeights]) -> Choices:
        """What weights leave open, decision by decision, and behind these the derived columns."""
        device = next(self.parameters()).device
        choices = []
        for site, given, live in zip(self.sites, weights, terms(weights, self.sites), strict=True):
            indices = tuple(term.operation for term in live)
            if not live:
                raise NasError(f"{site.name} has no operation with a weight other than 0")
            if len(live) == 1 and not isinstance(live[0].weight, Tensor) and live[0].value == 1:
                choices.append(Choice(indices, None))
                continue
            stacked = given if isinstance(given, Tensor) else torch.stack(list(given))
            choices.append(Choice(indices, stacked.to(device)[list(indices)]))
        return Choices(choices + [Choice(*lookup.distribution(choices)) for lookup in self._derived])

    def weights_of(self, code: npt.NDArray[np.integer]) -> list[Tensor]:
        device = next(self.parameters()).device
        (row,) = self.space.check(np.asarray(code)[None])
        return [
            one_hot(int(choice), len(site.operations)).to(device) for choice, site in zip(row, self.sites, strict=True)
        ]

    # --- what comes of it -----------------------------------------------------------------------------------------

    def derive(self, weights: Sequence[SiteWeights]) -> Codes:
        """Return int8[D], the most likely choice of every decision, the first of equals; canonical."""
        code = np.array([int(site.detach().argmax()) for site in dense(weights)], dtype=np.int8)
        canonical: Codes = self.space.canonical(code[None])[0]
        return canonical

    def extract(self, code: npt.NDArray[np.integer]) -> nn.Module:
        parameter = next(self.parameters())
        network = self.network(code).build().to(parameter.device, parameter.dtype)
        choices = self._choices(self.weights_of(code))
        held = [
            item
            for _, layers in self._runs()
            for layer in layers
            if layer.depth is None or layer.depth[1][choices[layer.depth[0]].indices[0]]
            for item in layer.state(choices)
        ]
        state = network.state_dict()
        for (name, target), (own, tensor) in zip(state.items(), held, strict=True):
            assert name.rpartition(".")[2] == own, (name, own)
            # A fully connected layer may be kept as a 1×1 convolution.
            state[name] = tensor.detach().reshape(target.shape).clone()
        network.load_state_dict(state, strict=True)
        return network.train(self.training)

    def expected(self, values: npt.NDArray[np.float64], weights: Sequence[SiteWeights]) -> Tensor:
        if self._cost is None or not np.array_equal(self._cost.values, values):
            self._cost = ExpectedCost(self.vocabulary, values)
        probabilities = dense(weights)
        choices = [Choice(tuple(range(len(given))), given) for given in probabilities]
        derived = [lookup.distribution(choices)[1] for lookup in self._derived]
        return self._cost([*probabilities, *(column for column in derived if column is not None)])

    # --- the ends of the space, for the sandwich rule -------------------------------------------------------------

    def largest(self) -> Codes:
        """Return int8[D], see `largest_code`."""
        return largest_code(self.space)

    def smallest(self) -> Codes:
        """Return int8[D], see `smallest_code`."""
        return smallest_code(self.space)


def _check_overrides(space: SearchSpace, overrides: dict[str, Any]) -> None:
    possible = ("num_classes", "in_channels", "resolution", "dropout")
    for name in overrides:
        if name not in possible:
            raise NasError(f"a supernet of {space.name} can have another {', '.join(possible)}, not another {name}")


def _checked_width(width: float) -> float:
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= 1:
        raise NasError(f"width is {width!r}, must be a number above 0 and at most 1: a share of the channels")
    return width
