"""The report is one file that loads nothing, carries its data unharmed and cannot be broken out of."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import re
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.report import (
    Block,
    Column,
    Constraint,
    Objective,
    Point,
    Progress,
    Provenance,
    PublishedNetwork,
    ReportData,
    RunInfo,
    SpaceInfo,
    TargetInfo,
    render,
)

CHROMIUM = Path("/usr/bin/chromium")
READY = '<html lang="en" data-ready="true">'  # drawn to the end; an error or a blocked request would add data-error
HOSTILE = "</script><script>document.documentElement.dataset.pwned = 1</script><b data-pwned></b><!-- \u2028 &amp; \"'"
CHANNELS, SIZES = (16, 24, 40, 80, 112, 192, 320), (112, 56, 28, 14, 14, 7, 7)


# ---------------------------------------------------------------- a made-up run


def mock_blocks(genes: Sequence[tuple[int, int, int, int]]) -> list[Block]:
    """Seven MobileNet-like stages of (expand, kernel, layers, se), each as its first block and the rest."""
    blocks = [
        Block(
            stage="stem",
            block="conv_k3_s2_c32",
            in_="224×224×3",
            out="112×112×32",
            repeats=1,
            params=928,
            macs=10.8e6,
            latency_ms=0.9,
        )
    ]
    wide = 32
    for stage, ((expand, kernel, layers, se), out, size) in enumerate(zip(genes, CHANNELS, SIZES, strict=True), 1):
        for first, repeats in ((True, 1), (False, layers - 1)):
            if not repeats:
                continue
            cin = wide if first else out
            mid = cin * expand
            params = repeats * (mid * (cin * (expand > 1) + kernel**2 + out) + se * mid * cin // 2)
            macs = repeats * size**2 * mid * (cin * (expand > 1) + kernel**2 + out)
            name = f"ir_k{kernel}_s{1 + (first and stage in (2, 3, 4, 6))}_e{expand}_c{out}{'_se' * se}"
            blocks.append(
                Block(
                    stage=f"stage{stage}",
                    block=name,
                    in_=f"{size}×{size}×{cin}",
                    out=f"{size}×{size}×{out}",
                    repeats=repeats,
                    params=params,
                    macs=macs,
                    latency_ms=macs / 30e6 * (1 + 0.3 * se + 0.06 * kernel),
                )
            )
        wide = out
    blocks.append(
        Block(
            stage="head",
            block="conv_k1_s1_c1280",
            in_="7×7×320",
            out="1×1×1280",
            repeats=1,
            params=412_160,
            macs=20.1e6,
            latency_ms=0.8,
        )
    )
    return blocks


def mock_network(rng: random.Random) -> tuple[list[tuple[int, int, int, int]], dict[str, float]]:
    genes = [(rng.choice((1, 4, 6)), rng.choice((3, 5)), rng.randint(1, 4), rng.randint(0, 1)) for _ in CHANNELS]
    blocks = mock_blocks(genes)
    macs = sum(block.macs for block in blocks)
    top1 = 79.5 - 9 * math.exp(-macs / 260e6) - 3 + 0.25 * sum(gene[3] for gene in genes) + rng.gauss(0, 0.35)
    latency = sum(block.latency_ms or 0 for block in blocks)
    return genes, {"top1": top1, "latency_ms": latency, "macs": macs, "params": sum(block.params for block in blocks)}


def mock_decisions(genes: Sequence[tuple[int, int, int, int]]) -> dict[str, int]:
    names = ("expand", "kernel", "layers", "se")
    return {
        f"stage{stage}.{name}": value
        for stage, gene in enumerate(genes, 1)
        for name, value in zip(names, gene, strict=True)
    }


def mock_report(trials: int = 3000, seed: int = 0) -> ReportData:
    rng = random.Random(seed)
    networks = [mock_network(rng) for _ in range(trials)]
    best, front = -math.inf, []
    for genes, metrics in sorted(networks, key=lambda item: item[1]["latency_ms"]):
        if metrics["top1"] > best:
            best = metrics["top1"]
            front.append((genes, metrics))
    points = [
        Point(
            index=index,
            code="-".join("".join(map(str, gene)) for gene in genes),
            metrics=metrics,
            intervals={
                "top1": (metrics["top1"] - 0.45, metrics["top1"] + 0.4),
                "latency_ms": (metrics["latency_ms"] * 0.97, metrics["latency_ms"] * 1.03),
            },
            decisions={"resolution": 224, **mock_decisions(genes)},
            blocks=mock_blocks(genes),
            export=f"nas export runs/pixel4-nsga2#{index} --format onnx",
        )
        for index, (genes, metrics) in enumerate(front, 1)
    ]
    published = []
    for name, top1, latency, claimed in (
        ("MobileNetV2 1.0", 72.9, 12.2, 72.0),
        ("MnasNet-A1", 75.1, 15.6, 75.2),
        ("MobileNetV3-Large", 75.4, 11.1, 75.2),
        ("EfficientNet-B0", 76.6, 24.9, 77.1),
        ("ProxylessNAS-mobile", 74.4, 16.1, 74.6),
    ):
        over = [
            (point.index, metrics["top1"] - top1, latency - metrics["latency_ms"])
            for point, (_, metrics) in zip(points, front, strict=True)
            if metrics["top1"] >= top1 and metrics["latency_ms"] <= latency
        ]
        text = "on the front: no network found is both faster and more accurate"
        if over:
            text = "dominated by #{}: +{:.1f} points, {:.1f} ms faster".format(*over[-1])
        published.append(
            PublishedNetwork(
                name=name,
                code="",
                metrics={"top1": top1, "latency_ms": latency, "macs": latency * 17e6, "params": 5.3e6},
                intervals={"top1": (top1 - 0.4, top1 + 0.4)},
                published={"top1": claimed},
                source=f"{name} paper, table 2",
                dominated_by=[index for index, _, _ in over],
                text=text,
            )
        )

    def curve(n: int, limit: float, pace: float) -> Progress:
        gap = math.exp(-n / pace)
        return Progress(evaluations=n, hypervolume=limit - 0.25 * gap, best=68 + 10 * limit - 2 * gap)

    steps = range(100, trials + 1, 100)
    return ReportData(
        run=RunInfo(
            name="mbconv on pixel4, nsga2",
            created="2026-05-04T13:22:07+00:00",
            version="0.1.0",
            command="nas search --space mbconv --target pixel4 --strategy nsga2 --max-latency 20ms --seed 0",
        ),
        space=SpaceInfo(name="mbconv", size=104_213_337_600, decisions=28),
        target=TargetInfo(
            name="pixel4",
            description="Snapdragon 855, TFLite 2.8, float32, 1 thread",
            source="look-up table measured on the device, 2022",
            held_out="MAPE 2.9 %, Kendall tau 0.96 on 200 networks",
        ),
        objectives=[
            Objective(
                metric="top1",
                label="ImageNet top-1",
                unit="%",
                direction="max",
                origin="predicted",
                note="surrogate, held-out MAE 0.3, Kendall tau 0.93",
            ),
            Objective(
                metric="latency_ms",
                label="Pixel 4 latency",
                unit="ms",
                direction="min",
                origin="predicted",
                note="sum of measured blocks",
            ),
        ],
        columns=[
            Column(metric="top1", label="top-1", unit="%", digits=2),
            Column(metric="latency_ms", label="latency", unit="ms", digits=1),
            Column(metric="params", label="params", unit="M", digits=2, scale=1e6),
            Column(metric="macs", label="MACs", unit="M", digits=0, scale=1e6),
        ],
        constraints=[Constraint(metric="latency_ms", label="latency", unit="ms", upper=20.0)],
        front=points,
        cloud={name: [metrics[name] for _, metrics in networks] for name in ("top1", "latency_ms", "macs", "params")},
        history=[curve(n, 0.9, 500) for n in steps],
        baseline_history=[curve(n, 0.84, 900) for n in steps],
        published=published,
        provenance=[
            Provenance(what="top1", origin="predicted", text="surrogate, 90 % interval", source="data/surrogate.csv"),
            Provenance(
                what="latency_ms",
                origin="predicted",
                text="sum over blocks of a look-up table measured on the device",
                source="hardware_profiles/pixel4",
            ),
            Provenance(what="params", origin="computed", text="exact count over the blocks", source="nas.cost"),
            Provenance(what="macs", origin="computed", text="multiply-adds, SE included", source="nas.cost"),
            Provenance(
                what="published accuracies",
                origin="published",
                text="as stated by the authors, who use recipes of their own",
                source="the papers named above",
            ),
        ],
    )


# ---------------------------------------------------------------- reading the file as a browser would


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
        report, run=run, target=None, objectives=[objective], front=[point], cloud={}, published=[known], **fewer
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
