"""The report is one file that loads nothing, carries its data unharmed and cannot be broken out of."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mock_run import mock_report

from nas.report import (
    Block,
    Objective,
    Point,
    ReportData,
    RunInfo,
    SpaceInfo,
    render,
)

CHROMIUM = Path("/usr/bin/chromium")
READY = '<html lang="en" data-ready="true">'  # drawn to the end; an error or a blocked request would add data-error
HOSTILE = "</script><script>document.documentElement.dataset.pwned = 1</script><b data-pwned></b><!-- \u2028 &amp; \"'"


class Page(HTMLParser):
    """Elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.inside: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self.inside = tag
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = None if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.raw[self.inside][-1] += data

    @property
    def data(self) -> dict[str, Any]:
        value = json.loads(self.raw["script"][0], parse_constant=lambda name: pytest.fail(f"not JSON: {name}"))
        assert isinstance(value, dict)
        return value


@pytest.fixture(scope="module")
def report() -> ReportData:
    return mock_report()


def as_json(data: ReportData) -> object:
    """What the page should hold, computed another way than the code under test does."""
    text = json.dumps(dataclasses.asdict(data))
    return json.loads(text.replace('"in_":', '"in":'))


def test_nothing_is_loaded_from_elsewhere(report: ReportData) -> None:
    page = Page(render(report))
    loading = ("src", "href", "srcset", "action", "data")
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in loading]
    assert links == ["data:,"]
    assert not re.search(r"@import|url\(", page.raw["style"][0])
    policy = next(
        attributes["content"] or ""
        for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_data_arrives_unchanged(report: ReportData) -> None:
    assert Page(render(report)).data == as_json(report)


def test_hostile_text_stays_text(report: ReportData) -> None:
    plain = Page(render(report))
    run = dataclasses.replace(report.run, name=HOSTILE, command=HOSTILE)
    point = dataclasses.replace(report.front[0], code=HOSTILE, decisions={HOSTILE: HOSTILE})
    data = dataclasses.replace(report, run=run, front=[point, *report.front[1:]])
    text = render(data)
    page = Page(text)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.data == as_json(data)
    assert not re.search("[<>&\u2028]", page.raw["script"][0])


def test_missing_numbers_become_null(report: ReportData) -> None:
    point = dataclasses.replace(
        report.front[0], metrics={"top1": math.nan, "latency_ms": math.inf}, intervals={"top1": (math.nan, 77.0)}
    )
    data = dataclasses.replace(report, front=[point], cloud={"top1": [1.0, math.nan]})
    found = Page(render(data)).data
    assert found["front"][0]["metrics"] == {"top1": None, "latency_ms": None}
    assert found["front"][0]["intervals"] == {"top1": [None, 77.0]}
    assert found["cloud"] == {"top1": [1.0, None]}


def test_numpy_numbers_and_huge_sizes(report: ReportData) -> None:
    decisions: Any = np.int64(28)
    cloud: Any = {"top1": np.array([1.5, np.nan], dtype=np.float32), "macs": np.array([1, 2])}
    space = SpaceInfo(name="cells", size=10**18 + 1, decisions=decisions)
    found = Page(render(dataclasses.replace(report, space=space, cloud=cloud))).data
    assert found["space"] == {"name": "cells", "size": "1000000000000000001", "decisions": 28}
    assert found["cloud"] == {"top1": [1.5, None], "macs": [1, 2]}


def test_same_data_same_bytes(report: ReportData) -> None:
    assert render(report).encode() == render(mock_report()).encode()


def test_errors_say_what_came(report: ReportData) -> None:
    with pytest.raises(ValueError, match="at least one objective"):
        render(dataclasses.replace(report, objectives=[]))
    with pytest.raises(ValueError, match="more than once: #1"):
        render(dataclasses.replace(report, front=[report.front[0]] * 2))
    with pytest.raises(ValueError, match="equally long"):
        render(dataclasses.replace(report, cloud={"top1": [1.0], "macs": []}))


# ---------------------------------------------------------------- in a browser


def dump_dom(text: str, directory: Path, fragment: str = "") -> str:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    path = directory / "report.html"
    path.write_text(text, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --virtual-time-budget=5000 --dump-dom"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={directory / 'profile'}", f"{path.as_uri()}{fragment}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def rows(dom: str) -> list[int]:
    table = dom.split('id="front-table"')[1].split("</table>")[0]
    return [int(index) for index in re.findall(r'<tr data-index="(\d+)"', table)]


def root(dom: str) -> str:
    return re.search(r"<html[^>]*>", dom).group()  # type: ignore[union-attr]


def test_browser_shows_every_row_and_follows_the_fragment(report: ReportData, tmp_path: Path) -> None:
    dom = dump_dom(render(report), tmp_path, "#point=3")
    assert root(dom) == READY
    assert rows(dom) == [point.index for point in report.front]
    assert "Network #3" in dom
    assert report.front[2].export in dom


def test_browser_survives_the_odd_run(report: ReportData, tmp_path: Path) -> None:
    """One objective, no target, no columns, missing numbers, and hostile text wherever text is shown."""
    block = Block(stage=HOSTILE, block=HOSTILE, in_=HOSTILE, out=HOSTILE, repeats=1, params=1.0, macs=1.0)
    point = Point(
        index=7,
        code=HOSTILE,
        export=HOSTILE,
        metrics={"top1": 75.0, "macs": math.nan, "params": 5e6},
        decisions={HOSTILE: HOSTILE, f"stage1.{HOSTILE}": HOSTILE},
        blocks=[block],
    )
    known = dataclasses.replace(report.published[0], name=HOSTILE, text=HOSTILE, source=HOSTILE)
    objective = dataclasses.replace(report.objectives[0], label=HOSTILE, unit=HOSTILE, note=HOSTILE)
    run = RunInfo(name=HOSTILE, created=HOSTILE, command=HOSTILE, version=HOSTILE)
    fewer: dict[str, Any] = {
        name: [] for name in ("columns", "constraints", "history", "baseline_history", "provenance")
    }
    data = dataclasses.replace(
        report, run=run, targets=[], objectives=[objective], front=[point], cloud={}, published=[known], **fewer
    )
    dom = dump_dom(render(data), tmp_path)
    assert root(dom) == READY
    assert "<b data-pwned" not in dom
    assert rows(dom) == [7]


@pytest.mark.parametrize("size", [0, 300])
def test_browser_draws_small_and_large_fronts(report: ReportData, tmp_path: Path, size: int) -> None:
    third = Objective(metric="params", label="parameters", unit="M", direction="min", origin="computed")
    objectives = [*report.objectives, third]
    front = [dataclasses.replace(report.front[i % len(report.front)], index=i + 1) for i in range(size)]
    dom = dump_dom(
        render(dataclasses.replace(report, objectives=objectives, front=front)), tmp_path, "#x=params&view=all"
    )
    assert root(dom) == READY
    assert len(rows(dom)) == size
