"""Systems by name, as JSON, and as files of weights."""

import json
from pathlib import Path

import pytest
import torch

from vnp_core.bench.systems import System, describe, find_system, load_system, save_system, system_of
from vnp_core.bench.systems_1d import LEVELS_1D, OURS, PEERS_1D, SYSTEMS_1D
from vnp_core.errors import ConfigError
from vnp_core.model import ProcessConfig


def parameters(system: System) -> int:
    return sum(parameter.numel() for parameter in system.build(0).parameters())


@pytest.mark.parametrize("name", list(SYSTEMS_1D))
def test_every_system_survives_json(name: str) -> None:
    system = SYSTEMS_1D[name].sized(1, 2)
    assert system.model.y_dim == 2
    assert system_of(json.loads(json.dumps(describe(system)))) == system


def test_peers_have_about_as_many_parameters_as_ours() -> None:
    ours = parameters(SYSTEMS_1D[OURS])
    assert {name: parameters(SYSTEMS_1D[name]) for name in PEERS_1D} == {
        name: pytest.approx(ours, rel=0.1) for name in PEERS_1D
    }


def test_no_system_has_a_floor_and_levels_are_what_their_names_say() -> None:
    assert {system.sigma_floor for system in SYSTEMS_1D.values()} == {0.0}
    for levels, name in LEVELS_1D.items():
        model = SYSTEMS_1D[name].model
        assert isinstance(model, ProcessConfig)
        assert model.latents.levels == levels


def test_a_system_is_built_from_its_seed_and_leaves_global_randomness_alone(tiny_vnp: System) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (tiny_vnp.build(seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("half", [False, True])
def test_weights_come_back_as_they_were_saved(tiny_vnp: System, tmp_path: Path, half: bool) -> None:
    model = tiny_vnp.build(5)
    path = save_system(tmp_path / "w", tiny_vnp, model, {"steps": 3}, half=half)
    system, loaded, metadata = load_system(path)
    assert system == tiny_vnp
    assert metadata == {"steps": 3}
    for name, tensor in model.state_dict().items():
        expected = tensor.bfloat16().float() if half else tensor
        assert torch.equal(loaded.state_dict()[name], expected)


def test_names_and_kinds_that_are_none_are_refused_with_the_nearest(tiny_vnp: System) -> None:
    with pytest.raises(ConfigError, match="'vnp-diagnal'.*'vnp-diagonal'"):
        find_system("vnp-diagnal", SYSTEMS_1D)
    with pytest.raises(ConfigError, match="kind 'tpn'.*'tnp'"):
        system_of({**describe(tiny_vnp), "kind": "tpn"})
