"""A predictor for a new device from a few measurements on it and the predictors of known devices."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nas import registry
from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.fitting.transfer_posterior import TransferPosterior
from nas.hardware.predictor import Array, LatencyPredictor, read_predictor
from nas.hardware.predictor_file import read_arrays, write_whole
from nas.hardware.predictors.regression import described
from nas.hardware.predictors.source_basis import Features, Source, SourceBasis, block_counts, latencies
from nas.space import NetworkSpec, SearchSpace

#: networks whose features are in memory at one time
_CHUNK = 8192


class TransferPredictor(LatencyPredictor):
    """latency = mean of the sources + how each departs from it + what the blocks add + noise, all weights Bayesian.

    The predictions of other devices as features of a new one are those of HELP (Lee et al., 2021) and MultiPredict
    (Akhauri & Abdelfattah, 2023); here a linear Gaussian process takes the place of a meta-learned network. It holds
    the samples and whole copies of the sources, so it predicts the same when their targets are fitted anew.

    Args:
        space, decisions: name of the space the samples are of, and its decisions as `described` writes them.
        sources: named predictors of the same quantity on that space.
        basis: the features that the sources give.
        posterior: what the samples say, in these features.
        calibration: how far measurements lie from predictions.
    """

    kind = "transfer"

    def __init__(
        self,
        space: str,
        decisions: str,
        sources: Sequence[Source],
        basis: SourceBasis,
        posterior: TransferPosterior,
        calibration: Calibration,
    ):
        self.space, self.decisions, self.sources = space, decisions, tuple(sources)
        self.basis, self.posterior, self.calibration = basis, posterior, calibration

    def predict(self, space: SearchSpace, codes: npt.NDArray[np.integer]) -> tuple[Array, Array]:
        """Return mean and standard deviation, float[n] each, of the networks of the space it was fitted on.

        Raises:
            NasError: it is another space.
        """
        if space.name != self.space:
            raise NasError(f"this predictor was fitted on the space {self.space}; it says nothing of {space.name}")
        if described(space) != self.decisions:
            raise NasError(f"this predictor was fitted on another {self.space}: its decisions differ")
        checked = space.check(codes)
        parts = []
        for start in range(0, len(checked), _CHUNK):
            chunk = checked[start : start + _CHUNK]
            means, _ = latencies(space, chunk, self.sources)
            parts.append(self.posterior.predict(self.basis(means, block_counts(space, chunk))))
        mean, std = (np.concatenate(columns) for columns in zip(*parts, strict=True)) if parts else np.zeros((2, 0))
        return mean, std

    def predict_spec(self, spec: NetworkSpec) -> tuple[float, float]:
        """Raises NasError: the network is not in the space it was fitted on."""
        space: SearchSpace = registry.load("spaces", self.space)
        mean, std = self.predict(space, space.encode(spec)[None])
        return float(mean[0]), float(std[0])

    def write(self, path: Path) -> None:
        """Write an NPZ file: the samples, the basis, the calibration and the sources' own files."""
        content: dict[str, Any] = {
            "kind": self.kind,
            "space": self.space,
            "decisions": self.decisions,
            "quantiles": np.array(self.calibration.quantiles),
            "sources": np.array([name for name, _ in self.sources]),
            "values": self.posterior.values,
        }
        content |= {f"source_{i}": _file_of(predictor) for i, (_, predictor) in enumerate(self.sources)}
        content |= {f"basis_{field.name}": getattr(self.basis, field.name) for field in fields(SourceBasis)}
        content |= {f"samples_{field.name}": getattr(self.posterior.samples, field.name) for field in fields(Features)}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **content)
        write_whole(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote; the posterior is worked out again from the samples.

        Raises:
            NasError: the file, or a predictor in it, is damaged.
        """
        content = read_arrays(path)
        try:
            space, decisions = str(content["space"]), str(content["decisions"])
            calibration = Calibration(tuple(content["quantiles"].tolist()))
            sources = [(str(name), _predictor_in(content[f"source_{i}"])) for i, name in enumerate(content["sources"])]
            arrays: dict[str, Any] = {field.name: content[f"basis_{field.name}"] for field in fields(SourceBasis)}
            samples = Features(**{field.name: content[f"samples_{field.name}"] for field in fields(Features)})
            arrays |= {name: float(arrays[name]) for name in ("counts_norm", "spread")}
            basis = SourceBasis(**arrays)
            _check_shapes(basis, samples, len(sources))
            posterior = TransferPosterior(samples, content["values"], basis.spread)
        except KeyError as error:
            raise NasError(f"{path}: no array {error}") from None
        except (ValueError, TypeError, AttributeError, np.linalg.LinAlgError, NasError) as error:
            raise NasError(f"{path}: {error}") from None
        return cls(space, decisions, sources, basis, posterior, calibration)


def _check_shapes(basis: SourceBasis, samples: Features, sources: int) -> None:
    """Raise ValueError where an array has not the shape that the others ask for, or is not finite."""
    n, blocks = len(samples.level), len(basis.counts)
    shapes = {
        "basis_latency": (basis.latency, (sources,)), "basis_slopes": (basis.slopes, (sources,)),
        "basis_counts": (basis.counts, (blocks,)), "basis_counts_norm": (np.array(basis.counts_norm), ()),
        "basis_spread": (np.array(basis.spread), ()), "samples_level": (samples.level, (n,)),
        "samples_common": (samples.common, (n, 1)), "samples_departures": (samples.departures, (n, sources)),
        "samples_blocks": (samples.blocks, (n, blocks)),
    }  # fmt: skip
    for name, (array, shape) in shapes.items():
        if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite numbers of shape {shape}, not {array.dtype} {array.shape}")


def _file_of(predictor: LatencyPredictor) -> npt.NDArray[np.uint8]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictor"
        predictor.write(path)
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def _predictor_in(content: npt.NDArray[Any]) -> LatencyPredictor:
    data = content.tobytes()
    with tempfile.TemporaryDirectory() as folder:
        # NPZ files are ZIP archives; every other predictor's file is JSON.
        path = Path(folder) / ("source.npz" if data.startswith(b"PK") else "source.json")
        path.write_bytes(data)
        return read_predictor(path)
