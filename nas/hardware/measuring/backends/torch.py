"""torch itself, operation by operation: models as exported programs (.pt2)."""

from __future__ import annotations

import io

from nas.hardware.measuring.backends.base import Backend, Workload


class Torch(Backend):
    name = "torch"
    title = "PyTorch"
    needs = ("torch",)
    extra = ""

    def write(self, workload: Workload) -> bytes:
        import torch

        module, inputs = workload.module()
        file = io.BytesIO()
        with torch.no_grad():
            torch.export.save(torch.export.export(module, inputs), file)
        return file.getvalue()
