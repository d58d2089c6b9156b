"""Networks of a front measured on the real machine, beside what was predicted of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.hardware import MeasuringSetup
from nas.search.device import DeviceMetric
from nas.search.problem import Problem
from nas.search.run import Run

VERIFIED = "verified.csv"


def check_verifiable(problem: Problem) -> None:
    """Refuse to promise a verification that cannot be made.

    Raises:
        NasError: no target of the search was measured by `nas profile measure`.
    """
    _measurable(problem)


def verify_front(run: Run) -> pd.DataFrame:
    """Measure `config.verify` points of the front, the best in the first objective first, the others evenly spread.

    Returns what `verified` returns, and keeps it in the run. What is kept is not measured again.

    Raises:
        NasError: the machine cannot be reached, or a network cannot be run on it; the search itself is kept.
    """
    from nas.hardware.measuring.measure import verify

    kept = verified(run)
    if kept is not None:
        return kept
    device, setup = _measurable(run.problem)
    points = _chosen(run)
    measured = verify([run.problem.space.spec(str(code)) for code in points["code"]], setup)
    name = device.name
    frame = pd.DataFrame(
        {
            "point": points.index, "code": points["code"].to_numpy(), "predicted_ms": points[name].to_numpy(),
            "low_ms": points[f"{name}_low"].to_numpy(), "high_ms": points[f"{name}_high"].to_numpy(),
            "measured_ms": np.round(measured, 4), "target": device.target,
        }
    )  # fmt: skip
    frame["error_percent"] = (100 * (frame["predicted_ms"] / frame["measured_ms"] - 1)).round(2)
    run.write(VERIFIED, frame.to_csv(index=False))
    return frame


def verified(run: Run) -> pd.DataFrame | None:
    """Return what was measured of a run's front, None where nothing was.

    One row a network: point, code, predicted_ms with the ends low_ms and high_ms of its 90 % interval, measured_ms,
    target, and error_percent, by how much the prediction is above (+) or below (-) what was measured.

    Raises:
        NasError: the file is damaged.
    """
    path = run.path / VERIFIED
    if not path.is_file():
        return None
    try:
        frame = pd.read_csv(path, dtype={"code": str})
        return frame.astype({"predicted_ms": float, "measured_ms": float, "error_percent": float, "point": int})
    except (OSError, ValueError, KeyError) as error:
        raise NasError(f"{path} is damaged: {error}; delete it to measure again by `nas resume`") from None


def verified_text(row: pd.Series) -> str:
    """Say what was predicted and what was measured of a network, and how far they are apart."""
    inside = "inside" if row["low_ms"] <= row["measured_ms"] <= row["high_ms"] else "outside"
    return (
        f"latency measured {row['measured_ms']:.2f} ms, predicted {row['predicted_ms']:.2f} ms on {row['target']} "
        f"({row['error_percent']:+.1f} %), {inside} its 90 % interval"
    )


def _chosen(run: Run) -> pd.DataFrame:
    front, first = run.front, run.problem.objectives[0]
    ordered = front.sort_values(first.metric, ascending=not first.maximise, kind="stable")
    count = min(run.config.verify, len(ordered))
    places = np.unique(np.linspace(0, len(ordered) - 1, count).round().astype(int))
    return ordered.iloc[places]


def _measurable(problem: Problem) -> tuple[DeviceMetric, MeasuringSetup]:
    """The first predicted latency on a target that says how it was measured."""
    for target in problem.targets:
        for device in problem.devices:
            if device.target == target.name and device.fitted.metric == "latency_ms" and target.profile.measuring:
                return device, target.profile.measuring
    named = ", ".join(target.name for target in problem.targets) or "none is given"
    raise NasError(
        f"--verify measures on the machine that a target was measured on by `nas profile measure`; targets of this "
        f"search: {named}, of which none was"
    )
