"""Write the target `pixel1` from the block look-up table of ProxylessNAS: `python experiments/pixel1_latency/fit.py`.

Reads pixel1/ from the folder NAS_DATA (default ../shared/data beside the repository), writes predictor.json of the
profile, and compares the table with one whole network that its authors timed block by block.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

import nas
from nas.errors import NasError
from nas.hardware.predictors.lookup import LookupParameters, LookupPredictor, kernels
from nas.space import Block
from nas.space.block import DenseBlock, PoolBlock
from nas.space.mbconv_blocks import ConvBlock, InvertedResidualBlock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = Path(os.environ.get("NAS_DATA", ROOT.parent / "shared" / "data")) / "pixel1" / "proxylessnas_block_lut.csv"
PROFILE = ROOT / "hardware_profiles" / "pixel1"
#: half of a 90 % interval of a normal distribution, in standard deviations
NORMAL_90 = 1.645


def blocks_of(row: pd.Series) -> list[Block]:
    """Return the blocks that one row of the table is the time of."""
    size, _, channels = (int(number) for number in row["input"].split("x"))
    out = int(row["output"].split("x")[-1])
    if row["op"] == "Conv":
        return [ConvBlock(channels, out, size, kernel=3, stride=2, activation="relu6")]
    if row["op"] == "Conv_1":
        return [ConvBlock(channels, out, size, activation="relu6")]
    if row["op"] == "Logits":
        return [DenseBlock(channels, out, 1), PoolBlock(channels, channels, size)]
    block = InvertedResidualBlock(
        channels, out, size, mid_channels=channels * int(row["expand"]), kernel=int(row["kernel"]),
        stride=int(row["stride"]), activation="relu6",
    )  # fmt: skip
    if block.residual != bool(row["idskip"]):
        raise ValueError(f"{row['key']}: the residual connection does not follow from the shapes")
    return [block]


def table() -> list[dict[str, object]]:
    """Return the rows of predictor.json; "Logits" is pool and classifier: the pool is charged with the classifier."""
    rows = []
    for _, row in pd.read_csv(DATA).iterrows():
        main, *included = blocks_of(row)
        std = round(float(np.sqrt(row["var"])), 6)
        times = {"mean": round(float(row["mean"]), 6), "std": std, "count": int(row["count"])}
        rows.append({"kernels": kernels(main)} | times)
        rows += [{"kernels": kernels(block)} | times | {"mean": 0.0, "std": 0.0} for block in included]
    return rows


def compare(predictor: LookupPredictor) -> None:
    """Print the table beside the log of ProxylessNAS-Mobile, block by block, and the sum of MnasNet-B1."""
    log = pd.read_csv(HERE / "proxyless_mobile_log.csv")
    *blocks, pool, classifier = nas.network("proxylessnas_mobile").blocks
    log["table_ms"] = [measured(predictor, (block,)) for block in blocks] + [measured(predictor, (pool, classifier))]
    log["percent"] = 100 * (log["table_ms"] / log["ms"] - 1)
    print(log.round(2).to_string(index=False))
    both = log.dropna()
    print(f"{len(both)} blocks in both: table {both['table_ms'].sum():.2f} ms, log {both['ms'].sum():.2f} ms")
    spec = nas.network("mnasnet_b1")
    mean, std = predictor.predict_spec(spec)
    low, high = predictor.interval(np.array(mean), np.array(std))
    apart = NORMAL_90 * np.sqrt(sum(predictor.predict_blocks((block,))[1] ** 2 for block in spec.blocks))
    print(f"mnasnet_b1: {mean:.2f} ms, {low:.2f} to {high:.2f}; were errors independent, ±{apart:.2f}")


def measured(predictor: LookupPredictor, blocks: tuple[Block, ...]) -> float:
    """Return the time of some blocks, NaN where the table has not all of them."""
    try:
        return predictor.predict_blocks(blocks)[0]
    except NasError:
        return float("nan")


def main() -> None:
    parameters = {
        "kind": "lookup",
        "covers": "those of mbconv-proxyless at resolution 224, with 24 channels in stage 2",
        "interval_width": NORMAL_90,
        "blocks": table(),
    }
    predictor = LookupPredictor(LookupParameters.model_validate(parameters))
    rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in parameters.pop("blocks"))
    head = json.dumps(parameters, indent=1)[:-2]
    (PROFILE / "predictor.json").write_text(f'{head},\n "blocks": [\n  {rows}\n ]\n}}\n', encoding="utf-8")
    compare(predictor)


if __name__ == "__main__":
    main()
