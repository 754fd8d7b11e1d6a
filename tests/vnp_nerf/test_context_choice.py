"""Views that are chosen for the model look at the object from all around it."""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vnp_core.errors import ViewCountError
from vnp_nerf.cameras import look_at, orbit_cameras
from vnp_nerf.context_choice import choose_context, spread_points
from vnp_nerf.readers import open_scene
from vnp_nerf.scene import Scene


def scene_of(folder: Path, poses: torch.Tensor) -> Scene:
    frames = []
    for view, pose in enumerate(poses.tolist()):
        Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(folder / f"{view}.png")
        frames.append({"file_path": f"{view}.png", "transform_matrix": [*pose, [0, 0, 0, 1]]})
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.5, "frames": frames}))
    return open_scene(folder)


def golden(count: int) -> torch.Tensor:
    """Cameras whose azimuths go by the golden angle: every eighth of them lies on nearly the same side."""
    angles = torch.arange(count) * torch.pi * (3 - 5**0.5)
    places = 4 * torch.stack([angles.cos(), torch.full_like(angles, 0.3), angles.sin()], dim=-1)
    return torch.stack([look_at(place) for place in places])


def test_views_of_an_even_orbit_are_evenly_spread(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, orbit_cameras(24, 4.0, 20.0, 30.0, 4, 4).camera_to_world)
    for count in (1, 2, 3, 4, 6, 12):
        assert choose_context(scene, None, count) == tuple(range(0, 24, 24 // count))
    assert choose_context(scene, None, None) == (0, 8, 16)


def test_views_that_are_numbered_by_the_golden_angle_surround_the_object(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, golden(24))
    chosen = choose_context(scene, None, None)
    assert chosen[0] == 0
    directions, counted_off = (
        F.normalize(scene.model_cameras().positions[list(views)], dim=-1) for views in (chosen, (0, 8, 16))
    )
    even = 3**0.5 * directions[0, [0, 2]].norm().item()  # sides of a triangle on the cameras' circle
    assert torch.pdist(directions).min() > 0.85 * even
    assert torch.pdist(counted_off).min() < 0.5 * even


def potential(points: torch.Tensor, places: Sequence[int]) -> float:
    return float((1 / torch.pdist(points[list(places)]).square()).sum())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_hardly_any_other_choice_is_spread_better(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    points = F.normalize(torch.randn(14, 3, dtype=torch.float64, generator=generator), dim=-1)
    found = spread_points(points, count)
    assert found[0] == 0
    every = [potential(points, (0, *others)) for others in combinations(range(1, 14), count - 1)]
    assert potential(points, found) <= 1.1 * min(every)
    assert potential(points, found) < sorted(every)[len(every) // 10]


def test_points_that_are_one_are_taken_all_the_same() -> None:
    assert spread_points(torch.ones(3, 3), 3) == [0, 1, 2]


def test_given_views_are_kept_and_impossible_ones_refused(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, golden(5))
    assert choose_context(scene, (3, 1), None) == (3, 1)
    assert len(choose_context(scene, None, None)) == 3
    with pytest.raises(ViewCountError, match="views 0 to 4"):
        choose_context(scene, (5,), None)
    with pytest.raises(ViewCountError, match="1 to 5"):
        choose_context(scene, None, 6)
