"""A scene: posed pictures of one object, and the frame in which the model sees it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vnp_nerf.cameras import Cameras
from vnp_nerf.frames import Similarity
from vnp_nerf.pictures import PictureSource


@dataclass(frozen=True, eq=False)
class Scene:
    """What the readers give, whatever the format. Cameras, near and far are in the world of the file.

    near, far: bounds of the depths worth sampling, along unit rays, in world units; 0 < near < far.
    frame: world to model. splits: numbers of views under `train`, `val`, `test`, if the file has such lists.
    """

    name: str
    path: Path
    cameras: Cameras
    pictures: tuple[PictureSource, ...]
    near: float
    far: float
    frame: Similarity
    splits: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of views."""
        return len(self.cameras)

    def picture(self, index: int) -> UInt8[np.ndarray, "H W 4"]:
        """Straight-alpha RGBA of one view, read anew on each call. Raises `PictureError`."""
        height, width = self.cameras.sizes[index].tolist()
        return self.pictures[index].load(height, width)

    def model_cameras(self) -> Cameras:
        """The cameras in the model's frame."""
        return self.frame.apply_cameras(self.cameras)

    def views_in(self, split: str) -> tuple[int, ...]:
        """The views of a split; all views where the scene has no such list."""
        return self.splits.get(split) or tuple(range(len(self)))
