"""Train the networks of study.yaml on CIFAR-10, one after the other: `python experiments/scaling/cifar10/train.py`.

Reads images/cifar10_{train,test}_jpeg.tar.xz from the folder NAS_DATA (default ../shared/data beside the repository),
decodes them once into --cache, and appends one line a finished run to --results; runs that are there are skipped.
5,000 of the 50,000 training images are kept for validation; the test images are scored and choose nothing.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from nas.plain_yaml import load_yaml
from nas.space import StagedNetwork

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("NAS_DATA", HERE.parents[2].parent / "shared" / "data")) / "images"
CACHE = Path.home() / ".cache" / "nas" / "cifar10"
PIXELS = 32
VALIDATION_IMAGES = 5000
#: mean and standard deviation of the training pixels, red, green, blue, out of 255
MEAN, STD = (125.3, 122.9, 113.9), (62.5, 61.9, 66.5)
COLUMNS = (
    "name", "kind", "depth", "width", "resolution", "resolution_multiplier", "params", "macs", "seed", "epochs",
    "val_top1", "test_top1", "seconds",
)  # fmt: skip

Images = tuple[Tensor, Tensor]  # uint8[n, 3, size, size], int64[n]


def decode(archive: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images uint8[n, 3, 32, 32] and labels int64[n] of an archive of `split/class/NNNN.jpg`, in name order."""
    with tarfile.open(archive, "r:xz") as tar:
        files = {m.name: stream.read() for m in tar if m.isfile() and (stream := tar.extractfile(m)) is not None}
    names = sorted(files)
    classes = sorted({name.split("/")[1] for name in names})
    images = np.stack([np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB")) for name in names])
    labels = np.array([classes.index(name.split("/")[1]) for name in names])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels


def save(path: Path, array: NDArray[Any]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, array)
    part.replace(path)


def load_split(split: str, data: Path, cache: Path) -> Images:
    """Return the images of "train" or "test", decoded at the first call and read from `cache` afterwards."""
    paths = cache / f"{split}_images.npy", cache / f"{split}_labels.npy"
    if not all(path.exists() for path in paths):
        cache.mkdir(parents=True, exist_ok=True)
        images, labels = decode(data / f"cifar10_{split}_jpeg.tar.xz")
        save(paths[0], images)
        save(paths[1], labels)
    return torch.from_numpy(np.load(paths[0])), torch.from_numpy(np.load(paths[1]))


def hold_out(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices for training and for validation: the same for every run, each class equally often."""
    order = np.random.default_rng(0).permutation(len(labels))
    classes = int(labels.max()) + 1
    shuffled = labels.numpy()[order]
    kept = np.concatenate([order[shuffled == c][: VALIDATION_IMAGES // classes] for c in range(classes)])
    return torch.from_numpy(np.setdiff1d(order, kept)), torch.from_numpy(kept)


def resize(images: Tensor, size: int) -> Tensor:
    """Return uint8[n, 3, size, size], each pixel averaged over the area it covers."""
    if size == images.shape[-1]:
        return images
    chunks = [
        functional.interpolate(chunk.float(), size=(size, size), mode="bilinear", antialias=True).round().byte()
        for chunk in images.split(5000)
    ]
    return torch.cat(chunks)


def normalise(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(padded: Tensor, size: int) -> Tensor:
    """Crop every image at its own place out of its padded copy and mirror half of them, in one gather."""
    n, device = len(padded), padded.device
    rows, columns = torch.randint(0, padded.shape[-1] - size + 1, (2, n, 1), device=device)
    steps = torch.arange(size, device=device)
    mirrored = torch.rand(n, 1, device=device) < 0.5
    columns = columns + torch.where(mirrored, size - 1 - steps, steps)
    picked = padded.permute(0, 2, 3, 1)[
        torch.arange(n, device=device).view(-1, 1, 1), (rows + steps)[:, :, None], columns[:, None, :]
    ]
    return picked.permute(0, 3, 1, 2)


@torch.inference_mode()
def top1(model: nn.Module, data: Images) -> float:
    """Return the percentage of images whose class gets the highest score."""
    model.eval()
    right = 0
    for images, labels in zip(data[0].split(500), data[1].split(500), strict=True):
        right += int((model(normalise(images)).argmax(1) == labels).sum())
    return 100 * right / len(data[1])


def train(model: nn.Module, data: Images, recipe: dict[str, Any]) -> None:
    """Train `model` in place with AdamW and a one-cycle schedule; the last incomplete batch of an epoch is left out."""
    images, labels = data
    size, batch = images.shape[-1], recipe["batch"]
    margin = round(4 * size / PIXELS)  # the usual 4 pixels of 32
    padded = functional.pad(images, (margin,) * 4)
    batches = len(images) // batch
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe["learning_rate"], weight_decay=recipe["weight_decay"], fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe["learning_rate"], total_steps=recipe["epochs"] * batches, pct_start=recipe["warmup"]
    )
    model.train()
    for _ in range(recipe["epochs"]):
        order = torch.randperm(len(images), device=images.device)
        for chosen in order[: batches * batch].split(batch):
            scores = model(normalise(augment(padded[chosen], size)))
            loss = functional.cross_entropy(scores, labels[chosen], label_smoothing=recipe["label_smoothing"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def run(spec: StagedNetwork, splits: dict[str, Images], recipe: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train one network from one seed and return what was measured, seconds of wall clock included."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = {
        name: (resize(images, spec.resolution).to(device), labels.to(device))
        for name, (images, labels) in splits.items()
    }
    torch.manual_seed(seed)
    model = spec.build().to(device=device, memory_format=torch.channels_last)
    start = time.perf_counter()
    train(model, data["train"], recipe)
    seconds = time.perf_counter() - start
    scores = {f"{name}_top1": round(top1(model, data[name]), 2) for name in ("val", "test")}
    return scores | {"seed": seed, "epochs": recipe["epochs"], "seconds": round(seconds, 1)}


def describe(base: StagedNetwork, spec: StagedNetwork) -> dict[str, Any]:
    cost = spec.cost()
    multiplier = spec.resolution / base.resolution
    return {"resolution_multiplier": multiplier, "params": int(cost["params"]), "macs": int(cost["macs"])}


def finished(results: Path) -> set[tuple[str, int]]:
    if not results.exists():
        return set()
    with results.open(newline="") as file:
        return {(row["name"], int(row["seed"])) for row in csv.DictReader(file)}


def append(results: Path, row: dict[str, Any]) -> None:
    """Add one line, on the disk before the next run starts."""
    new = not results.exists()
    with results.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the two archives")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the decoded images")
    parser.add_argument("--study", type=Path, default=HERE / "study.yaml")
    parser.add_argument("--results", type=Path, default=HERE / "results.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = load_yaml(options.study.read_text())
    base = StagedNetwork.from_strings(**study["base"])
    images, labels = load_split("train", options.data, options.cache)
    fit, val = hold_out(labels)
    splits = {
        "train": (images[fit], labels[fit]),
        "val": (images[val], labels[val]),
        "test": load_split("test", options.data, options.cache),
    }
    done = finished(options.results)
    for seed in study["seeds"]:
        for name, network in study["networks"].items():
            if (name, seed) in done:
                continue
            spec = base.scale(network["depth"], network["width"], network["resolution"])
            row = {"name": name} | network | describe(base, spec) | run(spec, splits, study["recipe"], seed)
            append(options.results, row)
            print(*(row[column] for column in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
