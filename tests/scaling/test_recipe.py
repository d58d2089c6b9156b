"""Recipes: published members carry what was published, others what follows from it by interpolation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nas
from nas.errors import NasError
from nas.scaling.coefficients import Coefficients
from nas.scaling.recipe import Recipe, recommended
from nas.scaling.released import published_families
from nas.scaling.scaled import scaled
from nas.space import NetworkSpec, StagedNetwork

PAPER = Coefficients(1.2, 1.1, 1.15)


def recipe_of(network: str) -> Recipe:
    spec = nas.network(network)
    found = recommended(spec, spec)
    assert found is not None
    return found


def rule_for(spec: NetworkSpec, base: NetworkSpec | None = None) -> Recipe:
    found = recommended(base or spec, spec)
    assert found is not None
    assert found.origin == "rule"
    return found


def test_published_members_keep_what_was_published() -> None:
    for family in published_families().values():
        for member in family.members:
            if member.recipe is not None:
                assert member.recipe.origin == "published"
                assert member.recipe.source
                assert recommended(nas.network(family.base), member.spec) == member.recipe


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        # efficientnet_builder.py (drop_connect_rate) and main.py of tensorflow/tpu
        (
            "efficientnet_b7",
            {"dropout": 0.5, "stochastic_depth": 0.2, "epochs": 350, "weight_decay": 1e-5, "optimizer": "RMSProp"},
        ),
        # effnetv2_configs.py: (..., train_size, eval_size, dropout, randaug, mixup, aug)
        (
            "efficientnetv2_m",
            {"dropout": 0.3, "resolution": 384, "randaugment_magnitude": 15, "mixup": 0.2, "stochastic_depth": 0.2},
        ),
        (
            "efficientnetv2_b2",
            {"dropout": 0.3, "resolution": 208, "randaugment_magnitude": None, "augmentation": "AutoAugment"},
        ),
        # TRAINING.md of facebookresearch/ConvNeXt
        ("convnext_small", {"stochastic_depth": 0.4, "dropout": 0.0, "epochs": 300, "weight_decay": 0.05}),
        ("convnext_xlarge", {"stochastic_depth": 0.2, "epochs": 90}),
        ("convnextv2_atto", {"stochastic_depth": 0.1, "epochs": 600, "weight_decay": 0.3, "mixup": 0.0}),
        # configs/dds_baselines of pycls
        ("regnety_016", {"stochastic_depth": 0.0, "dropout": 0.0, "epochs": 100, "weight_decay": 5e-5}),
        # nasnet.py and pnasnet.py of tensorflow/models: 1 - drop_path_keep_prob, 1 - dense_dropout_keep_prob
        ("nasnet_a_mobile", {"stochastic_depth": 0.0, "dropout": 0.5}),
        ("nasnet_a_large", {"stochastic_depth": 0.3, "dropout": 0.5}),
        ("pnasnet5_large", {"stochastic_depth": 0.4, "dropout": 0.5}),
        ("darts_v2", {"stochastic_depth": 0.2, "epochs": 600, "weight_decay": 3e-4}),
    ],
)
def test_figures_as_their_sources_print_them(network: str, expected: dict[str, object]) -> None:
    recipe = recipe_of(network)
    assert {name: getattr(recipe, name) for name in expected} == expected


def test_dropout_grows_with_the_members_of_a_family() -> None:
    base = nas.network("efficientnet_b0")
    recipes = [rule_for(scaled(base, PAPER.at(phi)), base) for phi in (0.5, 1, 2, 3, 4, 5, 6, 9)]
    dropouts = [recipe.dropout for recipe in recipes]
    assert all(dropout is not None and 0.2 <= dropout <= 0.5 for dropout in dropouts)
    assert dropouts == sorted(dropouts)  # type: ignore[type-var]
    assert dropouts[-1] == 0.5
    assert len(set(dropouts)) > 5
    assert {recipe.stochastic_depth for recipe in recipes} == {0.2}


@pytest.mark.parametrize("resolution", [240, 256, 288])
def test_stochastic_depth_between_two_convnexts(resolution: int) -> None:
    tiny, small = nas.network("convnext_tiny"), nas.network("convnext_small")
    between = replace(tiny, resolution=resolution)
    macs = [math.log(spec.cost()["macs"]) for spec in (tiny, between, small)]
    expected = 0.1 + (0.4 - 0.1) * (macs[1] - macs[0]) / (macs[2] - macs[0])
    recipe = rule_for(between, tiny)
    assert recipe.stochastic_depth == pytest.approx(expected, abs=0.006)
    assert "between convnext_tiny and convnext_small" in recipe.note


def test_nothing_is_extrapolated() -> None:
    atto, large = rule_for(nas.network("convnext_atto")), rule_for(nas.network("convnext_xxlarge"))
    assert (atto.stochastic_depth, large.stochastic_depth) == (0.1, 0.5)
    assert "as convnext_tiny, the smallest" in atto.note
    assert "as convnext_large, the largest" in large.note


def test_pre_trained_members_are_no_guide_to_training_from_scratch() -> None:
    # XL had 0.2 on ImageNet-22K, which is ten times the data.
    beyond = rule_for(replace(nas.network("convnext_xlarge"), resolution=288))
    assert (beyond.stochastic_depth, beyond.epochs, beyond.pretraining) == (0.5, 300, "")


def test_fused_networks_grow_in_augmentation_and_train_on_smaller_images() -> None:
    small = nas.network("efficientnetv2_s")
    recipe = rule_for(small.scale(1.1, 1.1, 400), small)
    assert recipe.randaugment_magnitude in range(11, 15)
    assert isinstance(recipe.randaugment_magnitude, int)
    assert 0 < (recipe.mixup or 0) < 0.2
    assert recipe.resolution is not None
    assert 300 / 384 * 400 - 4 <= recipe.resolution <= 384 / 480 * 400 + 4


def test_a_family_goes_by_one_family_alone() -> None:
    base = nas.network("efficientnetv2_b0")
    recipes = [rule_for(scaled(base, PAPER.at(phi)), base) for phi in (1, 3, 6)]
    assert {recipe.augmentation for recipe in recipes} == {"AutoAugment"}
    assert [recipe.dropout for recipe in recipes] == sorted(recipe.dropout or 0 for recipe in recipes)


def test_plain_residual_networks_are_not_regularised() -> None:
    recipe = rule_for(nas.network("resnet50"))
    assert (recipe.dropout, recipe.stochastic_depth) == (0.0, 0.0)
    assert "pycls" in recipe.source


def test_cells_drop_paths() -> None:
    mobile, cifar = nas.network("nasnet_a_mobile"), nas.network("darts_v2")
    rates = [rule_for(scaled(mobile, PAPER.at(phi)), mobile).stochastic_depth for phi in (1, 2, 4, 8)]
    assert rates == sorted(rates)  # type: ignore[type-var]
    assert rates[-1] == 0.3
    # With images of 32 pixels, what was published for such counts.
    assert {rule_for(cifar.scale(by, by), cifar).epochs for by in (0.5, 2)} == {600}


def test_the_base_has_the_say_which_family_to_go_by() -> None:
    base = nas.network("regnety_016")
    assert "regnety" in rule_for(scaled(base, PAPER.at(0.5)), base).note
    # DARTS has one network for images of this size, which tells nothing of growth; others do.
    darts = nas.network("darts_v2_imagenet")
    assert (rule_for(scaled(darts, PAPER.at(3)), darts).stochastic_depth or 0) > 0.1


def test_small_images_grow_from_their_base() -> None:
    base = StagedNetwork.from_strings(
        "cn_k3_s1_c16", ("ir_r2_k3_s2_e4_c24_se", "ir_r2_k3_s2_e4_c40_se"), ("cn_c128", "pool", "fc"),
        resolution=32, num_classes=10,
    )  # fmt: skip
    first, second = rule_for(base), rule_for(base.scale(2.0, 2.0, 48), base)
    assert first.dropout == 0.2
    assert 0.3 < (second.dropout or 0) <= 0.5
    assert second.note.startswith("for ImageNet, the base taken for the smallest network")


def test_nothing_is_recommended_for_networks_nothing_is_known_of() -> None:
    space = nas.space("nasbench101")
    spec = space.spec(space.sample(1, np.random.default_rng(0))[0])
    assert recommended(spec, spec) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dropout": 1.2}, "dropout is 1.2, must be a number from 0 to 1"),
        ({"stochastic_depth": "high"}, "stochastic_depth is 'high', must be a number from 0 to 1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"epochs": 0}, "epochs is 0, must be a number from 1"),
        ({"mixup": True}, "mixup is True"),
        ({"optimizer": 3}, "optimizer is 3, must be text"),
        ({"origin": "guessed"}, "origin is 'guessed', one of published, rule"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        Recipe(**settings)


def test_text_names_settings_and_source() -> None:
    text = recipe_of("efficientnet_b0").text
    assert text.startswith("as published: AutoAugment, label smoothing 0.1, RMSProp, weight decay 1e-05, 350 epochs (")
    assert "tensorflow/tpu" in text
    assert rule_for(nas.network("mobilenetv2")).text.startswith("by rule")
    assert "nothing but what grows" in recipe_of("efficientnet_l2").text
