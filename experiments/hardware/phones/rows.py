"""The rows of the published tables as networks of the package and measured milliseconds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from nas.space import NetworkSpec
from search_spaces.published import NETWORKS

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("NAS_DATA", ROOT.parent / "shared" / "data"))

#: names of phone_latency.csv: the part before the width, and the network it is
_PUBLISHED = {
    "mnasnet-a1-dm": "mnasnet_a1",
    "mnasnet_": "mnasnet_b1",
    "mobilenet_v1_": "mobilenetv1",
    "mobilenet_v2_": "mobilenetv2",
    "mobilenet_v3_large_": "mobilenetv3_large",
    "mobilenet_v3_small_": "mobilenetv3_small",
}


def measured(rows: Mapping[str, object]) -> pd.DataFrame:
    """Return the rows of networks the package has: network, width, resolution, latency_ms, step_ms, one each.

    Args:
        rows: file below the data folder, and what its columns have to be.
    """
    table = pd.read_csv(DATA / str(rows["file"])).rename(columns={"cpu_threads": "threads"})
    for column, value in rows.items():
        if column != "file":
            table = table[table[column] == value]
    if "width" not in table:
        table = table.assign(**dict(zip(("model", "width"), zip(*map(_named, table.model), strict=True), strict=True)))
    table = table.rename(columns={"model": "network"}).dropna(subset="network")
    table = table.astype({"resolution": int})
    # Two pages of the TensorFlow Lite documentation print some of the same measurements; the hosted models come last.
    table = table.drop_duplicates(["network", "width", "resolution"], keep="last")
    # A number without decimals may have been rounded to it, whatever its neighbours show.
    table["step_ms"] = np.where(table.latency_ms == table.latency_ms.round(), 1.0, 0.1)
    return table[["network", "width", "resolution", "latency_ms", "step_ms"]].reset_index(drop=True)


def specs(table: pd.DataFrame) -> list[NetworkSpec]:
    """Return the networks of the rows of `measured`."""
    return [_network(*row) for row in table[["network", "width", "resolution"]].itertuples(index=False)]


def families(table: pd.DataFrame) -> list[str]:
    """Return the family of each row: mobilenetv2, mnasnet ..."""
    return table.network.str.split("_").str[0].tolist()


def _network(name: str, width: float, resolution: int) -> NetworkSpec:
    known = name if width == 1 else f"{name}_{width:g}"
    # MnasNet-A1 is published in one width; the others follow its authors' rule, the head keeping its 1280 channels.
    spec = NETWORKS[known] if known in NETWORKS else NETWORKS[name].scale(width=width, scale_head=False)
    return replace(spec, resolution=int(resolution))


def _named(model: str) -> tuple[str | None, float]:
    """Return network and width of a name in phone_latency.csv; None for a network the fits cannot use.

    The package has no SqueezeNet, Inception or DenseNet. NASNet's ReLUs stand before convolutions, where runtimes
    cannot fuse them; the features count ReLUs as fused, so its other operations would be charged for them.
    """
    if model in ("mobilenet_v3_large_minimalistic", "mobilenet_v3_small_minimalistic"):
        return model.replace("mobilenet_v3", "mobilenetv3"), 1.0
    if model.startswith("efficientnet-lite"):
        return model.replace("-", "_"), 1.0
    for prefix, name in _PUBLISHED.items():
        if re.fullmatch(re.escape(prefix) + r"\d+(\.\d+)?", model):
            return name, float(model.removeprefix(prefix))
    return None, 1.0
