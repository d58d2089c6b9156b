"""What the terminal shows while a supernet is trained fits into it."""

from __future__ import annotations

from typing import Any

import pytest

from nas.cli.oneshot import fit_bar, live_lines
from nas.strategies.oneshot.fit import FitProgress

RECORD: dict[str, Any] = {
    "epoch": 3, "seconds": 2.0, "train_loss": 1.2345, "train_accuracy": 0.789, "architecture_accuracy": 0.766,
    "entropy": 0.878, "skip_share": 0.25, "expected_latency_ms": 20.33, "eigenvalue": 0.2499, "derived": "a" * 200,
    "weights": [[0.5, 0.5]],
}  # fmt: skip


def after(record: dict[str, Any] | None, epoch: int = 4, step: int = 0) -> FitProgress:
    return FitProgress(epoch, step, epochs=6, steps=5, record=record)


def test_figures_at_80_columns() -> None:
    figures, derived = live_lines(after(RECORD), 80)
    assert figures == "loss 1.234 · acc 78.9/76.6 % · entropy 88 % · skip 25 % · eigenvalue 0.25"
    assert derived == f"expected latency 20.33 ms predicted · derived {'a' * 33}…"


def test_what_is_counted_is_not_called_predicted() -> None:
    _, network = live_lines(after(RECORD | {"expected_macs": 2.5e6, "derived": None}), 120)
    assert network == "expected latency 20.33 ms predicted · expected MACs 2.5 M"


@pytest.mark.parametrize("width", [1, 8, 20, 40, 79, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in live_lines(after(RECORD), width))


def test_what_is_not_recorded_is_not_shown() -> None:
    assert live_lines(after(None)) == []
    sampled = {"epoch": 0, "train_loss": 2.0, "skip_share": None, "entropy": float("nan"), "derived": None}
    assert live_lines(after(sampled)) == ["loss 2.000"]


def test_the_bar_ends_where_the_steps_end(capfd: pytest.CaptureFixture[str]) -> None:
    with fit_bar(enabled=True) as on_progress:
        assert on_progress is not None
        # Resumed in the fifth of six epochs.
        for epoch in (4, 5):
            for step in range(5):
                on_progress(after(RECORD, epoch, step))
    out, err = capfd.readouterr()
    assert out == ""
    assert "supernet, epoch 6 of 6" in err
    assert "100%" in err
    assert "loss 1.234" in err


def test_half_of_the_steps_are_half_of_the_bar(capfd: pytest.CaptureFixture[str]) -> None:
    with fit_bar(enabled=True) as on_progress:
        assert on_progress is not None
        on_progress(after(None, epoch=2, step=4))
    assert " 50%" in capfd.readouterr().err


def test_no_bar_where_none_is_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    with fit_bar(enabled=False) as on_progress:
        assert on_progress is None
    assert capfd.readouterr() == ("", "")
