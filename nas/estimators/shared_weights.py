"""Networks of a space judged with the weights of a supernet, each with its own statistics of batch normalisation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas.data.batches import Batches
from nas.data.dataset import Dataset
from nas.data.splits import Indices, stratified
from nas.errors import NasError
from nas.space import NetworkSpec
from nas.supernet.checkpoint import CHECKPOINT, read_checkpoint
from nas.supernet.factory import make_supernet
from nas.supernet.record import RECORD, SupernetRecord
from nas.supernet.supernet import Supernet, recalibrate

#: images that a network sees at once
BATCH = 128
#: normalised images up to so many bytes are kept on the device, more are read again for every network
KEPT = 2**30


def restored(folder: Path, record: SupernetRecord, device: torch.device) -> tuple[Supernet, str]:
    """Return the supernet in a folder with its weights, and what there is to say of its training, "" if it has ended.

    Raises:
        NasError: there are no weights yet, they are damaged, or its space is another one now.
    """
    path = folder / CHECKPOINT
    state = read_checkpoint(path, device)
    if state is None:
        raise NasError(f"there are no weights at {path}: its training has not begun; `nas resume` its run first")
    with torch.random.fork_rng(devices=[]):
        supernet = make_supernet(record.make_space(), record.options, **record.network).to(device)
    try:
        supernet.load_state_dict(state["strategy"]["supernet"])
        stands = "" if state["ended"] else f"its training has not ended, {state['epoch']} epochs are over"
    except (KeyError, TypeError, AttributeError, RuntimeError):
        raise NasError(f"{path} is damaged: its weights are not of the supernet that {RECORD} beside it says") from None
    return supernet, stands


def weights_digest(supernet: Supernet) -> str:
    """Return the SHA-256 of the names and values of all weights; statistics are taken afresh for every network."""
    digest = hashlib.sha256()
    for name, tensor in supernet.named_parameters():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class SharedWeights:
    """Judges one network after the other inside a supernet.

    BatchNorm statistics are taken afresh for every network, on batches of equal size, so what is found depends neither
    on the networks before nor on those of the supernet's training.

    Args:
        supernet: with trained weights, on its device; its statistics and its mode are changed.
        dataset: divided as for the training.
        record: how many images judge and recalibrate. Those are drawn by its seed, the classes in proportion; of the
            recalibration what fills no batch is left out.

    Attributes:
        sizes: number of validation and test images.
    """

    def __init__(self, supernet: Supernet, dataset: Dataset, record: SupernetRecord):
        self._supernet = supernet
        self._dataset = dataset
        parts = dataset.splits
        train = self._drawn(parts.train, record.recalibration_images, record.seed)
        size = min(len(train), BATCH)
        self._calibration = self._batches(train[: len(train) // size * size], size)
        validation = self._drawn(parts.validation, record.validation_images, record.seed)
        judging = {"validation": validation, "test": parts.test}
        self._judging = {part: self._batches(indices, BATCH) for part, indices in judging.items()}
        self.sizes = {part: len(indices) for part, indices in judging.items()}

    def right(self, code: npt.NDArray[np.integer], part: str) -> float:
        """Return how many images of "validation" or "test" the network of a code int[D] gets right.

        NaN where its outputs are not finite.
        """
        supernet, weights = self._supernet, self._supernet.weights_of(code)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # of dropout, which the training mode of the recalibration brings along
            recalibrate(supernet, (images for images, _ in self._calibration), lambda images: supernet(images, weights))
        right, finite = [], []
        with torch.no_grad():
            for images, labels in self._judging[part]:
                logits = supernet(images, weights)
                right.append((logits.argmax(1) == labels).sum())
                finite.append(logits.isfinite().all())
        return float(torch.stack(right).sum()) if bool(torch.stack(finite).all()) else float("nan")

    def network(self, code: npt.NDArray[np.integer]) -> tuple[NetworkSpec, nn.Module]:
        """Return the network of a code int[D] alone, with its shared weights and statistics of its own.

        Raises:
            NasError: the supernet has no weights for the networks of its space.
        """
        network = self._supernet.extract(code)
        recalibrate(network, (images for images, _ in self._calibration))
        return self._supernet.network(code), network.cpu()

    def _drawn(self, indices: Indices, count: int | None, seed: int) -> Indices:
        """Return so many of some images, the classes in proportion; None for all."""
        if count is None or count >= len(indices):
            return indices
        return stratified(self._dataset.data.labels, indices, np.random.default_rng(seed))[:count]

    def _batches(self, indices: Indices, size: int) -> _Kept:
        device = next(self._supernet.parameters()).device
        data, normalisation = self._dataset.data, self._dataset.normalisation
        return _Kept(Batches(data, indices, size, normalisation, device=device, shuffle=False))


class _Kept:
    """Batches that are the same every time, held on the device where they are not too big."""

    def __init__(self, batches: Batches):
        self._batches = batches
        self._held: list[tuple[Tensor, Tensor]] | None = None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._held is None:
            if 4 * len(self._batches.indices) * math.prod(self._batches.data.shape) > KEPT:
                return self._batches.epoch()
            self._held = list(self._batches.epoch())
        return iter(self._held)
