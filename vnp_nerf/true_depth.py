"""Depth as a renderer knows it: what `make_scenes.py --depth` wrote beside the pictures.

transforms.json    depth_scale, frames[].depth_path
train/depth_000.png    16-bit grey; times depth_scale it is the distance along the pixel's ray in world
                       units, and 0 where the ray meets nothing
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from vnp_core.errors import SceneError
from vnp_nerf.pictures import read_levels
from vnp_nerf.readers.layout import read_text
from vnp_nerf.scene import Scene

_ONE_SURFACE = 0.02
"""Most by which distances of neighbouring pixels on one surface differ, as a share of the nearest's."""


@dataclass(frozen=True, eq=False)
class DepthPictures:
    """Where a scene's depth is.

    scale: of one level, in the model's units. shrunk: views that are read smaller than their pictures are.
    """

    file: Path
    entries: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    shrunk: tuple[bool, ...]
    scale: float

    @classmethod
    def of(cls, scene: Scene) -> "DepthPictures | None":
        """Those of a scene, None where it was written without. Raises `SceneError` for a scale of none."""
        file = scene.path if scene.path.suffix == ".json" else scene.path / "transforms.json"
        if not file.is_file():
            return None
        head: dict[str, Any] = json.loads(read_text(file))  # a scene was read from it: it is sound
        if "depth_scale" not in head:
            return None
        scale = head["depth_scale"]
        if type(scale) not in (int, float) or not (math.isfinite(scale) and scale > 0):
            raise SceneError(f"{file}: depth_scale is a positive number; given was {scale!r}.")
        entries = tuple(str(frame.get("depth_path", "")) for frame in head["frames"])
        sizes = tuple((height, width) for height, width in scene.cameras.sizes.tolist())
        shrunk = tuple(source.size != size for source, size in zip(scene.pictures, sizes, strict=True))
        return cls(file, entries, sizes, shrunk, scale * scene.frame.scale)

    def levels(self, view: int) -> Int32[np.ndarray, "H W"]:
        """Of a view: times `scale` they are distances along unit rays, and 0 is nothing.

        Raises `SceneError` where its entry is none or the view was made smaller, and `PictureError` where the
        picture is missing, damaged or of another size than the view.
        """
        place = PurePosixPath(self.entries[view])
        path = self.file.parent / place
        # Links are followed for this, so that none leads elsewhere.
        if not place.name or not path.resolve().is_relative_to(self.file.parent.resolve()):
            raise SceneError(
                f"{self.file}: frame {view}: depth_path is a file below it; given was '{place}'."
            )
        if self.shrunk[view]:
            height, width = self.sizes[view]
            raise SceneError(
                f"{self.file}: views are read as {width} x {height} pixels (read.max_size), and their depth "
                "is known at their own size alone: leave max_size out (batches.context_shrink makes what the "
                "model reads smaller), or set batches.depth to False."
            )
        return read_levels(path, *self.sizes[view])


def true_depths(scene: Scene, views: Sequence[int]) -> list[Float[Tensor, "H W"]] | None:
    """Distances along unit rays in the model's units, infinite where there is nothing; None where the scene
    was written without. Raises what `DepthPictures` raises.
    """
    pictures = DepthPictures.of(scene)
    if pictures is None:
        return None
    return [distances(torch.from_numpy(pictures.levels(view)), pictures.scale) for view in views]


def distances(levels: Tensor, scale: float | Tensor) -> Float[Tensor, "*P"]:
    """What levels mean: infinite where they are 0."""
    return torch.where(levels > 0, levels.float() * scale, math.inf)


def shrunk_depth(depth: Float[Tensor, "H W"], factor: int) -> Float[Tensor, "h w"]:
    """Distances at the pixels of a picture that is smaller by `factor`, as `Views.shrunk` makes it.

    The middle of such a pixel is that of one finer pixel, or the corner of four: then their mean, as far as
    they lie on the nearest's surface. A mean across an edge would lie where nothing is.
    """
    height, width = depth.shape[0] // factor, depth.shape[1] // factor
    first = (factor - 1) // 2
    whole = depth[: height * factor, : width * factor]
    if factor % 2:
        return whole[first::factor, first::factor]
    middle = torch.stack(
        [whole[first + row :: factor, first + column :: factor] for row in (0, 1) for column in (0, 1)]
    )
    nearest = middle.amin(0)
    same = middle <= nearest * (1 + _ONE_SURFACE)
    mean = torch.where(same & middle.isfinite(), middle, 0.0).sum(0) / same.sum(0)
    return torch.where(nearest.isfinite(), mean, torch.inf)
