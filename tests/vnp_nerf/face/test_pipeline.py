"""Data-parallel training, strict loading, and the scene model behind nerfstudio's pipeline."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vnp_core.errors import CheckpointError
from vnp_nerf.face.checkpoints import latest_checkpoint, model_state, read_checkpoint

TWO_PROCESSES = """
import sys
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from pathlib import Path

def work(rank, world, config_file, folder, port):
    from nerfstudio.scripts.train import _set_random_seed
    from nerfstudio.utils import comms
    from vnp_nerf.face.run_file import read_run_config

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", world_size=world, rank=rank)
    comms.LOCAL_PROCESS_GROUP = dist.new_group(list(range(world)))
    config = read_run_config(config_file)
    _set_random_seed(config.machine.seed + rank)
    trainer = config.setup(local_rank=rank, world_size=world)
    trainer.setup()
    manager, first = trainer.pipeline.datamanager, []
    inner = manager.next_train
    def next_train(step):
        rays, batch = inner(step)
        first.append(batch.rgba)
        return rays, batch
    manager.next_train = next_train
    trainer.train()
    torch.save({"batch": first[0], "model": trainer.pipeline.model.state_dict()}, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()

if __name__ == "__main__":
    from nerfstudio.scripts.train import _find_free_port
    mp.spawn(work, nprocs=2, args=(2, Path(sys.argv[1]), sys.argv[2], _find_free_port()))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_draw_their_own_batches_and_share_their_weights(
    collection: Path, tmp_path: Path, make_config
) -> None:
    config = make_config(collection, tmp_path / "out", steps=3)
    config.save_config()
    script = tmp_path / "two_processes.py"
    script.write_text(TWO_PROCESSES)
    command = [sys.executable, str(script), str(config.get_base_dir() / "config.yml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=880, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert not torch.equal(first["batch"], second["batch"])
    for name, value in first["model"].items():
        torch.testing.assert_close(second["model"][name], value, rtol=0, atol=0, msg=name)
    saved = model_state(read_checkpoint(latest_checkpoint(config.get_checkpoint_dir()))["pipeline"])
    for name, value in first["model"].items():
        torch.testing.assert_close(saved[name], value, rtol=0, atol=0, msg=name)


@pytest.fixture
def pipeline(trained: Path):
    from nerfstudio.utils.eval_utils import eval_setup

    return eval_setup(trained, test_mode="val")[1]


def test_a_checkpoint_loads_with_and_without_data_parallel_names(pipeline) -> None:
    state = pipeline.state_dict()
    renamed = {name.replace("_model.", "_model.module.", 1): value + 1 for name, value in state.items()}
    pipeline.load_pipeline(renamed, 0)
    for name, value in pipeline.state_dict().items():
        torch.testing.assert_close(value, renamed[name.replace("_model.", "_model.module.", 1)])


@pytest.mark.parametrize("damage", ["missing", "unexpected", "misshapen"])
def test_a_checkpoint_that_does_not_fit_changes_nothing(damage: str, pipeline, capsys) -> None:
    before = copy.deepcopy(pipeline.state_dict())
    state = {name: value + 1 for name, value in before.items()}
    name = next(key for key in state if key.endswith("density.weight"))
    if damage == "missing":
        del state[name]
    elif damage == "unexpected":
        state["_model.radiance.more"] = torch.ones(1)
    else:
        state[name] = torch.ones(1, 1)
    with pytest.raises(SystemExit) as ended:
        pipeline.load_pipeline(state, 0)
    assert ended.value.code == CheckpointError.exit_code
    assert ("more" if damage == "unexpected" else "density.weight") in capsys.readouterr().err
    for key, value in pipeline.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_a_step_of_training_makes_the_tools_look_anew(pipeline) -> None:
    model = pipeline.model
    field = model.field()
    assert model.field() is field  # encoded once
    callback = model.get_training_callbacks(None)[0]
    callback.run_callback(0)
    assert model.field() is not field


def test_another_context_is_seen_for_the_length_of_a_block_only(pipeline) -> None:
    from vnp_nerf.views import Views

    model, scene = pipeline.model, pipeline.datamanager.dataparser.scene
    field = model.field()
    with model.looking_at(Views.from_scene(scene, [1])):
        assert model.field() is not field
    assert model.field() is field


def test_fields_never_become_part_of_a_checkpoint(pipeline) -> None:
    names = set(pipeline.state_dict())
    pipeline.model.field()
    assert set(pipeline.state_dict()) == names


def test_training_batches_mix_scenes_and_the_tools_see_one(pipeline, ball_run: Path) -> None:
    from nerfstudio.utils.eval_utils import eval_setup

    rays, batch = pipeline.datamanager.next_train(0)
    assert len(rays) == 2 * 32
    assert len(set(batch.scene_names)) == 2
    assert all(name.startswith("train/") or name in "abc" for name in batch.scene_names)
    manager = eval_setup(ball_run)[1].datamanager
    rays, _ = manager.next_train(0)
    positions = manager.train_dataset.cameras.camera_to_worlds[:, :, 3]
    nearest = (rays.origins[:200, None] - positions).norm(dim=-1).amin(dim=1)
    assert float(nearest.max()) < 1e-5


def test_batches_depend_on_seed_and_step_alone(trained: Path) -> None:
    from vnp_nerf.face.run_file import read_run_config

    def batch(step: int, seed: int) -> torch.Tensor:
        config = read_run_config(trained).pipeline.datamanager
        config.seed = seed
        return config.setup(device="cpu", test_mode="val").next_train(step)[1].rgba

    assert torch.equal(batch(5, 0), batch(5, 0))
    assert not torch.equal(batch(5, 0), batch(6, 0))
    assert not torch.equal(batch(5, 0), batch(5, 1))


def test_the_paper_model_trains_and_renders_through_the_same_face(
    collection: Path, tmp_path: Path, make_config, run_training
) -> None:
    from nerfstudio.configs.method_configs import all_methods
    from nerfstudio.utils.eval_utils import eval_setup

    from vnp_nerf.paper import PaperConfig

    config = make_config(collection, tmp_path, steps=1, method="vnp-nerf-paper")
    config.pipeline.model = copy.deepcopy(all_methods["vnp-nerf-paper"].pipeline.model)
    config.pipeline.model.radiance = PaperConfig(
        width=16,
        encoder_layers=1,
        encoder_heads=2,
        encoder_hidden=16,
        attention_layers=1,
        samples=8,
    )
    config.pipeline.datamanager.batches.max_context_views = 1
    pipeline = eval_setup(run_training(config))[1]
    outputs = pipeline.model.get_outputs_for_camera(pipeline.datamanager.eval_dataset.cameras[0:1])
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "rgb": (24, 24, 3),
        "depth": (24, 24, 1),
        "accumulation": (24, 24, 1),
        "normals": (24, 24, 3),
    }
    assert all(bool(value.isfinite().all()) for value in outputs.values())
