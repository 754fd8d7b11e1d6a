"""Depth as a renderer knows it: what `make_scenes.py --depth` wrote beside the pictures.

transforms.json    depth_scale, frames[].depth_path
train/depth_000.png    16-bit grey; times depth_scale it is the distance along the pixel's ray in world
                       units, and 0 where the ray meets nothing
"""

import json
import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import SceneError
from vnp_nerf.pictures import read_levels
from vnp_nerf.readers.layout import read_text
from vnp_nerf.scene import Scene


def true_depths(scene: Scene, views: Sequence[int]) -> list[Float[Tensor, "H W"]] | None:
    """Distances along unit rays in the model's units, infinite where there is nothing; None where the scene
    was written without.

    Raises `SceneError` where the file's entries are none, and `PictureError` where a picture is missing,
    damaged or of another size than its view.
    """
    file = scene.path if scene.path.suffix == ".json" else scene.path / "transforms.json"
    if not file.is_file():
        return None
    head: dict[str, Any] = json.loads(read_text(file))  # a scene was read from it: it is sound
    if "depth_scale" not in head:
        return None
    scale = head["depth_scale"]
    if type(scale) not in (int, float) or not (math.isfinite(scale) and scale > 0):
        raise SceneError(f"{file}: depth_scale is a positive number; given was {scale!r}.")
    found: list[Tensor] = []
    for view in views:
        place = PurePosixPath(str(head["frames"][view].get("depth_path", "")))
        path = file.parent / place
        # Links are followed for this, so that none leads elsewhere.
        if not place.name or not path.resolve().is_relative_to(file.parent.resolve()):
            raise SceneError(f"{file}: frame {view}: depth_path is a file below it; given was '{place}'.")
        height, width = scene.cameras.sizes[view].tolist()
        levels = torch.from_numpy(read_levels(path, height, width))
        depth = levels.float() * scale * scene.frame.scale
        found.append(torch.where(levels > 0, depth, math.inf))
    return found
