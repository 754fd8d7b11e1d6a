"""The systems of the benchmark of pictures: sizes alike, one floor, and what each reads."""

import json

import pytest

from vnp_core.bench.systems import describe, system_of
from vnp_core.bench.systems_2d import OURS, PATCHES, SIGMA_FLOOR, SYSTEMS_2D, with_floor


@pytest.mark.parametrize("name", list(SYSTEMS_2D))
def test_every_system_survives_json(name: str) -> None:
    system = SYSTEMS_2D[name].sized(2, 3)
    assert system_of(json.loads(json.dumps(describe(system)))) == system


def test_systems_have_about_as_many_parameters_as_ours() -> None:
    counts = {
        name: sum(parameter.numel() for parameter in system.sized(2, 1).build(0).parameters())
        for name, system in SYSTEMS_2D.items()
    }
    peers = {name: count for name, count in counts.items() if name != "vnp-L0"}
    assert peers == {name: pytest.approx(counts[OURS], rel=0.05) for name in peers}


def test_all_systems_share_one_floor_which_can_be_changed() -> None:
    assert {system.sigma_floor for system in SYSTEMS_2D.values()} == {SIGMA_FLOOR}
    assert {system.sigma_floor for system in with_floor(SYSTEMS_2D, 0.1).values()} == {0.1}
    assert with_floor(SYSTEMS_2D, SIGMA_FLOOR) == SYSTEMS_2D


def test_patches_alone_read_grids() -> None:
    assert {name for name, system in SYSTEMS_2D.items() if system.reads_grids} == {PATCHES}
