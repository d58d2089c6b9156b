"""Published networks against the counts others printed for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import nas
from nas import registry
from nas.errors import NasError
from nas.space import catalogue
from nas.space.catalogue import PublishedCount, network_names, published_counts, published_top1
from search_spaces.published import COUNTS, efficient, mobile

#: networks of which a published figure differs from ours; each needs a reason beside it
DIFFERENT = {
    "darts_v1", "darts_v2_imagenet", "pc_darts_cifar_imagenet", "pc_darts_imagenet", "p_darts_imagenet",
    "pnasnet5_mobile", "pnasnet5_large", "convnextv2_tiny", "efficientnetv2_l", "efficientnetv2_b3", "mnasnet_a1",
    "mobilenetv3_large", "mobilenetv3_small", "mobilenetv4_conv_medium", "mobilenetv4_conv_large", "single_path_nas",
    "snas_mild", "enas", "amoebanet_c_mobile", "amoebanet_d_6_208", "amoebanet_d_6_544",
}  # fmt: skip


def ours_against(network: str, quantity: str, value: str, unit: int, ours: int) -> bool:
    return PublishedCount(network, quantity, value, unit, "", ours).agree


def test_our_counts_are_the_published_ones() -> None:
    rows = published_counts()
    wrong = [row for row in rows if not row.agree]
    assert {row.network for row in wrong} == DIFFERENT
    assert all(row.note for row in wrong)
    assert not [row for row in rows if row.agree and row.note]


def test_a_hundred_networks_agree_as_integers() -> None:
    assert len({row.network for row in published_counts() if row.integer and row.agree}) >= 100


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mobilenetv2", 3_540_265), ("mobilenetv2_0.75", 2_664_345), ("mobilenetv3_large", 5_508_713),
        ("mobilenetv3_large_0.75", 4_013_897), ("mobilenetv3_small", 2_555_993), ("mobilenetv3_small_0.75", 2_052_577),
    ],
)  # fmt: skip
def test_with_a_background_class(name: str, count: int) -> None:
    """Counts with statistics in the tests of tensorflow/models (official/vision), which has 1001 classes."""
    spec = replace(nas.network(name), num_classes=1001)
    statistics = sum(2 * layer.out_channels for layer in spec.layers() if layer.op == "batch_norm")
    assert spec.cost()["params"] + statistics == count


def test_every_published_network_is_counted_by_somebody_else() -> None:
    assert {row.network for row in published_counts()} == set(network_names())


@pytest.mark.parametrize(
    ("value", "unit", "ours", "agree"),
    [
        ("5288548", 1, 5_288_548, True),
        ("5288548", 1, 5_288_549, False),
        ("5.29", 10**6, 5_288_548, True),  # rounded
        ("5.28", 10**6, 5_288_548, True),  # cut off
        ("5.30", 10**6, 5_288_548, False),
        ("5.27", 10**6, 5_288_548, False),
        ("5.3", 10**6, 5_288_548, True),
        ("300", 10**6, 300_774_272, True),
        ("301", 10**6, 300_774_272, True),
        ("299", 10**6, 300_774_272, False),
        ("5.30", 10**6, 5_300_000, True),
    ],
)
def test_agreement_is_at_the_printed_precision(value: str, unit: int, ours: int, agree: bool) -> None:
    assert ours_against("x", "params", value, unit, ours) is agree


def test_integers_are_told_from_rounded_figures() -> None:
    rows = {(row.network, row.quantity, row.value): row for row in published_counts()}
    assert rows["efficientnet_b0", "params", "5288548"].integer
    assert not rows["efficientnet_b0", "params", "5.29"].integer


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("efficientnet_b9,params,1,1,x", "unknown network 'efficientnet_b9'; did you mean"),
        ("efficientnet_b0,param,1,1,x", "unknown quantity 'param'; did you mean 'params'"),
        ("efficientnet_b0,params,many,1,x", "value is 'many', must be a positive number"),
        ("efficientnet_b0,params,-3,1,x", "value is '-3', must be a positive number"),
        ("efficientnet_b0,params,nan,1,x", "value is 'nan', must be a positive number"),
        ("efficientnet_b0,params,0.0,1,x", "value is '0.0', must be a positive number"),
        ("efficientnet_b0,params,3,1000,x", "unit is '1000', must be one of 1, 1e3, 1e6, 1e9"),
        ("efficientnet_b0,params", "unit is None, must be one of"),
        ("efficientnet_b0,params,1,1,x,y", "keywords must be strings"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(
    row: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "family.csv").write_text(f"network,quantity,value,unit,source\n{row}\n")
    monkeypatch.setattr(registry, "names", lambda group: ["mine"])
    monkeypatch.setattr(
        registry, "load", lambda group, name: SimpleNamespace(NETWORKS=mobile.NETWORKS, COUNTS=tmp_path)
    )
    monkeypatch.setattr(catalogue, "_networks", lambda: efficient.NETWORKS)
    with pytest.raises(NasError, match=f"family.csv, line 2: .*({message})"):
        published_counts()


def test_the_recorded_figures_are_those_of_the_tables(data_dir: Path) -> None:
    """What the CSV files quote of torchvision, pycls and timm is what those tables say."""
    folder = data_dir / "published"
    torchvision = pd.read_csv(folder / "torchvision_imagenet_weights_meta.csv", dtype=str)
    pycls = pd.read_csv(folder / "pycls_zoo.csv", dtype=str)
    timm = pd.read_csv(folder / "timm-results-imagenet.csv", dtype=str)
    printed = {
        "torchvision weights meta": set(torchvision.params) | set(torchvision.gmacs),
        "pycls model zoo": set(pycls.params),
        "timm results 2 decimals": set(timm.param_count),
    }
    quoted = pd.concat(pd.read_csv(COUNTS / f"{name}.csv", dtype=str) for name in ("mobile", "efficient"))
    sources = quoted.source.str.split(" (", regex=False).str[0]
    for source, values in printed.items():
        of_source = quoted.value[sources == source]
        assert len(of_source) > 0
        assert set(of_source) <= values


def test_keras_counts_of_efficientnetv2_without_classifier() -> None:
    # The integer its summary prints for EfficientNetV2B3 without top; the published totals round stage 1 otherwise.
    spec = nas.network("efficientnetv2_b3")
    statistics = sum(2 * layer.out_channels for layer in spec.layers() if layer.op == "batch_norm")
    assert spec.cost()["params"] + statistics - 1537 * 1000 == 12_930_622


@pytest.mark.parametrize("i", range(8))
def test_efficientnet_multiply_adds_agree_with_pycls(i: int, data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "published" / "efficientnet_scaling.csv").set_index("model")
    row = table.loc[f"efficientnet-b{i}"]
    cost = nas.network(f"efficientnet_b{i}").cost()
    assert cost["params"] == row.params_exact
    if not pd.isna(row.macs_exact_pycls):
        # pycls counts biases as well, those of squeeze-and-excite and of the classifier.
        assert cost["macs"] == pytest.approx(row.macs_exact_pycls, rel=3e-5)
        assert cost["macs"] < row.macs_exact_pycls


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1, 1.3, 1.4])
def test_mobilenetv2_multiply_adds_at_every_resolution(width: float, data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "published" / "phone_latency.csv")
    rows = table[(table.model == f"mobilenet_v2_{width:g}") & table.macs_m.notna()]
    assert len(rows) > 0
    spec = nas.network("mobilenetv2" if width == 1 else f"mobilenetv2_{width:g}")
    for resolution, millions in zip(rows.resolution, rows.macs_m, strict=True):
        macs = replace(spec, resolution=int(resolution)).cost()["macs"]
        assert ours_against(spec.name, "macs", f"{millions:g}", 10**6, macs)


def test_efficientnet_b2_at_the_resolution_torchvision_trained_it() -> None:
    macs = replace(nas.network("efficientnet_b2"), resolution=288).cost()["macs"]
    assert ours_against("efficientnet_b2", "macs", "1.088", 10**9, macs)


def test_published_accuracies_name_their_source() -> None:
    figure = published_top1("efficientnet_b0")
    assert figure is not None
    assert (figure.value, figure.source.split(",")[0]) == (77.1, "EfficientNet")
    for name in (*mobile.PUBLISHED_TOP1, *efficient.PUBLISHED_TOP1):
        found = published_top1(name)
        assert found is not None
        assert name in network_names()
        assert 50 < found.value < 90
        assert found.source
    assert published_top1("efficientnet_l2") is None
