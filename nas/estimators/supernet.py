"""Accuracy with the shared weights of a supernet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError
from nas.estimators.base import About, Estimator, HasSpace
from nas.space import Codes, NetworkSpec, SearchSpace
from nas.supernet.record import SupernetRecord, find_supernet, read_supernet_record

if TYPE_CHECKING:
    from torch import nn

    from nas.estimators.shared_weights import SharedWeights
    from nas.supernet.supernet import Supernet

#: quantile of the normal distribution of a two-sided 90 % interval
Z90 = 1.6449


class SupernetEstimator(Estimator):
    """Measured: accuracy with the shared weights of a one-shot run, `supernet:RUN`, e.g. supernet:runs/first.

    `oneshot_top1` is the share of validation images, in percent, that a network of the supernet gets right after its
    BatchNorms took the statistics of some training images (Yu & Huang, US-Nets, ICCV 2019, sec. 3.2). It ranks
    networks; a network that is trained by itself is better than that. The interval is of the draw of the images, for
    one network alone: all networks see the same images, so a difference between two of them is surer.

    Args:
        folder: of the supernet; None for a run that is yet to be made, or where the record is all that is asked for.
        record: of the supernet, where it is not to be read from the folder.
        data: where the images are now; None for where they were.
        in_training: whether this is the estimator of the run that trains the supernet: its weights are still to come,
            so they are no part of what the run remembers of it.

    Raises:
        NasError: there is neither a folder nor a record, or the record is damaged.
    """

    metrics = ("oneshot_top1",)
    origin = "measured"
    cost_hint = "s"

    def __init__(
        self,
        folder: Path | None = None,
        record: SupernetRecord | None = None,
        data: Path | None = None,
        in_training: bool = False,
    ):
        if record is None:
            if folder is None:
                raise NasError("supernet needs the run that trained one: write supernet:RUN, e.g. supernet:runs/first")
            record = read_supernet_record(folder)
        self.folder, self.record, self._data, self._in_training = folder, record, data, in_training
        #: part, code -> images of the part that are right; what a network was once asked for is asked for again
        self._right: dict[tuple[str, bytes], float] = {}

    @classmethod
    def with_argument(cls, run: str) -> Callable[[], SupernetEstimator]:
        """Return what makes the estimator of a run; see `nas.registry.load` and `find_supernet`."""
        return lambda: cls(find_supernet(run) if run else None)

    @classmethod
    def trained_here(cls, folder: Path | None, record: SupernetRecord | None = None) -> SupernetEstimator:
        """Return the estimator of the run that trains the supernet.

        Args:
            folder, record: one of them; see the class.

        Raises:
            NasError: the record is damaged.
        """
        return cls(folder, record, in_training=True)

    def reading(self, data: Path) -> SupernetEstimator:
        return SupernetEstimator(self.folder, self.record, data, self._in_training)

    def space_of(self, space: SearchSpace) -> SearchSpace:
        """Return the space, where it is that of the supernet.

        Raises:
            NasError: it is another one.
        """
        self.record.check_space(space)
        return space

    def limits(self, metric: str) -> tuple[float, float] | None:
        return (0.0, 100.0) if metric in self.metrics else None

    def check_ready(self) -> None:
        if not self._in_training:
            _ = self._shared

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        """Return oneshot_top1 in percent; its standard deviation is that of a binomial share, its interval Wilson's.

        Raises:
            NasError: the space is another one, or weights or images are missing, damaged or others.
        """
        self.space_of(problem.space)
        share, images = self._shares(codes, "validation")
        low, high = wilson(share, images)
        std = np.sqrt(share * (1 - share) / images)
        columns = {"": share, "_std": std, "_low": low, "_high": high}
        return pd.DataFrame({f"oneshot_top1{suffix}": 100 * values for suffix, values in columns.items()})

    def report(self, codes: Codes) -> pd.DataFrame:
        """Return oneshot_test_top1, the same on the test images.

        Raises:
            NasError: weights or images are missing, damaged or others.
        """
        return pd.DataFrame({"oneshot_test_top1": 100 * self._shares(codes, "test")[0]})

    def about(self, problem: HasSpace) -> About:
        self.space_of(problem.space)
        record, digest, stands = self.record, self.record.judging_digest(), ""
        if not self._in_training:
            digest, stands = hashlib.sha256(f"{digest} {self._weights_digest}".encode()).hexdigest(), self._restored[1]
        images = "the" if record.validation_images is None else f"{record.validation_images:,}"
        note = (
            f"share of {images} validation images that is right with the weights of a supernet ({record.method}); it "
            f"ranks networks, trained alone they have another accuracy{f'; {stands}' if stands else ''}"
        )
        return About(note, f"images of {record.data}", digest)

    def judge_with(self, supernet: Supernet) -> None:
        """Judge with a supernet that has just been trained, rather than read its weights; statistics are changed."""
        self._restored = supernet, ""

    def network(self, code: npt.NDArray[np.integer]) -> tuple[NetworkSpec, nn.Module]:
        """Return the network of a code int[D] with its shared weights, as wide as the supernet has it; see `evaluate`.

        Raises:
            NasError: weights or images are missing or damaged, or networks cannot have the weights of the supernet.
        """
        return self._shared.network(code)

    # --- what is slow, made when it is first needed -----------------------------------------------------------------

    def _shares(self, codes: Codes, part: str) -> tuple[npt.NDArray[np.float64], int]:
        """Return float[n], the share of the images of a part that each network gets right, and how many images."""
        images = self._shared.sizes[part]
        keys = [(part, code.tobytes()) for code in np.asarray(codes, dtype=np.int8)]
        for key, code in zip(keys, codes, strict=True):
            if key not in self._right:
                self._right[key] = self._shared.right(code, part)
        return np.array([self._right[key] for key in keys], dtype=np.float64) / images, images

    @cached_property
    def _shared(self) -> SharedWeights:
        from nas.estimators.shared_weights import SharedWeights

        return SharedWeights(self._restored[0], self.record.load_data(self._data), self.record)

    @cached_property
    def _restored(self) -> tuple[Supernet, str]:
        """The supernet and what there is to say of its training."""
        import torch

        from nas.estimators.shared_weights import restored

        if self.folder is None:
            raise NasError("the supernet is not trained yet, so it can judge no network")
        return restored(self.folder, self.record, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    @cached_property
    def _weights_digest(self) -> str:
        from nas.estimators.shared_weights import weights_digest

        return weights_digest(self._restored[0])


def wilson(
    share: npt.NDArray[np.float64], n: int, z: float = Z90
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:  # fmt: skip
    """Return the ends of the interval of a share of n (Wilson, Journal of the ASA, 1927); within 0 and 1.

    Args:
        share: float[m], right answers / n.
        z: how many standard deviations to each side.
    """
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Shares of 0 and 1 are ends themselves, but for rounding.
    return np.clip(centre - half, 0.0, share), np.clip(centre + half, share, 1.0)
