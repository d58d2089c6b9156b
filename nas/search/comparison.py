"""Several networks side by side: what is counted, predicted and published of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.hardware import Target
from nas.search.problem import estimated_problems
from nas.search.resolve import Resolved
from nas.space import NetworkSpec
from nas.space.catalogue import published_top1


@dataclass(frozen=True)
class Comparison:
    """Networks beside one another.

    Args:
        rows: one row a network, indexed by the name it was called by: resolution, params, macs,
            peak_activation_bytes, weight_bytes; published_top1 with its source; top1 predicted by a surrogate of a
            space that holds the network, with _low and _high, and `top1_note`, what it means; latency_ms on the target
            with _low and _high, and `latency_note` where it is extrapolated or not covered. NaN where nothing is known.
        target: the target of the latencies.
    """

    rows: pd.DataFrame
    target: Target | None

    @property
    def origins(self) -> dict[str, str]:
        """What kind of number each column is."""
        computed = ("params", "macs", "peak_activation_bytes", "weight_bytes")
        kinds = dict.fromkeys(computed, "computed") | {"published_top1": "published", "top1": "predicted"}
        return kinds | ({"latency_ms": "predicted"} if self.target else {})

    @property
    def notes(self) -> list[str]:
        """What has to be known to read the predictions: their error, and where they do not hold."""
        lines = []
        if self.target is not None:
            errors = _names_by(self.rows["latency_held_out"])
            for text, names in errors.items():
                lines.append(f"Latency   predicted on {self.target.name}; {text}{f' ({names})' * (len(errors) > 1)}")
            for reason, names in _names_by(self.rows["latency_note"]).items():
                lines.append(f"          * {names}: {reason}")
        predicted = _names_by(self.rows["top1_note"]).items()
        return lines + [f"Top-1     predicted of {names}: {note}" for note, names in predicted]

    @property
    def sources(self) -> list[str]:
        """Where the published accuracies were published."""
        return [f"Top-1     published of {names}: {source}" for source, names in _names_by(self.rows["source"]).items()]


def compare(found: Sequence[Resolved], target: Target | None = None) -> Comparison:
    """Put networks side by side, in the order given.

    Raises:
        NasError: no network is given.
    """
    if not found:
        raise NasError("no network to compare; name at least one, e.g. efficientnet_b0")
    rows = [
        _known(network) | _accuracy(network.spec) | (_latency(network, target) if target else {}) for network in found
    ]
    frame = pd.DataFrame(rows, index=pd.Index([_called(network) for network in found], name="network"))
    return Comparison(frame, target)


def _names_by(texts: pd.Series) -> dict[str, str]:
    """The networks that have each of the texts, those without a text left out."""
    names: dict[str, list[str]] = {}
    for network, text in texts.items():
        if text:
            names.setdefault(str(text), []).append(str(network))
    return {text: ", ".join(networks) for text, networks in names.items()}


def _called(network: Resolved) -> str:
    if network.run is not None:
        return f"{network.run.path}#{network.point}"
    return network.spec.name


def _known(network: Resolved) -> dict[str, object]:
    cost = network.spec.cost()
    figure = published_top1(network.spec.name)
    return {
        "code": network.code,
        "resolution": network.spec.resolution,
        **{name: cost[name] for name in ("params", "macs", "peak_activation_bytes", "weight_bytes")},
        "published_top1": figure.value if figure else float("nan"),
        "source": figure.source if figure else "",
    }


def _latency(network: Resolved, target: Target) -> dict[str, object]:
    """Latency on the target; where its predictor cannot say, NaN and the reason."""
    try:
        fits = target.of(network.spec)
        if "latency_ms" not in fits:
            raise NasError(f"the target {target.name} has no latencies of it: {target.abilities}")
        fitted = fits["latency_ms"]
        mean, std = fitted.predictor.predict_spec(network.spec)
    except NasError as error:
        unknown = dict.fromkeys(("latency_ms", "latency_ms_low", "latency_ms_high"), float("nan"))
        return unknown | {"latency_note": f"not covered: {error}", "latency_held_out": ""}
    low, high = fitted.predictor.interval(np.array([mean]), np.array([std]))
    macs = sum(block.macs for block in network.spec.blocks)
    note = f"outside what was measured; valid for {fitted.fit.valid_for}" if fitted.extrapolates(macs) else ""
    return {
        "latency_ms": mean, "latency_ms_low": low[0], "latency_ms_high": high[0], "latency_note": note,
        "latency_held_out": fitted.held_out_text,
    }  # fmt: skip


def _accuracy(spec: NetworkSpec) -> dict[str, object]:
    """Top-1 by the estimator of the first space that holds the network, and what it means; NaN where none does."""
    names = ("top1", "top1_low", "top1_high")
    for problem in estimated_problems():
        assert problem.estimator is not None
        assert problem.about_estimator is not None
        try:
            code = problem.space.encode(spec)[None]
        except NasError:
            continue
        row = problem.estimator.evaluate(problem, code).iloc[0]
        return {name: row.get(name, float("nan")) for name in names} | {"top1_note": problem.about_estimator.note}
    return dict.fromkeys(names, float("nan")) | {"top1_note": ""}
