"""Seconds of inference on an image on two other GPUs, of the families that timm timed there."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from pycls_zoo import DATA

#: patterns of the names, without tags of weights, of the members of a family
FAMILIES = {
    "EfficientNet": r"efficientnet_b[0-7]|tf_efficientnet_b[67]",
    "RegNetX": r"regnetx_\d{3}",
    "RegNetY": r"regnety_\d{3}",
    "ResNet": r"resnet(18|34|50|101|152)",
    "MobileNetV2": r"mobilenetv2_\d{3}",
    "ConvNeXt": r"convnext_(atto|femto|pico|nano|tiny|small|base|large|xlarge)",
}
FILES = {
    "RTX 3090": "timm-benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv",
    "RTX 4090": "timm-benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv",
}
#: timm rounds counts to 0.01e9, which says nothing of smaller networks
LEAST_GMACS = 0.1


def measured(gpu: str) -> pd.DataFrame:
    """Return one row a network and resolution: family, flops (multiply-adds), acts, seconds of one image."""
    table = pd.read_csv(DATA / "published" / FILES[gpu])
    names = table["model"].str.split(".").str[0]
    matches = [names.map(re.compile(pattern).fullmatch).notna() for pattern in FAMILIES.values()]
    table["family"] = np.select(matches, list(FAMILIES), default="")
    table = table[(table["family"] != "") & (table["infer_gmacs"] > LEAST_GMACS)]
    # The same network with other weights is no other network.
    table = table.drop_duplicates(["family", "infer_gmacs", "infer_macts"])
    return pd.DataFrame(
        {
            "family": table["family"],
            "flops": 1e9 * table["infer_gmacs"],
            "acts": 1e6 * table["infer_macts"],
            "seconds": 1 / table["infer_samples_per_sec"],
        }
    ).reset_index(drop=True)
