"""Makes a look-up table of measured blocks, corrected by what whole networks of them take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.predictor import Array
from nas.hardware.predictors.lookup import LookupParameters, LookupPredictor, MeasuredBlock, kernels
from nas.hardware.tables.measurements import Measurements
from nas.space import ABSENT, SearchSpace

#: From so many networks on, a block has a time added or taken besides the factor; of fewer only the factor is found.
_BOTH_FROM = 8
#: half of a 90 % interval of a normal distribution, in standard deviations
NORMAL_90 = 1.645
#: assumed of the sum of blocks where no repeats and no networks say more
_UNKNOWN_SPREAD = 0.05


@dataclass(frozen=True)
class Correction:
    """In a network a block takes `factor` times what it takes alone, plus `shift`; networks spread by `spread`."""

    factor: float = 1.0
    shift: float = 0.0
    spread: float = _UNKNOWN_SPREAD


class BlockSums:
    """What the measured blocks of networks add up to.

    Args:
        blocks: measured alone, of the space.
        networks: measured whole.
        metric: of both.

    Raises:
        NasError: a network has a block that was not measured.
    """

    def __init__(self, space: SearchSpace, blocks: Measurements, networks: Measurements | None, metric: str):
        self.space, self.blocks, self.metric = space, blocks, metric
        times = dict(zip(blocks.items, blocks.values[metric].tolist(), strict=True)) | {"": 0.0}
        names = [kernels(block) for block in space.vocabulary.blocks]
        each = np.array([times.get(name, np.nan) for name in names] + [0.0])
        counted = np.array([bool(name) for name in names] + [False])
        #: whether every block of the space was measured
        self.is_complete = not np.isnan(each).any()
        ids = space.vocabulary.ids(networks.codes) if networks is not None else np.zeros((0, 1), dtype=np.int32)
        ids = np.where(ids == ABSENT, len(names), ids)
        self.measured = networks.values[metric] if networks is not None else np.zeros(0)
        self.sums, self.counts = each[ids].sum(axis=1), counted[ids].sum(axis=1)
        missing = np.flatnonzero(np.isnan(self.sums))
        if len(missing):
            raise NasError(f"{len(missing)} of the networks measured have blocks that {blocks.source} does not hold")

    def correction(self, rows: npt.NDArray[np.bool_]) -> Correction:
        """Return the factor and shift of least squared relative error over some of the networks."""
        y, x = self.measured[rows], np.stack([self.sums, self.counts], axis=1)[rows]
        if len(y) == 0:
            return Correction(spread=self._repeats)
        used = x if len(y) >= _BOTH_FROM else x[:, :1]
        found = np.linalg.lstsq(used / y[:, None], np.ones(len(y)), rcond=None)[0]
        if found[0] <= 0:
            used, found = x[:, :1], np.array([np.median(y / x[:, 0])])
        off = used @ found / y - 1
        freedoms = len(y) - len(found)
        spread = float(np.sqrt((off @ off) / freedoms)) if freedoms > 2 else self._repeats
        return Correction(float(found[0]), float(found[1]) if len(found) > 1 else 0.0, max(spread, 1e-4))

    def predict(self, correction: Correction) -> tuple[Array, Array]:
        """Return mean and std float[n] of the networks."""
        mean = correction.factor * self.sums + correction.shift * self.counts
        return mean, correction.spread * mean

    def predictor(self, correction: Correction, width: float = NORMAL_90) -> LookupPredictor:
        """Return the table; `width` is half of a 90 % interval in standard deviations."""
        rows = {"": MeasuredBlock(kernels="", mean=0.0, std=0.0, count=1)}
        for item, value, runs in zip(self.blocks.items, self.blocks.values[self.metric], self.blocks.runs, strict=True):
            mean = max(correction.factor * float(value) + correction.shift, 0.0)
            rows[item] = MeasuredBlock(
                kernels=item, mean=round(mean, 9), std=round(correction.spread * mean, 9), count=int(runs)
            )
        covers = f"those of {self.space.name} that were measured"
        return LookupPredictor(LookupParameters(covers=covers, interval_width=width, blocks=tuple(rows.values())))

    @property
    def _repeats(self) -> float:
        """The spread of repeated measurements of a block, as a share, where there are any."""
        shares = self.blocks.std[self.metric] / self.blocks.values[self.metric]
        known = shares[np.isfinite(shares) & (shares > 0)]
        return max(float(np.median(known)), _UNKNOWN_SPREAD) if len(known) else _UNKNOWN_SPREAD
