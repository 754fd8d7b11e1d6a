"""Depth as the renderer wrote it: in the model's units, and refused where it is none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import PictureError, SceneError
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.readers import ReadOptions, open_scene
from vnp_nerf.true_depth import shrunk_depth, true_depths

SIDE, SCALE = 4, 0.001
LEVELS = np.zeros((SIDE, SIDE), np.uint16)
LEVELS[1, 2] = 3000


def write(folder: Path, depth_path: str | None = "d.png", **head: Any) -> Path:
    """A scene of two views; the object's ball has a radius of 2 world units."""
    frames = []
    for view, pose in enumerate(orbit_cameras(2, 4.0, 20.0, 30.0, SIDE, SIDE).camera_to_world.tolist()):
        Image.fromarray(np.zeros((SIDE, SIDE, 4), np.uint8)).save(folder / f"{view}.png")
        frame = {"file_path": f"{view}.png", "transform_matrix": [*pose, [0, 0, 0, 1]]}
        frames.append(frame if depth_path is None else {**frame, "depth_path": depth_path})
    Image.fromarray(LEVELS).save(folder / "d.png")
    geometry = {"camera_angle_x": 0.5, "bounding_centre": [0, 0, 0], "bounding_radius": 2.0}
    (folder / "transforms.json").write_text(json.dumps({**geometry, **head, "frames": frames}))
    return folder


def test_distances_are_in_radii_and_infinite_where_nothing_is(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path, depth_scale=SCALE))
    found = true_depths(scene, [1, 0])
    assert found is not None
    for depth in found:
        assert depth[1, 2].item() == pytest.approx(3.0 * scene.frame.scale)
        assert depth.isinf().sum() == SIDE * SIDE - 1
    assert scene.frame.scale == pytest.approx(0.5)


def test_views_that_are_read_smaller_than_they_are_have_no_depth(tmp_path: Path) -> None:
    smaller = open_scene(write(tmp_path, depth_scale=SCALE), ReadOptions(max_size=SIDE // 2))
    with pytest.raises(SceneError, match="max_size"):
        true_depths(smaller, [0])


def test_scenes_without_depth_have_none(tmp_path: Path) -> None:
    assert true_depths(open_scene(write(tmp_path, depth_path=None)), [0]) is None


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_depth_of_smaller_pictures_is_that_of_their_pixels_middles(factor: int) -> None:
    """A plane that leans has one depth a place: the smaller picture has that of its own pixels' middles."""
    side = 13

    def plane(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        return 3.0 + 0.005 * row - 0.003 * column

    ticks = torch.arange(side) + 0.5
    fine = plane(ticks[:, None], ticks[None])
    middles = (torch.arange(side // factor) + 0.5) * factor
    coarse = plane(middles[:, None], middles[None])
    torch.testing.assert_close(shrunk_depth(fine, factor), coarse)


def test_depth_of_smaller_pictures_is_never_between_two_surfaces() -> None:
    nothing = torch.inf
    fine = torch.tensor([[2.0, nothing, 2.0, 3.0], [nothing, 2.02, 3.0, 3.0], [nothing] * 4, [nothing] * 4])
    torch.testing.assert_close(shrunk_depth(fine, 2), torch.tensor([[2.01, 2.0], [nothing, nothing]]))


@pytest.mark.parametrize(
    ("depth_path", "scale", "text"),
    [
        ("d.png", 0.0, "positive number"),
        ("d.png", "much", "positive number"),
        ("../d.png", SCALE, "below it"),
        ("/etc/passwd", SCALE, "below it"),
        (None, SCALE, "below it"),
    ],
)
def test_entries_that_are_none_are_refused(tmp_path: Path, depth_path: Any, scale: Any, text: str) -> None:
    scene = open_scene(write(tmp_path, depth_path, depth_scale=scale))
    with pytest.raises(SceneError, match=text):
        true_depths(scene, [0])


def test_a_link_out_of_the_scene_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    scene = open_scene(write(tmp_path / "scene", depth_scale=SCALE))
    Image.fromarray(LEVELS).save(tmp_path / "elsewhere.png")
    (tmp_path / "scene" / "d.png").unlink()
    (tmp_path / "scene" / "d.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(SceneError, match="below it"):
        true_depths(scene, [0])


def test_pictures_that_are_no_depth_are_refused(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path, "0.png", depth_scale=SCALE))
    with pytest.raises(PictureError, match="16-bit grey"):
        true_depths(scene, [0])
    scene = open_scene(write(tmp_path, depth_scale=SCALE))
    Image.fromarray(LEVELS[1:]).save(tmp_path / "d.png")
    with pytest.raises(PictureError, match="expected 4 x 4"):
        true_depths(scene, [0])
