"""Training runs through nerfstudio's own loop: checkpoints, resuming, and data that makes no sense."""

import json
from pathlib import Path

import pytest
import torch

from vnp_core.errors import CheckpointError, ConfigError, OutputExistsError, SceneNotFoundError
from vnp_nerf.face.checkpoints import latest_checkpoint, read_checkpoint


def checkpoint_of(config_file: Path) -> dict:
    return read_checkpoint(latest_checkpoint(config_file.parent / "nerfstudio_models"))


def test_a_run_leaves_an_absolute_config_and_a_checkpoint_of_tensors_alone(trained: Path) -> None:
    from vnp_nerf.face.run_file import read_run_config

    config = read_run_config(trained)
    assert config.pipeline.datamanager.data.is_absolute()
    assert config.get_base_dir() == trained.parent
    assert set(checkpoint_of(trained)) == {"step", "pipeline", "optimizers", "schedulers", "scalers"}
    assert {path.name for path in trained.parent.iterdir()} >= {"config.yml", "dataparser_transforms.json"}
    assert not list(trained.parent.rglob("*.partial"))


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
    collection: Path, tmp_path: Path, make_config, run_training
) -> None:
    def config(name: str, steps: int):
        made = make_config(collection, tmp_path / name, steps)
        for group in made.optimizers.values():
            group["scheduler"].max_steps = 4
        return made

    whole = run_training(config("whole", 4))
    first = run_training(config("first", 2))
    rest = config("rest", 2)
    rest.load_dir = first.parent / "nerfstudio_models"
    second = run_training(rest)
    assert checkpoint_of(second)["step"] == checkpoint_of(whole)["step"] == 3
    expected, resumed = checkpoint_of(whole)["pipeline"], checkpoint_of(second)["pipeline"]
    for name, value in expected.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=1e-6, msg=name)
    assert any((expected[name] != checkpoint_of(first)["pipeline"][name]).any() for name in expected)


def test_a_run_goes_on_from_bare_weights(
    collection: Path, ball_run: Path, tmp_path: Path, make_config, run_training
) -> None:
    config = make_config(collection, tmp_path, 1)
    config.load_dir = ball_run.parent / "nerfstudio_models"
    assert checkpoint_of(run_training(config))["step"] == 0


def test_a_checkpoint_of_another_architecture_ends_the_run_with_its_code(
    collection: Path, trained: Path, tmp_path: Path, make_config, run_training, capsys
) -> None:
    config = make_config(collection, tmp_path, 1, method="vnp-nerf-tiny")
    config.pipeline.model.radiance = type(config.pipeline.model.radiance)(width=24)
    config.load_dir = trained.parent / "nerfstudio_models"
    with pytest.raises(SystemExit) as exit_of_run:
        run_training(config)
    assert exit_of_run.value.code == CheckpointError.exit_code
    assert "CheckpointError" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_checkpoint_that_cannot_be_read_is_one_clear_error(
    damage: str, trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "step-000000001.ckpt"
    if damage == "truncated":
        path.write_bytes(latest_checkpoint(trained.parent / "nerfstudio_models").read_bytes()[:1000])
    elif damage == "foreign":
        torch.save({"weights": torch.ones(2)}, path)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_folder_without_checkpoints_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        latest_checkpoint(tmp_path)


def exit_code_of(action) -> int:
    with pytest.raises(SystemExit) as caught:
        action()
    return int(caught.value.code or 0)


def test_no_scene_under_data_leaves_nothing_behind(tmp_path: Path, make_config) -> None:
    (tmp_path / "empty").mkdir()
    config = make_config(tmp_path / "empty", tmp_path / "out", 1)
    assert exit_code_of(config.save_config) == SceneNotFoundError.exit_code
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(collection: Path, trained: Path, make_config) -> None:
    before = trained.read_bytes()
    config = make_config(collection, trained.parents[3], 1)
    config.run_dir = trained.parent
    assert exit_code_of(config.save_config) == OutputExistsError.exit_code
    assert trained.read_bytes() == before


def test_another_dataparser_is_refused_by_name(collection: Path, tmp_path: Path, make_config, capsys) -> None:
    from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig

    config = make_config(collection, tmp_path / "out", 1)
    config.pipeline.datamanager.dataparser = BlenderDataParserConfig()
    assert exit_code_of(config.save_config) == ConfigError.exit_code
    assert "BlenderDataParserConfig" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_evaluation_during_training_is_flat_and_that_of_ns_eval_names_scenes(
    trained: Path, tmp_path: Path
) -> None:
    from nerfstudio.scripts.eval import ComputePSNR
    from nerfstudio.utils.eval_utils import eval_setup

    flat = eval_setup(trained, test_mode="val")[1].get_average_eval_image_metrics(step=1)
    assert all(isinstance(value, float) for value in flat.values())
    ComputePSNR(trained, tmp_path / "scores.json").main()
    results = json.loads((tmp_path / "scores.json").read_text())["results"]
    assert set(results["per_scene"]) == {"test/f", "test/g"}
