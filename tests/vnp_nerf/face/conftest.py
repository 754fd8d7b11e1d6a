"""Small made scenes, and a run whose field is a known solid ball."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from smallest import SMALLEST

BALL_RADIUS = 0.7
"""Of the solid ball that `ball_run` renders, model units."""
DISTANCE = 4.0
FIELD_OF_VIEW = math.radians(30)


def draw_ball(pose: np.ndarray, size: int, radius: float, colour: tuple[int, int, int]) -> np.ndarray:
    """A ball about the origin, RGBA."""
    focal = 0.5 * size / math.tan(FIELD_OF_VIEW / 2)
    row, column = np.mgrid[:size, :size] + 0.5
    local = np.stack([(column - size / 2) / focal, -(row - size / 2) / focal, -np.ones_like(row)], axis=-1)
    directions = local / np.linalg.norm(local, axis=-1, keepdims=True) @ pose[:3, :3].T
    along = -directions @ pose[:3, 3]
    inside = np.linalg.norm(pose[:3, 3] + along[..., None] * directions, axis=-1) < radius
    return np.where(inside[..., None], np.array([*colour, 255]), 0).astype(np.uint8)


def write_scene(
    folder: Path,
    views: int = 6,
    size: int = 24,
    radius: float = 0.6,
    colour: tuple[int, int, int] = (200, 60, 40),
) -> Path:
    """A Blender-style scene of one ball, cameras on a rising circle."""
    folder.mkdir(parents=True)
    frames = []
    for view in range(views):
        azimuth, altitude = 2 * math.pi * view / views, 0.3 + 0.4 * view / views
        level = math.sqrt(1 - altitude**2)
        backward = np.array([level * math.cos(azimuth), level * math.sin(azimuth), altitude])
        right = np.cross([0, 0, 1.0], backward)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(backward, right), backward, DISTANCE * backward], axis=1)
        Image.fromarray(draw_ball(pose, size, radius, colour)).save(folder / f"r_{view}.png")
        frames.append({"file_path": f"./r_{view}", "transform_matrix": pose.tolist()})
    meta = {"camera_angle_x": FIELD_OF_VIEW, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def ball_radius() -> float:
    """Of the solid ball that `ball_run` renders, model units."""
    return BALL_RADIUS


@pytest.fixture(scope="session")
def make_scene():
    """`write_scene`, for tests that need a scene of their own."""
    return write_scene


@pytest.fixture(scope="session")
def make_config():
    """`small_config`."""
    return small_config


@pytest.fixture(scope="session")
def run_training():
    """`train`."""
    return train


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes to train on, two to validate with, two to test with."""
    root = tmp_path_factory.mktemp("scenes")
    colours = [
        (200, 60, 40),
        (40, 160, 60),
        (50, 70, 200),
        (180, 170, 40),
        (150, 60, 170),
        (60, 160, 170),
        (90, 90, 90),
    ]
    names = ["train/a", "train/b", "train/c", "val/d", "val/e", "test/f", "test/g"]
    for place, (name, colour) in enumerate(zip(names, colours, strict=True)):
        write_scene(root / name, radius=0.45 + 0.05 * place, colour=colour)
    return root


def small_config(data: Path, output: Path, steps: int, method: str = "vnp-nerf-tiny"):
    """A training config that takes seconds."""
    from nerfstudio.configs.method_configs import all_methods

    from vnp_core.latents import LatentConfig
    from vnp_nerf.batches import BatchConfig

    config = copy.deepcopy(all_methods[method])
    config.machine.device_type = "cpu"
    config.data = config.pipeline.datamanager.data = data
    config.output_dir = output
    config.timestamp = "run"
    config.max_num_iterations = steps
    config.pipeline.datamanager.batches = BatchConfig(scenes_per_batch=2, rays_per_scene=32, target_views=1)
    config.pipeline.model.radiance = replace(
        SMALLEST,
        latents=LatentConfig(levels=2, dim=4, hidden=16),
        radius=BALL_RADIUS,
        train_samples=8,
        render_samples=32,
    )
    return config


def train(config) -> Path:
    """The path of the run's config.yml, as ns-train leaves it, in this process."""
    from nerfstudio.scripts.train import train_loop
    from nerfstudio.utils import writer

    writer.EVENT_WRITERS.clear()
    writer.EVENT_STORAGE.clear()
    config.set_timestamp()
    config.save_config()
    train_loop(local_rank=0, world_size=1, config=config)
    return config.get_base_dir() / "config.yml"


def make_solid(checkpoint: Path) -> None:
    """Turns a checkpoint's field into an opaque ball, whatever it sees."""
    state = torch.load(checkpoint, weights_only=True)
    state["pipeline"]["_model.radiance.network.density.bias"].fill_(16.0)
    torch.save(state, checkpoint)


@pytest.fixture(scope="session")
def trained(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.yml of a short run."""
    return train(small_config(collection, tmp_path_factory.mktemp("trained"), steps=2))


@pytest.fixture(scope="session")
def ball_run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.yml of what `vnp-infer` makes of a scene, with a field that is a solid ball.

    The ball in the pictures is larger than the field's, so that the pictures' masks cut nothing off.
    """
    from vnp_nerf.infer import Infer, infer

    run = infer(
        Infer(
            data=write_scene(tmp_path_factory.mktemp("pictures") / "ball", radius=0.95),
            load_config=trained,
            context=(0, 2),
            output_dir=tmp_path_factory.mktemp("ball") / "run",
            copy=True,
            orbit_size=64,
        )
    )
    make_solid(next((run / "nerfstudio_models").glob("*.ckpt")))
    return run / "config.yml"
