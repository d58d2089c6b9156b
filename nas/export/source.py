"""A network as one plain PyTorch file that needs nothing but torch."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

from nas import nn
from nas.space import NetworkSpec

_CHAIN = """
    return nn.Sequential(
{modules}
    )
"""
_GRAPH = """
    blocks: list[nn.Module] = [
{modules}
    ]
    inputs = {inputs}
    return GraphNetwork(blocks, inputs)
"""


def to_source(spec: NetworkSpec) -> str:
    """Return Python source that defines the network's modules and `build() -> nn.Module`.

    The state dict of `build()` has the same keys and shapes as that of `spec.build()`.
    """
    calls = [block.module_call() for block in spec.blocks]
    size = spec.resolution
    shapes = f"Input [batch, {spec.in_channels}, {size}, {size}], output [batch, {spec.num_classes}]."
    names = {name for name, _ in calls} | (set() if spec.is_chain else {"GraphNetwork"})
    body = _CHAIN if spec.is_chain else _GRAPH
    modules = "\n".join(f"        {name}({_arguments(arguments)})," for name, arguments in calls)
    return "\n".join(
        [
            repr(f"{spec.name or 'network'}, written by nas. {shapes}"),
            "",
            "import torch",
            "from torch import Tensor, nn",
            "",
            _activations(),
            *[f"\n\n{inspect.getsource(definition).rstrip()}" for definition in _needed(names)],
            "\n\ndef build() -> nn.Module:",
            '    """Return the network, randomly initialised."""',
            body.format(modules=modules, inputs=[node.inputs for node in spec.nodes]).strip("\n"),
            "",
        ]
    )


def _arguments(arguments: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _activations() -> str:
    entries = [f'    "{name}": nn.{function.__name__},' for name, function in nn.ACTIVATIONS.items()]
    return "\n".join(["ACTIVATIONS: dict[str, type[nn.Module]] = {", *entries, "}"])


def _definitions() -> dict[str, type]:
    """The classes of all modules of `nas.nn`, in an order in which each stands behind those it inherits from."""
    found: dict[str, type] = {}
    for part in vars(nn).values():
        if isinstance(part, ModuleType) and part.__name__.startswith(f"{nn.__name__}."):
            classes = [
                item for _, item in inspect.getmembers(part, inspect.isclass) if item.__module__ == part.__name__
            ]
            found |= {item.__name__: item for item in sorted(classes, key=lambda item: inspect.getsourcelines(item)[1])}
    return found


def _needed(names: set[str]) -> list[type]:
    """The classes of `nas.nn` that `names` need, themselves included, in order of definition."""
    definitions = _definitions()
    needed: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        words = set(re.findall(r"\w+", inspect.getsource(definitions[name])))
        waiting |= (words & set(definitions)) - needed
    return [item for name, item in definitions.items() if name in needed]
