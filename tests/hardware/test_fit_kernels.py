"""The fit of kernel models: its posterior against integrals, its predictions against devices whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import nas
from nas.errors import NasError
from nas.hardware import LinearPredictor
from nas.hardware.fitting.fit_kernels import FEATURES, KernelFit, fit_kernels
from nas.hardware.fitting.posterior import draw_posterior
from nas.hardware.predictors.features import kernel_features
from nas.space import NetworkSpec, SearchSpace

#: what a unit of each feature takes on an imaginary device, in ms
TRUE = np.array([6e-8, 2e-7, 4e-7, 3e-7, 2e-6])


def phones(count: int) -> list[NetworkSpec]:
    """Networks such as people publish measurements of."""
    names = ["mobilenetv2", "mobilenetv3_large", "mobilenetv3_small", "mnasnet_b1", "mnasnet_a1", "mobilenetv1_0.5"]
    specs = [nas.network(name) for name in names]
    return [replace(specs[i % 6], resolution=224 - 32 * (i // 6)) for i in range(count)]


def times(specs: list[NetworkSpec], noise: float = 0.0, seed: int = 0, true: np.ndarray = TRUE) -> np.ndarray:
    features = np.array([kernel_features(spec.layers(), FEATURES) for spec in specs])
    return features @ true * (1 + noise * np.random.default_rng(seed).normal(size=len(specs)))


@pytest.mark.parametrize("step", [0.0, 2.0])
def test_the_posterior_is_that_of_numerical_integration(step: float) -> None:
    """One coefficient and the noise, on a grid; likelihood and priors written out here with SciPy."""
    x, y, prior, prior_noise = np.array([1.0, 2.0, 3.0, 5.0]), np.array([2.0, 4.4, 5.5, 10.5]), 3.0, 0.1
    c, s = (grid.ravel() for grid in np.meshgrid(np.linspace(0.8, 3.5, 1500), np.linspace(1e-4, 0.8, 1500)))
    density = stats.halfnorm.logpdf(c, scale=prior) + stats.halfnorm.logpdf(s, scale=prior_noise)
    for xi, yi in zip(x, y, strict=True):
        density += stats.norm.logpdf(yi, loc=xi * c, scale=np.sqrt((s * xi * c) ** 2 + step**2 / 12))
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    kept, scales = np.ones((1, 4)), np.array([[prior]])
    draws = draw_posterior(x[:, None], y, np.full(4, step**2 / 12), kept, scales, prior_noise)[0]
    for drawn, grid in zip(draws.T, (c, s), strict=True):
        mean = weight @ grid
        std = np.sqrt(weight @ (grid - mean) ** 2)
        assert drawn.mean() == pytest.approx(mean, abs=0.1 * std)
        assert drawn.std() == pytest.approx(std, rel=0.1)


def test_measurements_left_out_have_no_part() -> None:
    x, y, kept = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 3.0]), np.array([[1.0, 1.0, 0.0]])
    other = draw_posterior(x, y * [1, 1, 40], np.zeros(3), kept, np.ones((1, 1)), 0.1)
    np.testing.assert_array_equal(draw_posterior(x, y, np.zeros(3), kept, np.ones((1, 1)), 0.1), other)


def test_unseen_networks_are_predicted_to_within_the_noise(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    specs = phones(24)
    predictor = fit_kernels(specs, times(specs, noise=0.03))
    codes = mbconv.sample(100, rng)
    unseen = [mbconv.spec(code) for code in codes]
    measured = times(unseen, noise=0.03, seed=1)
    mean, std = predictor.predict(mbconv, codes)
    assert np.abs(mean / measured - 1).mean() < 0.06
    low, high = predictor.interval(mean, std)
    assert ((low <= measured) & (measured <= high)).mean() > 0.85
    # ... and the intervals are not merely wide: ±3 % noise and what 24 networks leave open.
    assert (std / mean).mean() < 0.1


def test_held_out_predictions_are_those_of_a_fit_without_the_network() -> None:
    specs = phones(8)
    values = times(specs, noise=0.05)
    held_out = KernelFit(specs, values).held_out
    for i in (0, 5):
        others = [j for j in range(8) if j != i]
        mean, std = fit_kernels([specs[j] for j in others], values[others]).predict_spec(specs[i])
        # Equal but for the draws, and for the prior, whose scale knows the sizes of all the networks to be predicted.
        assert held_out.mean[i] == pytest.approx(mean, rel=0.03)
        assert held_out.std[i] == pytest.approx(std, rel=0.15)


def test_a_held_out_network_has_no_part_in_its_prediction() -> None:
    specs = phones(6)
    values = times(specs, noise=0.05)
    changed = values * [1, 1, 3, 1, 1, 1]
    groups = ["a", "b", "c", "c", "d", "d"]
    for labels, same in ((None, [2]), (groups, [2, 3])):
        first, second = (KernelFit(specs, each, groups=labels).held_out for each in (values, changed))
        # The same but for rounding errors, which the walk of the chains may amplify.
        np.testing.assert_allclose(first.mean[same], second.mean[same], rtol=0.02)
        others = [i for i in range(6) if i not in same]
        assert (np.abs(first.mean[others] / second.mean[others] - 1) > 0.02).all()


def test_the_unit_of_the_values_does_not_matter() -> None:
    specs = phones(7)
    values = times(specs, noise=0.05)
    ms, us = KernelFit(specs, values), KernelFit(specs, values * 1024)
    np.testing.assert_allclose(us.held_out.mean, 1024 * ms.held_out.mean, rtol=0.02)
    np.testing.assert_allclose(us.predictor.parameters.mean, 1024 * np.array(ms.predictor.parameters.mean), rtol=0.1)


def test_known_rounding_is_not_taken_for_noise() -> None:
    specs = phones(18)
    exact = times(specs)
    rounded = np.round(exact / 4) * 4
    noise = [fit_kernels(specs, rounded, rounding=step).parameters.relative_noise for step in (0.0, 4.0)]
    assert noise[1] < 0.6 * noise[0]


def test_many_networks_give_a_width_that_covers_as_many_as_it_says() -> None:
    """Outliers that no normal distribution has: a fifth of the networks is 30 % slower."""
    specs = phones(30)
    values = times(specs, noise=0.01) * np.where(np.arange(30) % 5 == 0, 1.3, 1.0)
    fitted = KernelFit(specs, values)
    held_out = fitted.held_out
    covered = ((held_out.low <= values) & (values <= held_out.high)).mean()
    assert 0.85 <= covered <= 0.97
    residuals = np.abs(values - held_out.mean) / held_out.std
    # Lei et al. (2018): the ceil(0.9 · 31) = 28th smallest of 30.
    assert fitted.predictor.parameters.interval_width == pytest.approx(np.sort(residuals)[27])


def test_few_networks_have_the_interval_of_students_t() -> None:
    specs = phones(9)
    width = fit_kernels(specs, times(specs, noise=0.05)).parameters.interval_width
    assert width == pytest.approx(2.1318, abs=1e-4)  # nine networks, five coefficients: t(4) at 95 %


def test_a_source_of_like_proportions_helps_where_few_are_measured(
    mbconv: SearchSpace, rng: np.random.Generator
) -> None:
    specs = phones(18)
    source = fit_kernels(specs, times(specs, noise=0.02))
    unseen = [mbconv.spec(code) for code in mbconv.sample(40, rng)]
    true, errors = times(unseen, true=TRUE / 3), {}
    for name, given in (("with", source), ("without", None)):
        few = [specs[i] for i in (0, 1, 2, 4)]
        predictor = fit_kernels(few, times(few, noise=0.05, seed=3, true=TRUE / 3), source=given)
        predicted = np.array([predictor.predict_spec(spec)[0] for spec in unseen])
        errors[name] = np.abs(predicted / true - 1).mean()
    assert errors["with"] < 0.7 * errors["without"]


def test_scales_say_what_is_believed_before_measuring() -> None:
    specs = phones(4)
    values = times(specs, noise=0.02)
    scales = dict.fromkeys(FEATURES, 1e-12) | {"depthwise_outputs": 1e-5}
    parameters = fit_kernels(specs, values, scales=scales).parameters
    shares = np.array(parameters.mean) * kernel_features(specs[0].layers(), FEATURES)
    assert shares[-1] > 0.99 * shares.sum()


def test_a_fit_is_written_and_read_back(tmp_path: Path) -> None:
    specs = phones(5)
    predictor = fit_kernels(specs, times(specs, noise=0.05), features=("pointwise_macs", "kernels"))
    predictor.write(tmp_path / "kernels.json")
    read = LinearPredictor.read(tmp_path / "kernels.json")
    assert read.parameters == predictor.parameters
    assert read.predict_spec(nas.network("efficientnet_b0")) == predictor.predict_spec(nas.network("efficientnet_b0"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": [1.0, 2.0, -3.0, 4.0]}, ["measurement 3", "mobilenetv3_small", "-3", "positive"]),
        ({"values": [1.0, np.nan, 3.0, 4.0]}, ["measurement 2", "mobilenetv3_large", "nan"]),
        ({"values": [1.0, 2.0, 3.0, np.inf]}, ["measurement 4", "inf"]),
        ({"values": [1.0, 2.0]}, ["4 networks", "(2,)"]),
        ({"specs": phones(3), "values": [1.0, 2.0, 3.0]}, ["3 measured networks", "at least 4"]),
        ({"features": ("pointwise_mac",)}, ["pointwise_mac", "did you mean 'pointwise_macs'"]),
        ({"rounding": -1.0}, ["rounding", "-1"]),
        ({"specs": [nas.network(f"resnet{n}") for n in (18, 34, 50, 101)]}, ["none of the 4", "depthwise_macs"]),
        ({"scales": {"weight": 1e-6}}, ["'weight'", "did you mean 'weights'"]),
        ({"scales": {"weights": 0.0}}, ["scale of weights is 0", "positive"]),
        ({"groups": ["all"] * 4}, ["group"]),
        ({"groups": ["one", "two"]}, ["2", "4 networks"]),
    ],
)
def test_bad_input_is_refused_with_what_is_wrong(change: dict[str, object], words: list[str]) -> None:
    given = {"specs": phones(4), "values": [1.0, 2.0, 3.0, 4.0]} | change
    with pytest.raises(NasError) as caught:
        KernelFit(**given)
    for word in words:
        assert word in str(caught.value)
