"""Seconds of training on an image on one V100, of the 36 networks that pycls timed."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("NAS_DATA", ROOT.parent / "shared" / "data"))
#: GPUs of a measurement; `train_fw_bw_time` is for one mini-batch spread over them
GPUS = 8
#: images of a mini-batch over all GPUs, MODEL_ZOO.md of pycls, 4 September 2020; RegNets by their size
REGNET_BATCH = {
    "200MF": 1024, "400MF": 1024, "600MF": 1024, "800MF": 1024, "1.6GF": 1024, "3.2GF": 512, "4.0GF": 512,
    "6.4GF": 512, "8.0GF": 512, "12GF": 512, "16GF": 512, "32GF": 256,
}  # fmt: skip
BATCH = {
    "RegNetY-16GF": 256,
    "ResNet-50": 256, "ResNet-101": 256, "ResNet-152": 256,
    "ResNeXt-50": 256, "ResNeXt-101": 256, "ResNeXt-152": 256,
    "EfficientNet-B0": 256, "EfficientNet-B1": 256, "EfficientNet-B2": 256, "EfficientNet-B3": 256,
    "EfficientNet-B4": 128, "EfficientNet-B5": 64,
}  # fmt: skip


def measured() -> pd.DataFrame:
    """Return one row a network: model, family, batch, flops, acts, params, seconds of one image on one GPU."""
    table = pd.read_csv(DATA / "published" / "pycls_zoo.csv")
    split = table["model"].str.split("-", expand=True)
    table["family"] = split[0]
    table["batch"] = table["model"].map(BATCH).fillna(split[1].map(REGNET_BATCH)).astype(int)
    table["seconds"] = table["train_fw_bw_time"] / (table["batch"] / GPUS)
    return table[["model", "family", "batch", "flops", "acts", "params", "seconds"]]
