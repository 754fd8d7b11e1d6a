"""Training runs through nerfstudio's own loop: checkpoints, resuming, and data that makes no sense."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from vnp_core.errors import (
    CheckpointError,
    ConfigError,
    DivergenceError,
    OutputExistsError,
    SceneError,
    SceneNotFoundError,
)
from vnp_nerf.batches import SceneSampler
from vnp_nerf.face.checkpoints import latest_checkpoint, read_checkpoint
from vnp_nerf.face.guards import FieldMonitor
from vnp_nerf.face.schedulers import WarmupCosineConfig
from vnp_nerf.library import build_model, save_model


def checkpoint_of(config_file: Path) -> dict:
    return read_checkpoint(latest_checkpoint(config_file.parent / "nerfstudio_models"))


def test_a_run_leaves_an_absolute_config_and_a_checkpoint_of_tensors_alone(trained: Path) -> None:
    from vnp_nerf.face.run_file import read_run_config

    config = read_run_config(trained)
    assert config.pipeline.datamanager.data.is_absolute()
    assert config.get_base_dir() == trained.parent
    assert set(checkpoint_of(trained)) == {
        "step", "pipeline", "optimizers", "schedulers", "scalers", "spent"
    }  # fmt: skip
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
    assert checkpoint_of(second)["spent"]["seconds"] > checkpoint_of(first)["spent"]["seconds"] > 0
    expected, resumed = checkpoint_of(whole)["pipeline"], checkpoint_of(second)["pipeline"]
    for name, value in expected.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=1e-6, msg=name)
    assert any((expected[name] != checkpoint_of(first)["pipeline"][name]).any() for name in expected)


def test_a_resumed_run_goes_on_with_rates_of_its_own(
    collection: Path, trained: Path, tmp_path: Path, make_config, run_training
) -> None:
    config = make_config(collection, tmp_path, 1)
    config.load_dir = trained.parent / "nerfstudio_models"
    others = config.optimizers["others"]
    others["optimizer"].lr, others["optimizer"].weight_decay = 5e-5, 0.25
    others["scheduler"] = WarmupCosineConfig(warmup_steps=0, max_steps=0)
    state = checkpoint_of(run_training(config))
    (group,) = state["optimizers"]["others"]["param_groups"]
    assert group["initial_lr"] == group["lr"] == 5e-5
    assert group["weight_decay"] == 0.25
    assert state["schedulers"]["others"]["base_lrs"] == [5e-5]
    before = checkpoint_of(trained)["optimizers"]["others"]
    assert len(state["optimizers"]["others"]["state"]) == len(before["state"])
    assert state["step"] == checkpoint_of(trained)["step"] + 1


def test_an_error_of_ours_in_training_loses_no_step(
    collection: Path, tmp_path: Path, make_config, run_training, monkeypatch, capsys
) -> None:
    make_batch = SceneSampler.batch

    def batch(sampler: SceneSampler, step: int):
        if step == 2:
            raise SceneError("scene 7 lacks its depth.")
        return make_batch(sampler, step)

    monkeypatch.setattr(SceneSampler, "batch", batch)
    assert exit_code_of(lambda: run_training(make_config(collection, tmp_path, 9))) == SceneError.exit_code
    assert "scene 7 lacks its depth. The weights" in capsys.readouterr().err
    (kept,) = tmp_path.rglob("*.ckpt")
    assert read_checkpoint(kept)["step"] == 1


def test_first_steps_can_teach_views_depth_alone(
    collection: Path, tmp_path: Path, make_config, run_training, monkeypatch, capsys
) -> None:
    make_batch = SceneSampler.batch

    def batch(sampler: SceneSampler, step: int):
        made = make_batch(sampler, step)
        made.context_depth = torch.full((*made.context.mask.shape, *made.context.rgba.shape[-2:]), 3.0)
        return made

    monkeypatch.setattr(SceneSampler, "batch", batch)
    monkeypatch.setattr(
        "vnp_nerf.radiance_training.metrics",
        lambda outputs: {"psnr": torch.tensor(20.0)} if "rgb" in outputs else {},
    )
    states = []
    for steps in (1, 2, 3):
        config = make_config(collection, tmp_path / str(steps), steps)
        config.pipeline.model.radiance = replace(
            config.pipeline.model.radiance, view_depth=True, view_unet=8, view_depth_steps=2
        )
        states.append(checkpoint_of(run_training(config))["pipeline"])

    def changed(before: dict, after: dict) -> set[str]:
        return {name.split(".")[2] for name in before if not torch.equal(before[name], after[name])}

    assert changed(states[0], states[1]) == {"unet"}
    assert changed(states[1], states[2]) > {"unet", "encoder", "network"}
    # A step without pictures has no share in the mean of a line.
    quiet, _, loud = (line for line in capsys.readouterr().out.splitlines() if line.startswith("step "))
    assert "psnr" not in quiet
    assert "psnr 20 " in loud


@pytest.mark.filterwarnings("error:Detected call of `lr_scheduler.step:UserWarning")
def test_noise_is_given_to_weights_that_have_none(
    collection: Path, tmp_path: Path, make_config, run_training
) -> None:
    def config(name: str, steps: int, **changes: object):
        made = make_config(collection, tmp_path / name, steps)
        made.pipeline.model.radiance = replace(made.pipeline.model.radiance, train_draws=0, **changes)
        return made

    plain = checkpoint_of(run_training(config("plain", 1, noise=False)))["pipeline"]
    silent = tmp_path / "silent.safetensors"
    model = build_model(config("silent", 1, noise=False).pipeline.model.radiance)
    model.load_state_dict({name: plain[f"_model.radiance.{name}"] for name in model.state_dict()})
    save_model(silent, model, {})
    first = config("first", 2, noise_alone=True)
    first.pipeline.model.initial_weights = str(silent)
    stopped = run_training(first)
    rest = config("rest", 1, noise_alone=True)
    rest.load_dir = stopped.parent / "nerfstudio_models"
    states = [checkpoint_of(path) for path in (stopped, run_training(rest))]
    assert set(states[0]["optimizers"]) == {"others"}
    noise = {"_model.radiance.noise.of_state.weight", "_model.radiance.noise.of_state.bias"}
    taught, further = (state["pipeline"] for state in states)
    assert set(taught) == {*plain, *noise}
    assert all(torch.equal(taught[name], value) for name, value in plain.items())
    assert {name for name in taught if not torch.equal(taught[name], further[name])} == noise


def test_the_same_seed_trains_to_the_same_bytes(
    collection: Path, tmp_path: Path, make_config, run_training
) -> None:
    states = [checkpoint_of(run_training(make_config(collection, tmp_path / name, 3))) for name in "ab"]
    for name, value in states[0]["pipeline"].items():
        assert value.numpy().tobytes() == states[1]["pipeline"][name].numpy().tobytes()
    other = make_config(collection, tmp_path / "c", 3)
    other.machine.seed += 1
    changed = checkpoint_of(run_training(other))["pipeline"]
    assert any(not torch.equal(changed[name], value) for name, value in states[0]["pipeline"].items())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_steps_of_the_same_seed_give_the_same_bytes(
    collection: Path, tmp_path: Path, make_config, run_training
) -> None:
    states = [checkpoint_of(run_training(make_config(collection, tmp_path / name, 100))) for name in "ab"]
    for name, value in states[0]["pipeline"].items():
        assert value.numpy().tobytes() == states[1]["pipeline"][name].numpy().tobytes()


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


def test_scenes_of_later_steps_are_missed_first(collection, tmp_path: Path, make_config, capsys) -> None:
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "train").symlink_to(collection / "train")
    config = make_config(tmp_path / "scenes", tmp_path / "out", 5)
    config.steps_per_eval_batch = 4
    assert exit_code_of(config.save_config) == SceneNotFoundError.exit_code
    assert "--steps-per-eval-batch 4 evaluate" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
    # A resumed run counts its steps from those before, so any interval may be met.
    config.steps_per_eval_batch, config.steps_per_eval_all_images = 0, 1000
    config.load_dir = tmp_path / "elsewhere"
    assert exit_code_of(config.save_config) == SceneNotFoundError.exit_code
    config.load_dir = None
    config.save_config()
    assert (config.get_base_dir() / "config.yml").exists()


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


def spoil(monkeypatch, bad_steps: set[int], where: str) -> None:
    """Lets the loss or a gradient of some steps of a run become NaN."""
    from vnp_nerf.radiance import RadianceModel

    inner = RadianceModel.loss_terms

    def loss_terms(self, outputs, batch, step):
        losses = inner(self, outputs, batch, step)
        if step in bad_steps and torch.is_grad_enabled():
            if where == "loss":
                return {**losses, "alpha": losses["alpha"] * float("nan")}
            losses["rgb"].register_hook(lambda gradient: gradient * float("nan"))
        return losses

    monkeypatch.setattr(RadianceModel, "loss_terms", loss_terms)


@pytest.mark.fault("numbers that are not finite")
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_weights_before_it(
    collection: Path, tmp_path: Path, make_config, run_training, monkeypatch, capsys, where: str
) -> None:
    def config(name: str, steps: int):
        made = make_config(collection, tmp_path / name, steps)
        for group in made.optimizers.values():
            group["scheduler"].max_steps = 4
        return made

    good = checkpoint_of(run_training(config("good", 2)))
    bad = config("bad", 4)
    spoil(monkeypatch, {2}, where)
    with pytest.raises(SystemExit) as ended:
        run_training(bad)
    assert ended.value.code == DivergenceError.exit_code
    said = capsys.readouterr().err
    assert "step 2" in said
    assert ("alpha is nan" if where == "loss" else "gradients are not finite") in said
    assert re.search(r"The batch's scenes: [abc], [abc]\.", said)
    kept = read_checkpoint(latest_checkpoint(bad.get_checkpoint_dir()))
    assert kept["step"] == 1
    for name, value in good["pipeline"].items():
        assert torch.equal(kept["pipeline"][name], value)


@pytest.mark.fault("numbers that are not finite")
def test_a_loss_that_is_not_finite_is_skipped_on_demand_and_ten_in_a_row_stop_the_run(
    collection: Path, tmp_path: Path, make_config, run_training, monkeypatch, capsys
) -> None:
    config = make_config(collection, tmp_path / "some", 4)
    config.on_divergence = "skip"
    with monkeypatch.context() as patch:
        spoil(patch, {1, 2}, "loss")
        state = checkpoint_of(run_training(config))
    assert state["step"] == 3
    assert all(bool(value.isfinite().all()) for value in state["pipeline"].values())
    counts = [int(entry["step"]) for entry in state["optimizers"]["others"]["state"].values()]
    assert set(counts) == {2}  # of four steps, two were left out
    config = make_config(collection, tmp_path / "all", 30)
    config.on_divergence = "skip"
    spoil(monkeypatch, set(range(30)), "loss")
    with pytest.raises(SystemExit) as ended:
        run_training(config)
    assert ended.value.code == DivergenceError.exit_code
    assert "step 9" in capsys.readouterr().err


@pytest.mark.parametrize(("alpha", "said"), [(0.0, "the field is empty"), (1.0, "the field is full")])
def test_a_run_whose_field_shows_nothing_says_so(
    collection: Path, tmp_path: Path, make_config, run_training, monkeypatch, capsys, alpha: float, said: str
) -> None:
    from vnp_nerf.face import pipeline
    from vnp_nerf.radiance import RadianceModel

    inner = RadianceModel.train_outputs

    def collapsed(self, batch, generator, step):
        outputs = inner(self, batch, generator, step)
        return {**outputs, "alpha": 0 * outputs["alpha"] + alpha}

    monkeypatch.setattr(RadianceModel, "train_outputs", collapsed)
    monkeypatch.setattr(pipeline, "FieldMonitor", partial(FieldMonitor, patience=5))
    run_training(make_config(collection, tmp_path, 8))
    assert f"step 5: {said}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.fault("numbers that are not finite")
def test_weights_that_are_not_finite_are_never_saved(trained: Path, tmp_path: Path) -> None:
    from vnp_nerf.face.run_file import read_run_config

    config = read_run_config(trained)
    config.run_dir = tmp_path / "run"
    trainer = config.setup(local_rank=0, world_size=1)
    trainer.setup()
    trainer.save_checkpoint(1)
    with torch.no_grad():
        trainer.pipeline.model.radiance.network.density.bias.fill_(float("nan"))
    with pytest.raises(DivergenceError, match=r"not finite: .*density\.bias"):
        trainer.save_checkpoint(2)
    assert [path.name for path in trainer.checkpoint_dir.iterdir()] == ["step-000000001.ckpt"]


def test_the_last_two_checkpoints_are_kept_and_a_corrupt_newest_one_costs_only_its_interval(
    collection: Path, tmp_path: Path, make_config, run_training, capsys
) -> None:
    config = make_config(collection, tmp_path / "first", 6)
    config.steps_per_save = 2
    folder = run_training(config).parent / "nerfstudio_models"
    newest, before = sorted(folder.iterdir(), reverse=True)
    assert (newest.name, before.name) == ("step-000000005.ckpt", "step-000000004.ckpt")
    newest.write_bytes(newest.read_bytes()[:-5000])
    capsys.readouterr()
    rest = make_config(collection, tmp_path / "rest", 1)
    rest.load_dir = folder
    assert checkpoint_of(run_training(rest))["step"] == 5
    said = capsys.readouterr()
    assert "going back to the checkpoint before it" in said.err
    assert "step-000000004.ckpt" in said.err
