"""What a search spent its budget on, in words."""

from __future__ import annotations

import numpy as np

from nas.search.run import Run
from nas.search.store import FULL


def spent_text(run: Run) -> str:
    """Say how much of its budget a search has spent; with a scheduler, what became of the networks."""
    history, problem, budget = run.history(), run.problem, run.config.budget
    if run.config.scheduler == "none":
        return f"{len(history):,} of {budget:,} evaluations"
    epochs = np.where(history.fidelities == FULL, problem.full_epochs, history.fidelities)
    continued = history.continued
    parts = []
    for fidelity in problem.fidelities:
        for verb, chosen in (("started at", ~continued), ("continued at", continued)):
            if count := int(((epochs == fidelity) & chosen).sum()):
                parts.append(f"{count:,} {verb} {fidelity}")
    stopped = int((~continued).sum() - (history.fidelities == FULL).sum())
    became = ", ".join([*parts, f"{stopped:,} stopped"])
    return f"{epochs.sum():,} of {budget * problem.full_epochs:,} epochs; networks: {became}"
