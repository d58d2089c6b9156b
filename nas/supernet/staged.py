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
from nas.space import Codes, SearchSpace
from nas.space.decision import word
from nas.space.vocabulary import BlockTable
from nas.supernet.elastic_choice import Choice
from nas.supernet.elastic_layer import ElasticLayer, tail
from nas.supernet.elastic_places import derived_columns, places
from nas.supernet.expected import ExpectedCost
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

    Args:
        space: a space of chains without derived columns in its vocabulary, or a ResidualSpace.
        transforms: smaller kernels pass through trained matrices, the identity at first.
        overrides: fields of the networks that are other than in the space, of `num_classes`, `in_channels`,
            `resolution` and `dropout`. Expected costs remain those of the space.

    Raises:
        NasError: the networks are no chains, a block is of a kind that shares nothing, or the largest blocks have too
            many weights.
    """

    def __init__(self, space: SearchSpace, transforms: bool = False, **overrides: Any):
        super().__init__()
        self.space = space
        self.overrides = overrides
        self.sites = tuple(Site(d.name, tuple(map(word, d.choices))) for d in space.decisions)
        _check_overrides(space, overrides)
        spec = space.spec(np.zeros(len(space.decisions), dtype=np.int8), **overrides)
        if not spec.is_chain:
            raise NasError(f"the networks of {space.name} are no chains of blocks; they have a supernet of their own")
        self._derived = derived_columns(space)
        self.layers = nn.ModuleList(places(space, spec, transforms))
        self._cost: ExpectedCost | None = None

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

    def _choices(self, weights: Sequence[SiteWeights]) -> list[Choice]:
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
        return choices + [Choice(*lookup.distribution(choices)) for lookup in self._derived]

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
        network = self.space.spec(code, **self.overrides).build().to(parameter.device, parameter.dtype)
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

    # --- the ends of the space, for the sandwich rule of Yu & Huang (US-Nets, ICCV 2019, sec. 3.1) -------------------

    def largest(self) -> Codes:
        """Return int8[D], a code whose multiply-adds no change of one decision raises."""
        return self._extreme(+1)

    def smallest(self) -> Codes:
        """Return int8[D], a code whose multiply-adds no change of one decision lowers."""
        return self._extreme(-1)

    def _extreme(self, sign: int) -> Codes:
        macs = np.array([[block.macs] for block in self.vocabulary.blocks], dtype=np.float64)
        table = BlockTable(self.vocabulary, macs)
        code = np.zeros(len(self.sites), dtype=np.int8)
        if sign > 0:
            # From the greatest values on, so that decisions that hang on others matter from the start.
            code = np.array([_greatest(decision.choices) for decision in self.space.decisions], dtype=np.int8)
        while True:
            before = code.copy()
            for d, site in enumerate(self.sites):
                tried = np.repeat(code[None], len(site.operations), axis=0)
                tried[:, d] = np.arange(len(site.operations))
                sums = sign * table.sum(self.space.canonical(tried))[:, 0]
                if sums.max() > sums[code[d]]:
                    code[d] = sums.argmax()
            if (code == before).all():
                canonical: Codes = self.space.canonical(code[None])[0]
                return canonical


def _greatest(choices: Sequence[Any]) -> int:
    numeric = not any(isinstance(choice, str) for choice in choices)
    return int(np.argmax(choices)) if numeric else 0


def _check_overrides(space: SearchSpace, overrides: dict[str, Any]) -> None:
    possible = ("num_classes", "in_channels", "resolution", "dropout")
    for name in overrides:
        if name not in possible:
            raise NasError(f"a supernet of {space.name} can have another {', '.join(possible)}, not another {name}")
