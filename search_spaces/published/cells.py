"""Published networks of searched cells: ENAS, DARTS and its successors, NASNet, PNASNet and AmoebaNet."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from nas.space import NetworkSpec
from nas.space.cell import Cell
from nas.space.cell_network import CellNetwork
from nas.space.nasnet_network import NasNetwork
from search_spaces.cells import darts, nasnet

_DARTS = "DARTS, Liu et al., ICLR 2019"
_PC_DARTS = "PC-DARTS, Xu et al., ICLR 2020"
_P_DARTS = "P-DARTS, Chen et al., ICCV 2019"
_GDAS = "GDAS, Dong & Yang, CVPR 2019"
_ENAS = "ENAS, Pham et al., ICML 2018"
_SNAS = "SNAS, Xie et al., ICLR 2019"
_NASNET = "NASNet, Zoph et al., CVPR 2018"
_PNASNET = "PNASNet, Liu et al., ECCV 2018"
_AMOEBANET = "AmoebaNet, Real et al., AAAI 2019"
_AUTOAUGMENT = "AutoAugment, Cubuk et al., CVPR 2019"
_GPIPE = "GPipe, Huang et al., NeurIPS 2019"

#: how operations read below
_OPERATIONS = {
    **{short: name for name, short in (darts.OPERATIONS | nasnet.OPERATIONS).items()},
    "max2": "max_pool_2x2",
    "btl3": "bottleneck_3x3",
    "btl7": "bottleneck_7x1_1x7",
}

#: normal and reduction cell: the edges of each node (state and operation, 0 for the output of the cell before the
#: last, 1 for the last, 2 ... for the nodes; - for a node without any), and behind the arrow the states that are
#: concatenated
_CELLS = {
    # As in the authors' code (genotypes.py of quark0/darts, SNAS-Series/SNAS-Series and the repositories of the other
    # papers; for ENAS scripts/cifar10_micro_final.sh of melodyguan/enas).
    "darts_v1": (
        "0sep3+1sep3 0skip+1sep3 0skip+1sep3 0sep3+2skip > 2345",
        "0max3+1max3 0max3+2skip 0max3+2skip 0avg3+2skip > 2345",
    ),
    "darts_v2": (
        "0sep3+1sep3 0sep3+1sep3 0skip+1sep3 0skip+2dil3 > 2345",
        "0max3+1max3 1max3+2skip 0max3+2skip 1max3+2skip > 2345",
    ),
    "pc_darts_cifar": (
        "0skip+1sep3 0sep3+1dil3 0sep5+1sep3 0avg3+1dil3 > 2345",
        "0max3+1sep5 1sep5+2sep5 0sep3+3sep3 1sep3+2sep3 > 2345",
    ),
    "pc_darts_image": (
        "0sep3+1skip 0sep3+1skip 1sep3+3sep3 1sep3+4dil5 > 2345",
        "0sep3+1skip 1max3+2dil5 1sep3+2sep3 0sep5+3sep3 > 2345",
    ),
    "p_darts": (
        "0skip+1dil3 0skip+1sep3 1sep3+3sep3 0sep3+4dil5 > 2345",
        "0avg3+1sep5 0sep3+2dil5 0max3+1dil3 1dil3+3dil5 > 2345",
    ),
    "gdas": (
        "0skip+1skip 0skip+2sep5 0skip+3sep3 3sep3+4sep5 > 2345",
        "0sep5+1sep3 1sep5+2sep5 1sep3+2dil5 0sep5+1sep5 > 2345",
    ),
    "snas_mild": (
        "0sep3+1sep3 0skip+1dil3 0skip+1skip 0skip+1sep3 > 2345",
        "0max3+1max3 1max3+2skip 1max3+2skip 0max3+2dil5 > 2345",
    ),
    "snas_moderate": (
        "0dil5+1skip 0sep3+1skip 0skip+1skip 0sep3+1dil5 > 2345",
        "0max3+1max3 0sep5+1dil5 0sep5+1sep5 0sep5+1sep5 > 2345",
    ),
    "snas_aggressive": (
        "0sep5+1skip 0skip+1skip 0skip+1dil5 0skip+1dil5 > 2345",
        "0sep5 0sep5 - - > 2345",
    ),
    "enas": (
        "0sep3+0avg3 0skip+0sep5 0skip+1sep5 0sep5+1sep3 0avg3+1sep5 > 23456",
        "1sep3+1sep3 0max3+0avg3 1sep5+3sep5 0skip+1sep3 0max3+1sep5 > 2456",
    ),
    "amoebanet_a_darts": (
        "0avg3+1max3 0sep3+2sep5 0sep3+3avg3 1skip+1sep3 0skip+1avg3 > 456",
        "0avg3+1sep3 0max3+2sep7 0sep7+1avg3 0max3+1max3 0fac7+5sep3 > 346",
    ),
    # As in TensorFlow's code (slim/nets/nasnet; models/official/amoeba_net of tensorflow/tpu). There 0 is the last
    # cell, and states other than the loose ends are concatenated too.
    "nasnet_a": (
        "0sep3+1sep5 0sep3+0sep5 0skip+1avg3 0avg3+0avg3 1skip+1sep3 > 023456",
        "0sep7+1sep5 0sep7+1max3 0sep5+1avg3 2avg3+3skip 1max3+2sep3 > 3456",
    ),
    "pnasnet5": ("0max3+0sep5 1max3+1sep7 1sep3+1sep5 1max3+4sep3 0sep3+1skip > 23456",) * 2,
    "amoebanet_a": (
        "1max3+1avg3 0skip+0sep3 0avg3+1skip 1sep3+2sep5 1sep3+5avg3 > 0346",
        "0sep3+1avg3 1max3+2sep7 0max3+1max3 1btl7+4sep3 0avg3+1sep7 > 23456",
    ),
    "amoebanet_b": (
        "0max3+0cn1 0skip+1sep3 0cn1+1sep3 2skip+2cn1 0avg3+5cn1 > 1346",
        "1max2+1max3 0btl3+2skip 2max3+2sep5 0sep3+3skip 3cn1+4avg3 > 56",
    ),
    "amoebanet_c": (
        "1avg3+1sep3 1skip+1sep3 0sep3+2avg3 0sep3+1skip 1sep3+3avg3 > 02456",
        "1max3+1max3 1sep3+2sep7 0max3+1sep7 4sep5+4sep5 0max3+0sep3 > 123456",
    ),
    "amoebanet_d": (
        "0cn1+0max3 0skip+1btl7 1cn1+1btl7 2max3+2skip 0avg3+5cn1 > 1346",
        "1max2+1max3 0btl3+2skip 2max3+2btl7 0max2+3skip 2avg3+3cn1 > 456",
    ),
}

#: normal cells between reductions and filters of the five AmoebaNet-D of GPipe
GPIPE_SIZES = ((6, 208), (6, 416), (6, 544), (12, 544), (24, 512))


def _cell(text: str) -> Cell:
    nodes, concat = text.split(" > ")
    edges = [re.findall(r"(\d)([a-z]+\d?)", node) for node in nodes.split()]
    return Cell(
        tuple(tuple((_OPERATIONS[short], int(state)) for state, short in node) for node in edges),
        tuple(int(state) for state in concat),
    )


def _cells(name: str) -> dict[str, Any]:
    normal, reduction = _CELLS[name]
    return {"normal": _cell(normal), "reduction": _cell(reduction)}


def _cifar(name: str, source: str) -> CellNetwork:
    """Cells in the network that DARTS has for CIFAR-10."""
    return CellNetwork(**_cells(name), channels=36, cells=20, source=source)


def _imagenet(name: str, source: str, channels: int = 48) -> CellNetwork:
    """Cells in the network that DARTS has for ImageNet."""
    return CellNetwork(
        **_cells(name), channels=channels, cells=14, stem="imagenet", resolution=224, num_classes=1000, source=source
    )


def _tensorflow(name: str, source: str, repeats: int, filters: int, first: int, **options: Any) -> NasNetwork:
    """Cells in the network of NASNet, `repeats` normal cells between reductions, `first` channels after the stem."""
    return NasNetwork(**_cells(name), filters=filters, cells=3 * repeats, stem_filters=first, source=source, **options)


def _networks() -> dict[str, NetworkSpec]:
    cifar: dict[str, Any] = {"stem": "cifar", "resolution": 32, "num_classes": 10}
    networks: dict[str, NetworkSpec] = {
        "darts_v1": _cifar("darts_v1", _DARTS),
        "darts_v2": _cifar("darts_v2", _DARTS),
        "pc_darts_cifar": _cifar("pc_darts_cifar", _PC_DARTS),
        "p_darts": _cifar("p_darts", _P_DARTS),
        "gdas": _cifar("gdas", _GDAS),
        "snas_mild": _cifar("snas_mild", _SNAS),
        "snas_moderate": _cifar("snas_moderate", _SNAS),
        "snas_aggressive": _cifar("snas_aggressive", _SNAS),
        "enas": _cifar("enas", f"{_ENAS}: the cell of the authors' code in the network of {_DARTS}"),
        "amoebanet_a_darts": _cifar("amoebanet_a_darts", f"{_AMOEBANET}, as in {_DARTS}"),
        "darts_v2_imagenet": _imagenet("darts_v2", _DARTS),
        "pc_darts_cifar_imagenet": _imagenet("pc_darts_cifar", _PC_DARTS),
        "pc_darts_imagenet": _imagenet("pc_darts_image", _PC_DARTS),
        "p_darts_imagenet": _imagenet("p_darts", _P_DARTS),
        "gdas_imagenet": _imagenet("gdas", _GDAS, channels=50),
        "nasnet_a_6_768": _tensorflow("nasnet_a", _NASNET, 6, 32, 96, **cifar),
        "nasnet_a_mobile": _tensorflow("nasnet_a", _NASNET, 4, 44, 32, dropout=0.5),
        "nasnet_a_large": _tensorflow(
            "nasnet_a", _NASNET, 6, 168, 96, resolution=331, skip_reduction_input=True, dropout=0.5
        ),
        "pnasnet5_mobile": _tensorflow("pnasnet5", _PNASNET, 3, 54, 32, extra_reductions=False, dropout=0.5),
        "pnasnet5_large": _tensorflow(
            "pnasnet5", _PNASNET, 4, 216, 96, resolution=331, extra_reductions=False, dropout=0.5
        ),
        "amoebanet_a_6_32": _tensorflow("amoebanet_a", _AMOEBANET, 6, 32, 96, **cifar),
        "amoebanet_a_6_36": _tensorflow("amoebanet_a", _AMOEBANET, 6, 36, 108, **cifar),
        "amoebanet_b_6_36": _tensorflow("amoebanet_b", _AMOEBANET, 6, 36, 108, **cifar),
        "amoebanet_a_6_190": _tensorflow("amoebanet_a", _AMOEBANET, 6, 190, 32, resolution=331, dropout=0.5),
        "amoebanet_b_6_512": _tensorflow(
            "amoebanet_b", f"{_AMOEBANET}; {_GPIPE}", 6, 512, 32, resolution=480, dropout=0.5
        ),
        "amoebanet_c_6_228": _tensorflow(
            "amoebanet_c", f"{_AMOEBANET}; {_AUTOAUGMENT}", 6, 228, 32, resolution=331, dropout=0.5
        ),
        "amoebanet_a_mobile": _tensorflow("amoebanet_a", _AMOEBANET, 4, 50, 32, dropout=0.5),
        "amoebanet_b_mobile": _tensorflow("amoebanet_b", _AMOEBANET, 3, 62, 32, dropout=0.5),
        "amoebanet_c_mobile": _tensorflow("amoebanet_c", _AMOEBANET, 4, 50, 32, dropout=0.5),
    }
    for repeats, filters in GPIPE_SIZES:
        networks[f"amoebanet_d_{repeats}_{filters}"] = _tensorflow(
            "amoebanet_d", f"{_AMOEBANET}; {_GPIPE}, Table 1", repeats, filters, 32, dropout=0.5
        )
    return {name: replace(spec, name=name) for name, spec in networks.items()}


NETWORKS = _networks()

#: ImageNet top-1 (%) as published, under the training recipe of the paper
PUBLISHED_TOP1 = {
    "darts_v2_imagenet": (73.3, f"{_DARTS}, Table 3"),
    "gdas_imagenet": (74.0, _GDAS),
    "p_darts_imagenet": (75.6, _P_DARTS),
    "pc_darts_cifar_imagenet": (74.9, _PC_DARTS),
    "pc_darts_imagenet": (75.8, f"{_PC_DARTS}, abstract"),
    "nasnet_a_mobile": (74.0, f"{_NASNET}; Keras applications"),
    "nasnet_a_large": (82.7, f"{_NASNET}; Keras applications"),
    "pnasnet5_mobile": (74.2, f"{_PNASNET}, as quoted in DARTS, Table 3"),
    "pnasnet5_large": (82.9, f"{_PNASNET}, as quoted in AmoebaNet, Table 2"),
    "amoebanet_a_mobile": (74.5, f"{_AMOEBANET}, as quoted in DARTS, Table 3"),
    "amoebanet_b_mobile": (74.0, f"{_AMOEBANET}, as quoted in DARTS, Table 3"),
    "amoebanet_c_mobile": (75.7, f"{_AMOEBANET}, as quoted in DARTS, Table 3"),
    "amoebanet_a_6_190": (82.8, f"{_AMOEBANET}, Table 2"),
    "amoebanet_b_6_512": (84.4, f"{_GPIPE}, Table 4"),
    "amoebanet_c_6_228": (83.1, f"{_AUTOAUGMENT}, baseline of its ImageNet table"),
}
