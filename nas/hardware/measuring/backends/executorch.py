"""ExecuTorch with its XNNPACK delegate: models as .pte files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from nas.errors import NasError
from nas.hardware.measuring.backends.base import Backend, Workload
from nas.hardware.measuring.backends.graph import Draw
from nas.hardware.measuring.backends.xnnpack import is_writable, write_pte


class ExecuTorch(Backend):
    name = "executorch"
    title = "ExecuTorch (XNNPACK)"
    needs = ("executorch",)
    extra = "executorch"

    def write(self, workload: Workload) -> bytes:
        return write_executorch(workload) if is_writable(workload.layers) else export_executorch(workload)


def write_executorch(workload: Workload, draw: Draw | None = None) -> bytes:
    """Return the program of a workload, written without torch's tracing; see `is_writable`."""
    with _quiet():
        return write_pte(workload.layers, workload.input_shapes, draw)


def export_executorch(workload: Workload) -> bytes:
    """Return what ExecuTorch's own lowering makes of the module: half a minute a network, but it knows every operation.

    Raises:
        NasError: it does not know one.
    """
    with _quiet():
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        module, inputs = workload.module()
        try:
            program = torch.export.export(module, inputs)
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            return bytes(lowered.to_executorch().buffer)
        except RuntimeError as error:
            raise NasError(f"ExecuTorch cannot express {workload.item}: {str(error).splitlines()[0]}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what ExecuTorch's packages warn of when they are loaded, mostly one another; errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
