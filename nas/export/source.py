"""A network as one plain PyTorch file that needs nothing but torch."""

from __future__ import annotations

import inspect
import re

from nas.nn import blocks
from nas.space import NetworkSpec


def to_source(spec: NetworkSpec) -> str:
    """Return Python source that defines the network's modules and `build() -> nn.Module`.

    The state dict of `build()` has the same keys and shapes as that of `spec.build()`.
    """
    calls = [block.module_call() for block in spec.blocks]
    size = spec.resolution
    shapes = f"Input [batch, {spec.in_channels}, {size}, {size}], output [batch, {spec.num_classes}]."
    definitions = [inspect.getsource(getattr(blocks, name)).rstrip() for name in _needed({name for name, _ in calls})]
    return "\n".join(
        [
            repr(f"{spec.name or 'network'}, written by nas. {shapes}"),
            "",
            "import torch",
            "from torch import Tensor, nn",
            "",
            _activations(),
            *[f"\n\n{definition}" for definition in definitions],
            "\n\ndef build() -> nn.Module:",
            '    """Return the network, randomly initialised."""',
            "    return nn.Sequential(",
            *[f"        {name}({_arguments(arguments)})," for name, arguments in calls],
            "    )",
            "",
        ]
    )


def _arguments(arguments: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _activations() -> str:
    entries = [f'    "{name}": nn.{function.__name__},' for name, function in blocks.ACTIVATIONS.items()]
    return "\n".join(["ACTIVATIONS: dict[str, type[nn.Module]] = {", *entries, "}"])


def _needed(names: set[str]) -> list[str]:
    """The classes of `nas.nn.blocks` that `names` need, themselves included, in order of definition."""
    members = inspect.getmembers(blocks, inspect.isclass)
    line = {name: inspect.getsourcelines(item)[1] for name, item in members if item.__module__ == blocks.__name__}
    needed: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        words = set(re.findall(r"\w+", inspect.getsource(getattr(blocks, name))))
        waiting |= (words & set(line)) - needed
    return sorted(needed, key=line.__getitem__)
