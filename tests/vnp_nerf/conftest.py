"""Small posed scenes on disk, whose pictures say where their pixels are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from smallest import SMALLEST

from vnp_nerf.cameras import Cameras, orbit_cameras
from vnp_nerf.library import build_model, save_model
from vnp_nerf.pairs import make_pairs, write_pairs
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.readers import open_collection

WriteScene = Callable[..., Path]


def coordinate_picture(height: int, width: int, view: int, margin: int = 0) -> np.ndarray:
    """RGBA in which red is the column, green the row, and blue the view; alpha is 0 in a margin, else 255."""
    picture = np.zeros((height, width, 4), np.uint8)
    picture[..., 0] = np.arange(width)[None, :]
    picture[..., 1] = np.arange(height)[:, None]
    picture[..., 2] = view
    picture[margin : height - margin, margin : width - margin, 3] = 255
    return picture


def homogeneous(cameras: Cameras) -> list[list[list[float]]]:
    """4 x 4 poses as nested lists, for json."""
    return [[*pose, [0.0, 0.0, 0.0, 1.0]] for pose in cameras.camera_to_world.tolist()]


@pytest.fixture
def write_scene() -> WriteScene:
    """Writes a scene of orbiting cameras in the Blender way (`camera_angle_x`) or nerfstudio's (`fl_x`)."""

    def write(
        folder: Path,
        views: int = 6,
        height: int = 16,
        width: int = 20,
        *,
        nerfstudio: bool = False,
        cameras: Cameras | None = None,
        margin: int = 4,
        **extra: Any,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        cameras = cameras or orbit_cameras(views, 4.0, 25.0, 40.0, height, width)
        frames = []
        for view, pose in enumerate(homogeneous(cameras)):
            Image.fromarray(coordinate_picture(height, width, view, margin)).save(folder / f"r_{view}.png")
            frames.append({"file_path": f"./r_{view}.png", "transform_matrix": pose})
        if nerfstudio:
            fx, fy, cx, cy = cameras.intrinsics[0].tolist()
            head = {
                "camera_model": "OPENCV",
                "fl_x": fx,
                "fl_y": fy,
                "cx": cx,
                "cy": cy,
                "w": width,
                "h": height,
            }
        else:
            head = {"camera_angle_x": float(np.radians(40.0))}
        (folder / "transforms.json").write_text(json.dumps({**head, **extra, "frames": frames}))
        return folder

    return write


@pytest.fixture
def edit_scene() -> Callable[[Path, Callable[[dict], None]], Path]:
    """Changes a scene's transforms.json in place."""

    def edit(folder: Path, change: Callable[[dict], None]) -> Path:
        meta = json.loads((folder / "transforms.json").read_text())
        change(meta)
        (folder / "transforms.json").write_text(json.dumps(meta))
        return folder

    return edit


@pytest.fixture(scope="session")
def smallest_model() -> RadianceConfig:
    """A scene model that is built, saved and rendered in no time, for tests of what goes on around it."""
    return SMALLEST


@pytest.fixture(scope="session")
def workplace(smallest_model: RadianceConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of random pictures, its pairs, and tiny untrained weights."""
    root, size, views = tmp_path_factory.mktemp("bench"), 16, 6
    generator = np.random.default_rng(0)
    cameras = orbit_cameras(views, 4.0, 20.0, 30.0, size, size)
    names = {"train": ["a", "b"], "val": ["f", "g"], "test": ["c", "d"], "test_author": ["e"]}
    for name in "abcdefg":
        folder = root / "noise" / name
        folder.mkdir(parents=True)
        frames = []
        for view, pose in enumerate(cameras.camera_to_world.tolist()):
            pixels = generator.integers(0, 256, (size, size, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{view}.png")
            frames.append({"file_path": f"{view}.png", "transform_matrix": [*pose, [0, 0, 0, 1]]})
        (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.5, "frames": frames}))
    (root / "noise_splits.json").write_text(json.dumps(names))
    pairs = make_pairs(
        open_collection(root / "noise"), "noise", "-", ["test", "test_author"], contexts=3, queries=2
    )
    write_pairs(root / "pairs" / "noise.json", pairs)
    torch.manual_seed(0)
    save_model(root / "tiny.safetensors", build_model(smallest_model), {})
    return root
