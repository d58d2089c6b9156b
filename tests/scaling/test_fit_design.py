"""Networks to train: distinct, of the cost asked for, and enough to tell every term of a surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nas
from nas.errors import NasError
from nas.scaling.fitting.design import DesignPoint, design, design_table, write_design
from nas.scaling.fitting.response import fit_surface
from nas.scaling.fitting.table import read_observations
from nas.space import StagedNetwork


@pytest.fixture(scope="module")
def base() -> StagedNetwork:
    stages = [f"ir_r{repeats}_k3_s2_e4_c{channels}" for repeats, channels in ((2, 24), (3, 40), (4, 80), (2, 160))]
    return StagedNetwork.from_strings(
        "cn_k3_s2_c32", stages, ("cn_c640", "pool", "fc"), resolution=160, name="eleven"
    )  # fmt: skip


@pytest.fixture(scope="module")
def points(base: StagedNetwork) -> list[DesignPoint]:
    return design(base, 15, 2.0)


def test_costs_are_near_those_asked_for(base: StagedNetwork, points: list[DesignPoint]) -> None:
    table = design_table(points)
    assert table["name"].is_unique
    assert table["macs"].iloc[0] == base.cost()["macs"]
    wanted = np.array([float(name.split("-x")[-1]) for name in table["name"][1:]])
    assert np.bincount(wanted.astype(int))[[2, 4]].tolist() == [7, 7]
    assert np.abs(np.log(table["macs_factor"][1:] / wanted)).max() < 0.12


def test_rows_describe_the_networks_they_are_of(base: StagedNetwork, points: list[DesignPoint]) -> None:
    for point, row in zip(points, design_table(points).to_dict(orient="records"), strict=True):
        again = base.scale(row["depth"], row["width"], row["resolution"])
        assert again == point.network
        assert (row["params"], row["macs"]) == (again.cost()["params"], again.cost()["macs"])


def test_the_design_tells_all_terms(base: StagedNetwork, points: list[DesignPoint], tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    table = design_table(points, nas.target("pixel4"))
    write_design(table, path)
    with pytest.raises(NasError, match="accuracy is empty"):
        read_observations(path, base)
    path.unlink()
    write_design(table.assign(accuracy=75.0), path)
    observations = read_observations(path, base)
    np.testing.assert_allclose(observations.costs["latency_ms"], table["latency_ms"])
    surface = fit_surface(observations.logs, np.arange(15.0))
    assert surface.interactions
    assert len(surface.estimate) == 10
    # A design that hardly told two terms apart would have one of enormous variance.
    assert np.linalg.cond(surface.terms(observations.logs)) < 500


def test_fewer_points_still_tell_main_effects_and_squares(
    base: StagedNetwork, points: list[DesignPoint], tmp_path: Path
) -> None:
    fewer = design(base, 9, 2.0)
    assert fewer == points[:9]
    path = tmp_path / "points.csv"
    write_design(design_table(fewer).assign(accuracy=75.0), path)
    surface = fit_surface(read_observations(path, base).logs, np.arange(9.0))
    assert (surface.interactions, surface.freedom) == (False, 2)


def test_a_filled_in_table_is_never_overwritten(points: list[DesignPoint], tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("precious")
    with pytest.raises(NasError, match="not overwritten"):
        write_design(design_table(points), path)
    assert path.read_text() == "precious"


def test_what_cannot_be_designed_is_refused(base: StagedNetwork) -> None:
    with pytest.raises(NasError, match="points is 4"):
        design(base, 4)
    with pytest.raises(NasError, match="factor"):
        design(base, factor=1.0)
    tiny = StagedNetwork.from_strings("cn_k3_s2_c8", ("ir_r1_k3_s2_e2_c8",), ("pool", "fc"), resolution=8)
    with pytest.raises(NasError, match="too small for 21 different networks"):
        design(tiny, 21, 1.05)
