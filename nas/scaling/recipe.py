"""How a network was trained: the part of a recipe that changes with the size of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np

from nas.errors import NasError
from nas.scaling.released import published_families
from nas.scaling.scaled import LARGE_IMAGE, resolution_step
from nas.space import NetworkSpec, StagedNetwork
from nas.space.cell_network import CellNetwork
from nas.space.nasnet_network import NasNetwork
from nas.space.regnet import RegNet
from nas.space.residual_network import ResidualNetwork

#: what the numbers of a recipe may be; recipes come from files too
_RANGES = {
    "dropout": (0.0, 1.0),
    "stochastic_depth": (0.0, 1.0),
    "randaugment_magnitude": (0, 100),
    "mixup": (0.0, 100.0),
    "label_smoothing": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "epochs": (1, 1_000_000),
    "resolution": (1, 100_000),
}
_TEXTS = ("augmentation", "optimizer", "pretraining", "note", "source")
_ORIGINS = ("published", "rule")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; None where nothing is published, and no rule can be taken from others.

    Args:
        dropout: probability in front of the classifier.
        stochastic_depth: probability that the last block is skipped, 1 - survival probability; those before it are
            skipped less, in proportion to their depth (Huang et al., ECCV 2016). In networks of cells, the
            probability that a path is dropped. Also known as drop connect (EfficientNet) and drop path (ConvNeXt).
        augmentation: of the images, by name; empty where it is the usual crop and flip.
        randaugment_magnitude: M of RandAugment (Cubuk et al., 2020), where that is the augmentation.
        mixup: alpha of mixup (Zhang et al., ICLR 2018).
        weight_decay: as its `optimizer` takes it; decays of two optimizers cannot be compared.
        resolution: of the images in training, in pixels; at the end, where it grows. None: that of the network.
        pretraining: what the weights were first trained on, where that was not this data set.
        origin: "published", or "rule" where it was concluded from what was published for others.
        note: what else has to be known to use it; the rule, for a recipe that comes of one.
        source: where it was published.

    Raises:
        NasError: a setting is no number, or outside of what it may be.
    """

    dropout: float | None = None
    stochastic_depth: float | None = None
    augmentation: str = ""
    randaugment_magnitude: int | None = None
    mixup: float | None = None
    label_smoothing: float | None = None
    optimizer: str = ""
    weight_decay: float | None = None
    epochs: int | None = None
    resolution: int | None = None
    pretraining: str = ""
    origin: Literal["published", "rule"] = "published"
    note: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and least <= value <= most):
                raise NasError(f"{name} is {value!r}, must be a number from {least:g} to {most:g}")
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str):
                raise NasError(f"{name} is {getattr(self, name)!r}, must be text")
        if self.origin not in _ORIGINS:
            raise NasError(f"origin is {self.origin!r}, one of {', '.join(_ORIGINS)}")

    @property
    def text(self) -> str:
        """In one line what does not grow with the network, and where all of it comes from."""
        settings = (
            self.augmentation,
            "" if self.label_smoothing is None else f"label smoothing {self.label_smoothing:g}",
            self.optimizer,
            "" if self.weight_decay is None else f"weight decay {self.weight_decay:g}",
            "" if self.epochs is None else f"{self.epochs} epochs",
            self.pretraining and f"pre-training: {self.pretraining}",
        )
        known = ", ".join(filter(None, settings)) or "nothing but what grows with the network"
        origin = "as published" if self.origin == "published" else "by rule, as for the nearest published networks"
        return f"{origin}: {known} ({self.source})"


#: what grows with a network, and is interpolated between those published
_GROWING = ("dropout", "stochastic_depth", "mixup", "randaugment_magnitude")


@dataclass(frozen=True)
class _Known:
    """A published recipe and the network it trained."""

    family: str
    spec: NetworkSpec
    recipe: Recipe

    @cached_property
    def size(self) -> float:
        return _size(self.spec)


def recommended(base: NetworkSpec, spec: NetworkSpec) -> Recipe | None:
    """Return how to train `spec`, a member of a family around `base`; None where nothing is published to go by.

    A published network has its published recipe. Any other network gets what was published for one family of its kind
    (MBConv with or without squeeze-and-excite, Fused-MBConv, ConvNeXt, other residual networks, cells) trained from
    scratch: the base's own, else that whose range of multiply-adds lies nearest to the base. Dropout, stochastic depth,
    mixup and RandAugment's magnitude are interpolated in the logarithm of the multiply-adds, never extrapolated;
    everything else is that of the nearest member.

    Nearly all recipes of the literature are for ImageNet. Where networks have images below 128 pixels and nothing was
    published for such, the base counts as the smallest network of its kind, and its family grows from there.
    """
    same = next((known.recipe for known in _published() if known.spec == spec), None)
    if same is not None:
        return same
    trained = [known for known in _published() if not known.recipe.pretraining and _kind(known.spec) == _kind(spec)]
    if not trained:
        return None
    alike = [known for known in trained if _has_small_images(known.spec) == _has_small_images(spec)]
    if alike or not _has_small_images(spec):
        return _interpolated(_family_to_follow(alike or trained, base, _size(base)), _size(spec), spec)
    smallest = min(known.size for known in trained)
    recipe = _interpolated(_family_to_follow(trained, base, smallest), smallest + _size(spec) - _size(base), spec)
    return replace(recipe, note=f"for ImageNet, the base taken for the smallest network: {recipe.note}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def _published() -> tuple[_Known, ...]:
    return tuple(
        _Known(family.name, member.spec, member.recipe)
        for family in published_families().values()
        for member in family.members
        if member.recipe is not None
    )


def _kind(spec: NetworkSpec) -> str:
    match spec:
        case StagedNetwork(stages=stages):
            layers = [layer for stage in stages for layer in stage]
            if any(layer.kind == "er" for layer in layers):
                return "Fused-MBConv"
            return "MBConv with squeeze-and-excite" if any(layer.se for layer in layers) else "MBConv"
        case ResidualNetwork(block="convnext"):
            return "ConvNeXt"
        case ResidualNetwork() | RegNet():
            return "residual"
        case CellNetwork() | NasNetwork():
            return "cells"
    return type(spec).__name__


def _size(spec: NetworkSpec) -> float:
    """Logarithm of the multiply-adds."""
    return math.log(sum(block.macs for block in spec.blocks))


def _has_small_images(spec: NetworkSpec) -> bool:
    return spec.resolution < LARGE_IMAGE


def _family_to_follow(known: list[_Known], base: NetworkSpec, start: float) -> list[_Known]:
    """The recipes of one family, from the smallest network; one of several sizes, where there is any.

    Args:
        start: size that the base counts as.
    """
    families: dict[str, list[_Known]] = {}
    for item in sorted(known, key=lambda item: item.size):
        families.setdefault(item.family, []).append(item)
    several = [items for items in families.values() if len(items) > 1] or list(families.values())
    own = [items for items in several if any(item.spec == base for item in items)]
    return min(own or several, key=lambda items: max(items[0].size - start, start - items[-1].size, 0.0))


def _interpolated(known: list[_Known], size: float, spec: NetworkSpec) -> Recipe:
    nearest = min(known, key=lambda item: abs(item.size - size))
    growing: dict[str, Any] = {name: _between(known, name, size) for name in _GROWING}
    if growing["randaugment_magnitude"] is not None:
        growing["randaugment_magnitude"] = round(growing["randaugment_magnitude"])
    note = "; ".join(filter(None, (_rule(known, nearest, size), nearest.recipe.note)))
    resolution = _training_resolution(nearest, spec)
    return replace(nearest.recipe, **growing, resolution=resolution, origin="rule", note=note)


def _between(known: list[_Known], name: str, size: float) -> float | None:
    """A setting at `size`, from those of a family who have it; rounded, as nobody tunes it finer."""
    having = [item for item in known if getattr(item.recipe, name) is not None]
    if not having:
        return None
    values = [float(getattr(item.recipe, name)) for item in having]
    return round(float(np.interp(size, [item.size for item in having], values)), 2)


def _training_resolution(nearest: _Known, spec: NetworkSpec) -> int | None:
    """That of a network trained on smaller images than it is used on, as its nearest of kin was."""
    if nearest.recipe.resolution in (None, nearest.spec.resolution):
        return None
    step = resolution_step(spec)
    return step * round(spec.resolution * nearest.recipe.resolution / nearest.spec.resolution / step)


def _rule(known: list[_Known], nearest: _Known, size: float) -> str:
    above = next((i for i, item in enumerate(known) if item.size > size), len(known))
    if 0 < above < len(known):
        return f"interpolated between {known[above - 1].spec.name} and {known[above].spec.name} by multiply-adds"
    if len(known) == 1:
        return f"as {nearest.spec.name}"
    return f"as {nearest.spec.name}, the {'largest' if above else 'smallest'} with a published recipe"
