"""The page of a one-shot search shows what was recorded, says what each number is, and cannot be broken out of."""

from __future__ import annotations

import base64
import hashlib
import html
import inspect
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_html import HOSTILE, READY, Page, dump_dom, root

import nas
from nas.data.dataset import Dataset
from nas.errors import NasError
from nas.report.oneshot import PAGE, RELOAD, render, write_page
from nas.report.oneshot_facts import (
    RATIO,
    WINDOW,
    Panel,
    Stretch,
    architecture_weights,
    duration,
    panels,
    sharpened_epochs,
    spans,
    stretches,
)
from nas.strategies.oneshot.base import CostTerm
from nas.strategies.oneshot.bilevel import has_sharpened
from nas.strategies.oneshot.fit import Fit
from nas.strategies.oneshot.methods import DARTS
from nas.supernet.checkpoint import RECORDS
from nas.supernet.nasbench201 import NasBench201Supernet
from nas.supernet.record import FOLDER
from nas.supernet.supernet import Site

OPERATIONS = ("none", "skip_connect", "conv")
EDGES = (Site("node1.from0", OPERATIONS), Site("node2.from0", OPERATIONS))
MIXED = (Site("kernel", ("3", "5", "7")), Site("depth", ("1", "2")))


def record(epoch: int, **values: Any) -> dict[str, Any]:
    weights = [[0.2, 0.3, 0.5], [0.6 - 0.1 * epoch, 0.1, 0.3 + 0.1 * epoch]]
    usual = {
        "epoch": epoch, "seconds": 30.0, "train_loss": 2.0 - epoch, "train_accuracy": 0.25, "entropy": 0.5,
        "skip_share": 0.125, "derived": "a", "weights": weights,
    }  # fmt: skip
    return usual | values


def save(folder: Path, records: list[dict[str, Any]]) -> Path:
    source = folder / FOLDER / RECORDS
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return folder


def named(found: list[Panel]) -> dict[str, Panel]:
    return {panel.title: panel for panel in found}


def data_of(text: str) -> dict[str, Any]:
    return Page(text).data


# ---------------------------------------------------------------- curves


def test_curves_are_what_was_recorded_in_the_units_of_their_axes() -> None:
    records = [
        record(0, expected_macs=3e6, derived_macs=2e6),
        record(1, expected_macs=1e6, derived_macs=1e6, architecture_loss=1.5, architecture_accuracy=0.75),
    ]
    found = named(panels(records))
    loss, accuracy, cost = found["Loss"], found["Accuracy of the supernet"], found["Expected MACs"]
    assert [(s.name, list(s.epochs), list(s.values)) for s in loss.series] == [
        ("training", [1, 2], [2.0, 1.0]), ("architecture", [2], [1.5]),
    ]  # fmt: skip
    assert [list(s.values) for s in accuracy.series] == [[25.0, 25.0], [75.0]]
    assert (cost.unit, [list(s.values) for s in cost.series]) == ("M", [[3.0, 1.0], [2.0, 1.0]])
    certainty = found["Certainty and skip connections"]
    assert [list(s.values) for s in certainty.series] == [[50.0, 50.0], [12.5, 12.5]]
    assert "Dominant eigenvalue" not in found


def test_accuracies_of_other_networks_are_drawn_beside_those_of_training() -> None:
    """The sandwich rule records that of the smallest network as well."""
    found = named(panels([record(0, smallest_accuracy=0.125)]))
    series = found["Accuracy of the supernet"].series
    assert [(each.name, list(each.values)) for each in series] == [("training", [25.0]), ("smallest", [12.5])]
    assert "smallest accuracy" not in found


def test_every_plot_says_what_its_numbers_are() -> None:
    records = [record(0, expected_latency_ms=3.0, expected_macs=1e6, eigenvalue=0.1, eigenvalue_error=0.01, reward=1.0)]
    notes = {panel.title: panel.note for panel in panels(records)}
    assert notes["Loss"].startswith("Measured on the batches")
    assert "predicted" in notes["Expected latency"]
    assert notes["Expected latency"].endswith("The predictor: its error is in nas show target NAME.")
    told = {panel.title: panel.note for panel in panels(records, {"latency_ms": "held-out error 2.7 %"})}
    assert told["Expected latency"].endswith("The predictor: held-out error 2.7 %.")
    assert "computed" in notes["Expected MACs"]
    assert notes["Dominant eigenvalue"].startswith("Measured on one batch")
    assert "1.33 times" in notes["Dominant eigenvalue"]
    assert notes["reward"] == "As the strategy recorded it (reward)."


def test_what_is_null_infinite_or_no_number_is_left_out() -> None:
    records = [record(0, skip_share=None, train_loss=float("inf"), entropy="high", flag=True)]
    assert set(named(panels(records))) == {"Accuracy of the supernet"}
    assert panels([]) == []


def test_the_criterion_is_that_which_ends_a_search() -> None:
    defaults = inspect.signature(has_sharpened).parameters
    assert (defaults["window"].default, defaults["ratio"].default) == (WINDOW, RATIO)


def test_epochs_that_meet_the_criterion_of_darts_es() -> None:
    """Five eigenvalues of 1, then 1.5: their means pass 4/3 once four of the last five are 1.5: 7/5 > 4/3 > 6.5/5."""
    values = [1.0] * 5 + [1.5] * 8
    records = [record(i, eigenvalue=value) for i, value in enumerate(values)]
    # After ten epochs 1.5 over 1; after eleven 1.5 over 1.1, 1.36 times; after twelve 1.5 over 1.2, 1.25 times.
    assert sharpened_epochs(records) == [10, 11]
    note = named(panels(records))["Dominant eigenvalue"].note
    assert "now 1.15 times; met after epochs 10 to 11" in note
    assert "known from 10 eigenvalues on, 4 so far" in named(panels(records[:4]))["Dominant eigenvalue"].note


def test_eigenvalues_of_some_epochs_keep_their_epochs_and_errors() -> None:
    records = [record(0), record(1, eigenvalue=0.5, eigenvalue_error=0.02), record(2), record(3, eigenvalue=0.7)]
    (series,) = named(panels(records))["Dominant eigenvalue"].series
    assert (list(series.epochs), list(series.values), list(series.errors)) == ([2, 4], [0.5, 0.7], [0.02, 0.0])


# ---------------------------------------------------------------- the derived network and words


def test_stretches_of_the_same_network() -> None:
    codes = ["a", "a", "b", None, "b", "a"]
    found = stretches([record(i, derived=code) for i, code in enumerate(codes)])
    assert found == [Stretch(1, 2, "a"), Stretch(3, 3, "b"), Stretch(5, 5, "b"), Stretch(6, 6, "a")]


@pytest.mark.parametrize(("seconds", "text"), [(1.84, "1.8 s"), (45, "45 s"), (720, "12 min"), (12000, "3 h 20 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_spans() -> None:
    assert spans([3, 7, 8, 9, 11, 12]) == "3, 7 to 9, 11 to 12"


# ---------------------------------------------------------------- architecture weights


def test_weights_arrive_unchanged() -> None:
    records = [record(0), record(1, weights=None), record(2)]
    found = data_of(render(records, EDGES, "t", ""))["weights"]
    assert found["epochs"] == [1, 3]
    assert found["values"] == [records[0]["weights"], records[2]["weights"]]
    assert found["operations"] == [list(OPERATIONS)] * 2


def test_weights_that_never_change_are_drawn_once() -> None:
    text = render([record(i, weights=[[0.2, 0.3, 0.5]] * 2) for i in range(4)], EDGES, "t", "")
    found = data_of(text)["weights"]
    assert (found["constant"], found["epochs"]) == (True, [4])
    assert 'id="epoch"' not in text


def test_an_epoch_that_diverged_is_left_out() -> None:
    nowhere = float("nan")
    records = [record(0), record(1, weights=[[0.2, 0.3, 0.5], [nowhere] * 3])]
    assert list(architecture_weights(records, EDGES, "f")) == [1]


@pytest.mark.parametrize("weights", [[[0.5, 0.5]] * 2, [[0.2, 0.3, 0.5]], [1, 2], [["a", "b", "c"]] * 2, "many"])
def test_weights_of_another_supernet_are_refused(tmp_path: Path, weights: Any) -> None:
    folder = save(tmp_path, [record(0), record(1, weights=weights)])
    with pytest.raises(NasError, match=r"epochs\.jsonl, line 2: the weights are not of the 2 sites"):
        write_page(folder, EDGES, "t", "")


def test_decisions_that_differ_are_coloured_from_the_first_choice_to_the_last() -> None:
    records = [record(0, weights=[[0.2, 0.3, 0.5], [0.4, 0.6]]), record(1, weights=[[0.1, 0.3, 0.6], [0.4, 0.6]])]
    found = data_of(render(records, MIXED, "t", ""))["weights"]
    last = len(found["colours"]) - 1
    assert found["classes"] == [[0, last // 2, last], [0, last]]


# ---------------------------------------------------------------- the file


def test_the_page_reloads_itself_until_the_search_has_ended(tmp_path: Path) -> None:
    folder = save(tmp_path, [record(i) for i in range(12)])
    refresh = ("meta", {"http-equiv": "refresh", "content": str(RELOAD)})
    running = write_page(folder, EDGES, "darts", "", epochs=50).read_text(encoding="utf-8")
    assert refresh in Page(running).elements
    assert "<b>Running</b>: epoch 12 of 50" in running
    # 38 epochs of 30 s
    assert "about 19 min to go" in running
    path = write_page(folder, EDGES, "darts", "stopped after epoch 12: too many skips", epochs=50)
    ended = path.read_text(encoding="utf-8")
    assert path == folder / FOLDER / PAGE
    assert 'http-equiv="refresh"' not in ended
    assert "<b>Ended</b>: stopped after epoch 12: too many skips" in ended


def test_before_the_first_epoch_is_over_the_page_says_so() -> None:
    text = render([], EDGES, "t", "", epochs=50)
    assert "epoch 0 of 50 · the first epoch is not over yet" in text
    assert data_of(text)["panels"] == []


def test_latest_values_are_those_of_the_last_epoch() -> None:
    text = render([record(0), record(1, train_accuracy=0.5, expected_macs=2.5e6, derived="b")], EDGES, "t", "")
    shown = re.sub(r"<[^>]+>|\s+", " ", text.split('id="kpis"')[1].split("</section>")[0])
    shown = " ".join(shown.split())
    for words in ("training images 50.0 % measured", "Expected MACs 2.5 M computed", "changed epoch 2 0 epochs ago"):
        assert words in shown


def test_a_page_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path, [record(0)])
    path = write_page(folder, EDGES, "first", "")
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NasError, match="No space left"):
        write_page(folder, EDGES, "second", "")
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([RECORDS, PAGE])


def test_nothing_is_loaded_from_elsewhere_and_only_its_scripts_run() -> None:
    page = Page(render([record(0)], EDGES, "t", ""))
    loading = ("src", "href", "srcset", "action", "data")
    assert [value for _, each in page.elements for name, value in each.items() if name in loading] == ["data:,"]
    policy = next(each["content"] or "" for _, each in page.elements if "Policy" in (each.get("http-equiv") or ""))
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.raw["script"][1:]]
    assert policy.split("script-src ")[1].split() == [f"'sha256-{digest}'" for digest in digests]


def hostile_page() -> str:
    names = tuple(Site(HOSTILE + site.name, tuple(HOSTILE + name for name in site.operations)) for site in MIXED)
    weights = [[[0.2, 0.3, 0.5], [0.4, 0.6]], [[0.1, 0.3, 0.6], [0.4, 0.6]]]
    strange = {HOSTILE: 1.0, "expected_" + HOSTILE: 2.0}
    records = [record(i, weights=each, derived=HOSTILE, **strange) for i, each in enumerate(weights)]
    return render(records, names, HOSTILE, HOSTILE)


def test_hostile_text_stays_text() -> None:
    page = Page(hostile_page())
    assert not [tag for tag, each in page.elements if tag == "b" and "data-pwned" in each]
    assert len(page.raw["script"]) == 3
    assert page.data["weights"]["sites"][0] == HOSTILE + "kernel"
    assert html.escape(HOSTILE) in hostile_page()


def test_a_page_of_a_long_search_is_written_in_a_moment(tmp_path: Path) -> None:
    """About 40 ms of one core; drawn in Python it would take seconds. The bound leaves room for slower machines."""
    rng = np.random.default_rng(0)
    sites = tuple(Site(f"normal.node{i}", tuple("abcdefgh")) for i in range(60))
    rows = [rng.dirichlet(np.ones(8), 60).round(6).tolist() for _ in range(50)]
    folder, times = save(tmp_path, [record(i, weights=row) for i, row in enumerate(rows)]), []
    for _ in range(4):
        begun = time.process_time()
        write_page(folder, sites, "t", "")
        times.append(time.process_time() - begun)
    assert min(times) < 0.2


# ---------------------------------------------------------------- of a real search


def test_names_are_those_that_the_training_records(tmp_path: Path) -> None:
    """A tiny DARTS with a cost: each plot that there can be is there, under its own heading."""
    settings = DARTS.Settings(epochs=1, batch_size=32, images=64, image_size=8)
    data = Dataset.load("digits", seed=0, image_size=8, images=64, architecture=0.5)
    options = DARTS.candidate_options(settings)
    supernet = NasBench201Supernet(
        nas.space("nasbench201"), options, channels=4, cells=1, num_classes=10, in_channels=1, resolution=8
    )
    macs = np.array([block.macs for block in supernet.vocabulary.blocks], dtype=np.float64)
    cost = CostTerm("macs", lambda weights: supernet.expected(macs, weights), 1e8, 0.1)
    folder = tmp_path / FOLDER
    folder.mkdir()
    train, architecture = data.batches("train", 32, seed=0), data.batches("architecture_validation", 32, seed=1)
    with torch.random.fork_rng():
        fit = Fit(DARTS(supernet, settings, cost, 0), train, architecture, folder, 0)
        fit.run()
    titles = [panel.title for panel in panels(fit.records)]
    assert titles == [
        "Loss", "Accuracy of the supernet", "Certainty and skip connections", "Expected MACs", "Dominant eigenvalue"
    ]  # fmt: skip
    text = write_page(tmp_path, supernet.sites, "darts", fit.ended, epochs=1).read_text(encoding="utf-8")
    found = data_of(text)
    assert found["weights"]["sites"] == [site.name for site in supernet.sites]
    assert found["weights"]["values"] == [each["weights"] for each in fit.records]
    assert all(each["derived"] in text for each in fit.records)


# ---------------------------------------------------------------- in a browser


def test_browser_draws_every_operation_of_every_site(tmp_path: Path) -> None:
    records = [record(i, eigenvalue=0.1 * i, eigenvalue_error=0.01) for i in range(12)]
    dom = dump_dom(render(records, EDGES, "darts", "all epochs are over"), tmp_path)
    assert root(dom) == READY
    bars = dom.split('id="weights"')[1]
    assert bars.count('<g class="point"') == len(EDGES) * len(OPERATIONS)
    assert "node2.from0" in bars
    assert '<output id="chosen" for="epoch">12</output>' in dom


@pytest.mark.parametrize("kind", ["hostile", "bare"])
def test_browser_survives_the_odd_search(tmp_path: Path, kind: str) -> None:
    text = hostile_page() if kind == "hostile" else render([{"epoch": 0, "train_loss": 1.0}], EDGES, "t", "")
    # The page that runs would be loaded again and again while it is looked at.
    dom = dump_dom(re.sub(r'<meta http-equiv="refresh"[^>]*>', "", text), tmp_path)
    assert root(dom) == READY
    assert "<b data-pwned" not in dom
