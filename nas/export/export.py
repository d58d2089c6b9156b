"""Writing a network to a file and checking what was written."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError, UnknownNameError
from nas.export.source import to_source
from nas.export.weights import import_state, read_state
from nas.space import NetworkSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

#: outputs may differ by this share of the largest output between two runtimes
TOLERANCE = 1e-4
FORMATS = ("onnx", "torch")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        max_difference: the largest absolute difference of an output to torch's on a random image.
        max_output: the largest absolute output, to compare it with.
        checked_with: what ran the written file.
    """

    files: tuple[Path, ...]
    max_difference: float
    max_output: float
    checked_with: str


def export(
    spec: NetworkSpec, format: str, stem: Path, seed: int = 0, weights: Path | Mapping[str, Tensor] | None = None
) -> Exported:
    """Write a network to `stem`.onnx, or `stem`.py and `stem`.pt.

    Args:
        weights: state dict under our keys, or a file of one (see `nas.export.weights`); None for random, untrained
            ones.

    Raises:
        NasError: an unknown format, a missing library, weights that do not fit, a file that cannot be written, or a
            check that fails; then nothing is left behind.
    """
    import torch

    writers: dict[str, Callable[[NetworkSpec, nn.Module, Tensor, Path], Exported]]
    writers = {"onnx": _export_onnx, "torch": _export_torch}
    if format not in writers:
        raise UnknownNameError("format", format, writers)
    # Building networks draws random numbers; the caller's sequence of them stays as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if weights is None:
            module = _settled(spec.build(), spec)
        else:
            module = import_state(spec, read_state(weights) if isinstance(weights, Path) else weights)
        image = torch.randn(1, spec.in_channels, spec.resolution, spec.resolution)
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=stem.parent, prefix=f".{stem.name}.") as draft:
                written = writers[format](spec, module, image, Path(draft) / stem.name)
                final = tuple(stem.with_name(file.name) for file in written.files)
                _put_in_place(written.files, final)
        except OSError as error:
            raise NasError(f"cannot write {stem}: {error.strerror or error}") from None
    return replace(written, files=final)


def _export_onnx(spec: NetworkSpec, module: nn.Module, image: Tensor, stem: Path) -> Exported:
    import torch

    for library in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(library) is None:
            raise NasError(f"exporting to ONNX needs {library}; install it with: pip install 'nas[onnx]'")
    import onnxruntime

    file = stem.with_name(stem.name + ".onnx")
    batch = torch.export.Dim("batch")
    with _quiet():
        program = torch.onnx.export(
            module, (image,), input_names=["image"], output_names=["logits"], dynamo=True, verbose=False,
            dynamic_shapes=({0: batch},), external_data=False,
        )  # fmt: skip
        assert program is not None
        program.save(str(file), external_data=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": image.numpy()})
    compared = _compare(module, image, torch.from_numpy(logits), "ONNX Runtime")
    return Exported((file,), *compared, f"ONNX Runtime {onnxruntime.__version__}")


def _export_torch(spec: NetworkSpec, module: nn.Module, image: Tensor, stem: Path) -> Exported:
    import torch

    source, weights = stem.with_name(stem.name + ".py"), stem.with_name(stem.name + ".pt")
    source.write_text(to_source(spec), encoding="utf-8")
    torch.save(module.state_dict(), weights)
    module_spec = importlib.util.spec_from_file_location("nas_exported_network", source)
    assert module_spec is not None
    assert module_spec.loader is not None
    exported = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(exported)
    rebuilt: nn.Module = exported.build().eval()
    rebuilt.load_state_dict(torch.load(weights, weights_only=True))
    with torch.no_grad():
        compared = _compare(module, image, rebuilt(image), "the written source")
    return Exported((source, weights), *compared, "the written source, run by torch")


def _put_in_place(drafts: tuple[Path, ...], final: tuple[Path, ...]) -> None:
    """Move all drafts to their places; refuse before the first is moved where one cannot be."""
    for place in final:
        if place.is_dir():
            raise NasError(f"cannot write {place}: it is a directory")
    for draft, place in zip(drafts, final, strict=True):
        os.replace(draft, place)


def _settled(module: nn.Module, spec: NetworkSpec) -> nn.Module:
    """Give the normalisations of an untrained network the statistics of random images.

    With those they start with, the signal dies out in a deep network: the outputs would be the last layer's bias, and
    comparing them would prove nothing of the layers before it.
    """
    import torch

    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        module.train()(torch.randn(4, spec.in_channels, spec.resolution, spec.resolution))
    for norm in norms:
        norm.momentum = 0.1
    return module.eval()


def _compare(module: nn.Module, image: Tensor, outputs: Tensor, runtime: str) -> tuple[float, float]:
    """Return the largest absolute difference of `outputs` to torch's, and torch's largest output.

    Raises:
        NasError: the difference is more than TOLERANCE of the largest output.
    """
    import torch

    with torch.no_grad():
        expected = module(image)
    if outputs.shape != expected.shape:
        raise NasError(
            f"{runtime} gives outputs {list(outputs.shape)}, torch {list(expected.shape)}; nothing was written"
        )
    difference, largest = float((outputs - expected).abs().max()), float(expected.abs().max())
    if not difference <= TOLERANCE * largest:
        raise NasError(f"{runtime} gives outputs that differ from torch's by {difference:.3g}; nothing was written")
    return difference, largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about itself; errors still raise."""
    import logging
    import warnings

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
