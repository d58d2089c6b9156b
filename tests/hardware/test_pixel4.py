"""The target `pixel4` against the measurements it was fitted to, and its predictor against plain sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import nas
from nas.hardware import Fitted
from nas.hardware.predictors.features import LAYER_FEATURES, kernel_features
from nas.nn.blocks import InvertedResidual, SqueezeExcite
from nas.space import NetworkSpec, SearchSpace, StagedSpace


@pytest.fixture(scope="module")
def pixel4() -> Fitted:
    return nas.target("pixel4").fitted[0]


@pytest.fixture(scope="module")
def leave_one_out(repo_root: Path) -> pd.DataFrame:
    table = pd.read_csv(repo_root / "experiments" / "hardware" / "phones" / "leave_one_out.csv")
    return table[table.target == "pixel4"].reset_index(drop=True)


@pytest.fixture(scope="module")
def measured(data_dir: Path) -> pd.DataFrame:
    table = pd.read_csv(data_dir / "pixel4" / "ovic_2020.csv")
    return table[table.precision == "float32"].reset_index(drop=True)


def network(model: str, resolution: int, width: float) -> NetworkSpec:
    return replace(nas.network(model if width == 1 else f"{model}_{width:g}"), resolution=resolution)


def test_the_stated_error_is_what_the_held_out_table_gives(pixel4: Fitted, leave_one_out: pd.DataFrame) -> None:
    stated, table = pixel4.fit.held_out, leave_one_out
    error = (table.predicted / table.measured - 1).abs() * 100
    assert stated.protocol == "leave-one-out"
    assert stated.networks == len(table) == 10
    assert stated.mean_absolute_percentage_error <= 6
    # The table is rounded to 0.001 ms, the profile to 0.01 %.
    assert stated.mean_absolute_percentage_error == pytest.approx(error.mean(), abs=0.01)
    assert stated.within_10_percent == (error <= 10).mean()
    ranks = table.predicted.rank().corr(table.measured.rank())
    assert stated.spearman == pytest.approx(ranks, abs=5e-4)
    np.testing.assert_allclose(table.error_percent.abs(), error, atol=0.02)


def test_the_stated_coverage_is_what_the_held_out_table_gives(pixel4: Fitted, leave_one_out: pd.DataFrame) -> None:
    half = pixel4.predictor.calibration.quantile(0.95) * leave_one_out["std"]
    # A measurement of whole milliseconds was somewhere within half a millisecond of it.
    covered = (leave_one_out.predicted - leave_one_out.measured).abs() <= half + 0.5
    assert pixel4.fit.held_out.interval_90_coverage == covered.mean()


def test_the_held_out_table_is_about_the_measured_networks(leave_one_out: pd.DataFrame, measured: pd.DataFrame) -> None:
    expected = measured.rename(columns={"model": "network", "latency_ms": "measured"})
    columns = ["network", "resolution", "width", "measured"]
    pd.testing.assert_frame_equal(leave_one_out[columns], expected[columns], check_dtype=False)


def test_measurements_lie_in_their_intervals(pixel4: Fitted, measured: pd.DataFrame) -> None:
    assert len(measured) == 10
    inside = 0
    for row in measured.itertuples():
        mean, std = pixel4.predictor.predict_spec(network(row.model, row.resolution, row.width))
        low, high = pixel4.predictor.interval(np.array(mean), np.array(std))
        assert low < mean < high
        inside += low - 0.5 <= row.latency_ms <= high + 0.5
    assert inside >= 8


def test_a_network_outside_every_space_gets_its_measured_order(pixel4: Fitted) -> None:
    # Howard et al. (2019), Pixel phones, and the table above: small is faster than large, half width than full.
    names = ["mobilenetv3_small_0.75", "mobilenetv3_small", "mnasnet_b1_0.5", "mobilenetv3_large", "mnasnet_b1"]
    means = [pixel4.predictor.predict_spec(nas.network(name))[0] for name in names]
    assert means == sorted(means)


def counted_features(spec: NetworkSpec) -> dict[str, int]:
    """What the kernels of the built network do, by hooks on every module."""
    counts = dict.fromkeys(LAYER_FEATURES, 0)

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            counts["weights"] += sum(parameter.numel() for parameter in module.parameters())
        if isinstance(module, nn.Linear):
            counts["pointwise_macs"] += module.weight.numel()
        if isinstance(module, nn.Conv2d):
            kind = "depthwise_macs" if module.groups > 1 else "pointwise_macs"
            counts[kind] += module.weight.numel() * output.shape[2] * output.shape[3]
            counts["depthwise_outputs"] += output.numel() * (module.groups > 1)
        passes = nn.SiLU | nn.Hardswish | nn.Sigmoid | nn.Hardsigmoid | nn.AdaptiveAvgPool2d | SqueezeExcite
        counts["kernels"] += isinstance(module, nn.Conv2d | nn.Linear | passes)
        counts["kernels"] += isinstance(module, InvertedResidual) and module.residual
        if isinstance(module, nn.AdaptiveAvgPool2d):
            counts["elementwise"] += inputs[0].numel()
        if isinstance(module, nn.SiLU | nn.Hardswish | nn.Sigmoid | nn.Hardsigmoid | SqueezeExcite):
            counts["elementwise"] += output.numel()
        if isinstance(module, InvertedResidual) and module.residual:
            counts["elementwise"] += output.numel()

    with torch.device("meta"):
        built = spec.build().eval()
        for module in built.modules():
            module.register_forward_hook(count)
        built(torch.empty(1, spec.in_channels, spec.resolution, spec.resolution))
    return counts


@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "mobilenetv3_large", "mobilenetv3_small_minimalistic", "mnasnet_b1"]
)
def test_features_are_what_the_built_network_does(name: str) -> None:
    spec = nas.network(name)
    features = dict(zip(LAYER_FEATURES, kernel_features(spec.layers(), LAYER_FEATURES), strict=True))
    assert features == counted_features(spec)


def test_spaces_and_specs_are_predicted_alike(pixel4: Fitted, mbconv: SearchSpace, rng: np.random.Generator) -> None:
    codes = mbconv.sample(200, rng)
    mean, std = pixel4.predictor.predict(mbconv, codes)
    assert mean.shape == std.shape == (200,)
    expected = np.array([pixel4.predictor.predict_spec(mbconv.spec(code)) for code in codes])
    np.testing.assert_allclose(mean, expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(std, expected[:, 1], rtol=1e-9)


def test_b0_costs_the_same_inside_the_space_and_outside(pixel4: Fitted, mbconv: SearchSpace) -> None:
    b0 = nas.network("efficientnet_b0")
    mean, std = pixel4.predictor.predict(mbconv, mbconv.encode(b0)[None])
    np.testing.assert_allclose((mean[0], std[0]), pixel4.predictor.predict_spec(b0), rtol=1e-9)


def test_blocks_add_up_to_the_network(pixel4: Fitted, mbconv: SearchSpace, rng: np.random.Generator) -> None:
    specs = [mbconv.spec(code) for code in mbconv.sample(20, rng)] + [nas.network("mobilenetv3_large")]
    for spec in specs:
        shares = [pixel4.predictor.block_ms(block) for block in spec.blocks]
        assert min(shares) > 0
        assert sum(shares) == pytest.approx(pixel4.predictor.predict_spec(spec)[0], abs=1e-9)


def test_bounds_are_attained_in_a_small_space(pixel4: Fitted, tiny_space: StagedSpace) -> None:
    specs = [tiny_space.spec(code) for code in tiny_space.all_codes()]
    means = [pixel4.predictor.predict_spec(spec)[0] for spec in specs]
    np.testing.assert_allclose(pixel4.predictor.bounds(tiny_space), (min(means), max(means)), rtol=0, atol=1e-9)


def test_bounds_hold_for_ten_thousand_networks(pixel4: Fitted, mbconv: SearchSpace, rng: np.random.Generator) -> None:
    mean, _ = pixel4.predictor.predict(mbconv, mbconv.sample(10_000, rng))
    low, high = pixel4.predictor.bounds(mbconv)
    assert 0 < low <= mean.min()
    assert mean.max() <= high
    # The sample should come near enough for the bound to mean something.
    assert mean.min() < low + 0.5 * (high - low) < mean.max()


def test_uncertainty_grows_with_the_network(pixel4: Fitted, mbconv: SearchSpace, rng: np.random.Generator) -> None:
    codes = mbconv.sample(500, rng)
    deeper = codes.copy()
    layers = [d for d, decision in enumerate(mbconv.decisions) if decision.name.endswith(".layers")]
    deeper[:, layers] = [len(mbconv.decisions[d].choices) - 1 for d in layers]
    grown = (deeper != codes).any(axis=1)
    assert grown.sum() > 400
    mean, std = pixel4.predictor.predict(mbconv, codes)
    deeper_mean, deeper_std = pixel4.predictor.predict(mbconv, deeper)
    assert (deeper_mean[grown] > mean[grown]).all()
    # Errors of the coefficients partly cancel, so a few of the larger networks are known as well as the smaller.
    assert (deeper_std[grown] > std[grown]).mean() > 0.95


def test_uncertainty_grows_with_scale_and_never_vanishes(pixel4: Fitted) -> None:
    predicted = [pixel4.predictor.predict_spec(nas.network(f"efficientnet_b{i}")) for i in range(8)]
    means, stds = zip(*predicted, strict=True)
    assert list(means) == sorted(means)
    assert list(stds) == sorted(stds)
    # Ten measurements in whole milliseconds cannot pin a network down to 2 %.
    assert all(std > 0.02 * mean for mean, std in predicted)


def test_intervals_do_not_go_below_zero(pixel4: Fitted) -> None:
    low, high = pixel4.predictor.interval(np.array([1.0, 10.0]), np.array([5.0, 0.5]))
    width = pixel4.predictor.calibration.quantile(0.95)
    np.testing.assert_allclose(low, [0.0, 10 - 0.5 * width])
    np.testing.assert_allclose(high, [1 + 5 * width, 10 + 0.5 * width])


def test_no_codes_give_no_predictions(pixel4: Fitted, mbconv: SearchSpace, rng: np.random.Generator) -> None:
    mean, std = pixel4.predictor.predict(mbconv, mbconv.sample(0, rng))
    assert mean.shape == std.shape == (0,)
