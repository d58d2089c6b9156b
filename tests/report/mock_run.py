"""A made-up run, realistic enough to look at."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

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
)

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
        targets=[
            TargetInfo(
                name="pixel4",
                description="Snapdragon 855, TFLite 2.8, float32, 1 thread",
                quantity="latency",
                source="look-up table measured on the device, 2022",
                held_out="MAPE 2.9 %, Kendall tau 0.96 on 200 networks",
            )
        ],
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
