"""Coefficients, multipliers, and the exact networks that they give."""

from __future__ import annotations

import math

import pytest

import nas
from nas.errors import NasError
from nas.scaling.coefficients import Coefficients, Multipliers
from nas.scaling.scaled import check_scalable, scaled, scaled_resolution
from nas.space import NetworkSpec

PAPER = Coefficients(1.2, 1.1, 1.15)


def test_growth_is_what_the_paper_states() -> None:
    assert math.isclose(PAPER.growth, 1.2 * 1.1**2 * 1.15**2)
    assert round(PAPER.growth, 2) == 1.92


def test_members_are_powers_of_the_coefficients() -> None:
    assert PAPER.at(0) == Multipliers(1, 1, 1)
    assert PAPER.at(2) == Multipliers(1.2**2, 1.1**2, 1.15**2)


@pytest.mark.parametrize("text", ["1.2,1.1", "1.2;1.1;1.15", "", "a,b,c", "0.9,1.1,1.1", "1.2,1.1,nan", "inf,1,1"])
def test_text_that_is_no_coefficients_is_refused(text: str) -> None:
    with pytest.raises(NasError, match="coefficient"):
        Coefficients.parse(text)


@pytest.mark.parametrize("phi", [-1, -0.001, math.nan, math.inf])
def test_a_negative_phi_is_refused(phi: float) -> None:
    with pytest.raises(NasError, match=r"phi is .* must not be negative"):
        PAPER.at(phi)


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_a_multiplier_is_a_positive_number(value: float) -> None:
    with pytest.raises(NasError, match="width multiplier"):
        Multipliers(1, value, 1)


@pytest.mark.parametrize(
    ("name", "by", "released"),
    [
        ("efficientnet_b0", Multipliers(1.1, 1.0, 240 / 224), "efficientnet_b1"),
        ("efficientnet_b0", Multipliers(1.8, 1.4, 380 / 224), "efficientnet_b4"),
        ("efficientnet_b0", Multipliers(3.1, 2.0, 600 / 224), "efficientnet_b7"),
        ("efficientnet_b0", Multipliers(5.3, 4.3, 800 / 224), "efficientnet_l2"),
        ("regnetx_032", Multipliers(), "regnetx_032"),
        ("convnext_tiny", Multipliers(1, 128 / 96, 1), ""),
    ],
)
def test_released_networks_by_their_multipliers(name: str, by: Multipliers, released: str) -> None:
    network = scaled(nas.network(name), by)
    if released:
        assert network == nas.network(released)
    else:
        # ConvNeXt-B is S at 128 / 96 of its width; T has the same widths as S.
        small, base = nas.network("convnext_small"), nas.network("convnext_base")
        assert scaled(small, by) == base
        assert network.cost()["params"] < base.cost()["params"]


def test_resolutions_are_multiples_of_four_pixels_for_large_images_and_any_for_small_ones(
    tiny_space: nas.space,  # type: ignore[valid-type]
) -> None:
    b0 = nas.network("efficientnet_b0")
    assert [scaled_resolution(b0, 1.15**phi) for phi in (0, 0.5, 1, 2)] == [224, 240, 256, 296]
    small: NetworkSpec = tiny_space.spec([0] * len(tiny_space.decisions))  # type: ignore[attr-defined]
    assert scaled_resolution(small, 1.15) == 37
    cell = nas.space("nasbench201").spec("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    assert scaled_resolution(cell, 1.15) == 36


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny", "darts_v2", "nasnet_a_mobile", "regnety_016"])
def test_every_kind_of_network_scales_in_every_dimension(name: str) -> None:
    check_scalable(nas.network(name))


class _Rigid:
    """Stands for a network whose depth is given."""

    name, resolution, resolution_multiple = "rigid", 224, 1

    @property
    def blocks(self) -> tuple[()]:
        return ()

    def scale(self, depth: float, width: float, resolution: int) -> _Rigid:
        if width != 1:
            raise NasError("its channels are those of a table")
        return self if depth != 1 else _Rigid()


def test_a_base_that_cannot_be_scaled_is_refused_with_the_dimension() -> None:
    rigid: NetworkSpec = _Rigid()  # type: ignore[assignment]
    with pytest.raises(NasError, match="rigid cannot be scaled in depth: it stays the same"):
        check_scalable(rigid, ["depth"])
    with pytest.raises(NasError, match="rigid cannot be scaled in width: its channels are those of a table"):
        check_scalable(rigid, ["width"])
    check_scalable(rigid, ["resolution"])
