"""scripts/ship_weights.py: a run's latest checkpoint becomes weights that `vnp-infer --weights` takes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vnp_core.errors import ConfigError, OutputExistsError
from vnp_nerf.face.checkpoints import latest_checkpoint, read_checkpoint
from vnp_nerf.library import load_model


def _ship(script: ModuleType, trained: Path, folder: Path, **changes: object) -> Path:
    options = script.Ship(
        load_config=trained,
        name="vnp-nerf-test",
        data="balls",
        credits="nobody's",
        command="ns-train",
        limits="balls only",
        output_dir=folder,
        **changes,
    )
    return script.ship(options)


def test_shipped_weights_are_the_runs_to_eight_bits(
    load_script: Callable[[str], ModuleType], trained: Path, tmp_path: Path
) -> None:
    script = load_script("ship_weights")
    model, card = load_model(_ship(script, trained, tmp_path))
    checkpoint = read_checkpoint(latest_checkpoint(trained.parent / "nerfstudio_models"))
    assert card["steps"] == checkpoint["step"] + 1
    assert card["hours"] == pytest.approx(checkpoint["spent"]["seconds"] / 3600, abs=0.006)
    assert card["hardware"] == checkpoint["spent"]["hardware"]
    assert (card["data"], card["credits"], card["licence"]) == ("balls", "nobody's", "CC-BY 4.0")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(
            tensor, checkpoint["pipeline"][f"_model.radiance.{name}"], rtol=2**-8, atol=0
        )


def test_what_a_card_says_of_training_can_be_given(
    load_script: Callable[[str], ModuleType], trained: Path, tmp_path: Path
) -> None:
    script = load_script("ship_weights")
    given = {"hours": 2.5, "hardware": "an abacus", "earlier_steps": 1000}
    _, card = load_model(_ship(script, trained, tmp_path, **given))
    assert (card["hours"], card["hardware"], card["steps"]) == (2.5, "an abacus", 1002)


def test_a_run_that_kept_no_times_needs_them(
    load_script: Callable[[str], ModuleType], trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.parent, run)
    path = latest_checkpoint(run / "nerfstudio_models")
    state = read_checkpoint(path)
    del state["spent"]
    torch.save(state, path)
    script = load_script("ship_weights")
    with pytest.raises(ConfigError, match="give --hours and --hardware"):
        _ship(script, run / "config.yml", tmp_path)


def test_weights_of_the_same_name_are_replaced_only_on_demand(
    load_script: Callable[[str], ModuleType], trained: Path, tmp_path: Path
) -> None:
    script = load_script("ship_weights")
    _ship(script, trained, tmp_path)
    with pytest.raises(OutputExistsError, match="--replace"):
        _ship(script, trained, tmp_path)
    _ship(script, trained, tmp_path, replace=True)
