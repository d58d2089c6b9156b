"""What a runtime is to the measuring: how a network is written in its format."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from nas import registry
from nas.errors import NasError
from nas.space import Block, NetworkSpec
from nas.space.layer import Layer

if TYPE_CHECKING:
    from torch import Tensor, nn

Kind = Literal["network", "block", "calibration"]


@dataclass(frozen=True)
class Workload:
    """Something to be timed.

    Args:
        item: its name in tables: the code of a network, or the kernels of a block as `kernels` writes them.
    """

    kind: Kind
    item: str
    subject: NetworkSpec | Block

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.subject.layers()

    @cached_property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of every input at batch 1: channels × height × width, or channels alone where only a vector will do."""
        if isinstance(self.subject, NetworkSpec):
            shapes: Sequence[tuple[int, int]] = [(self.subject.in_channels, self.subject.resolution)]
        else:
            shapes = self.subject.input_shapes
        vectors = {index for layer in self.layers if layer.op == "linear" for index in layer.inputs}
        return tuple((1, c) if -1 - i in vectors else (1, c, size, size) for i, (c, size) in enumerate(shapes))

    def module(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return the torch module, randomly initialised and ready for inference, and random inputs."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.subject.build().eval(), tuple(torch.randn(shape) for shape in self.input_shapes)


class Backend(ABC):
    """Writes networks for one inference runtime; the worker of `nas.hardware.measuring.worker` runs what it wrote.

    Weights are random: what a multiplication takes does not depend on the numbers, as long as they are normal ones.
    """

    #: name in the entry-point group, and in the worker
    name: ClassVar[str]
    #: what it is called in profiles, before the version
    title: ClassVar[str]
    #: packages that writing needs, and the extra of ours that installs them
    needs: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]

    def check(self) -> None:
        """Raises NasError: a package is missing here."""
        missing = [package for package in self.needs if importlib.util.find_spec(package) is None]
        if missing:
            how = f"pip install 'nas[{self.extra}]'" if self.extra else f"pip install {missing[0]}"
            raise NasError(f"measuring with {self.title} needs {missing[0]}; install it with: {how}")

    @abstractmethod
    def write(self, workload: Workload) -> bytes:
        """Return the model file.

        Raises:
            NasError: the runtime cannot express it.
        """


def load_backend(name: str) -> Backend:
    """Return a backend whose packages are installed.

    Raises:
        UnknownNameError: there is none of that name.
        NasError: a package is missing.
    """
    backend: Backend = registry.load("backends", name)()
    backend.check()
    return backend
