"""More objects from the same scenes: mirrored and recoloured ones, each consistent in all of its views.

A corpus of some hundred objects is soon known by heart. The mirror image of an object is an object, and so is
one in other colours; both change pictures, cameras and rays alike, so that no view contradicts another.
"""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vnp_nerf.views import Views

_MIRRORED_AXIS = 1
"""y of the model frame: the left and right of scenes that face along x."""


@dataclass(frozen=True, eq=False)
class Augmentation:
    """What is done to each of B scenes."""

    mirrored: Bool[Tensor, "B"]
    """Reflected in the plane y = 0 of the model frame."""
    channels: Int[Tensor, "B 3"]
    """Which of the original channels becomes red, green and blue."""

    @classmethod
    def draw(
        cls, batch: int, mirror_fraction: float, recolour_fraction: float, draw: np.random.Generator
    ) -> "Augmentation":
        """Each scene is mirrored, and has its channels permuted, with these probabilities."""
        mirrored = draw.random(batch) < mirror_fraction
        recoloured = draw.random(batch) < recolour_fraction
        channels = [draw.permutation(3) if changed else np.arange(3) for changed in recoloured]
        return cls(torch.from_numpy(mirrored), torch.from_numpy(np.stack(channels)))

    def views(self, views: Views) -> Views:
        """The views of the changed scenes."""
        rgba, camera_to_world, intrinsics = views.rgba, views.camera_to_world, views.intrinsics
        sizes, mask = views.sizes, views.mask
        reflected = self._reflected(camera_to_world)
        # Mirrored pictures run from right to left: so does the camera's own x, which stays right-handed.
        reflected = torch.cat([-reflected[..., :1], reflected[..., 1:]], dim=-1)
        here = rearrange(self.mirrored, "B -> B 1") & mask
        width = sizes[..., 1]
        flipped = torch.cat(
            [intrinsics[..., :2], (width - intrinsics[..., 2])[..., None], intrinsics[..., 3:]], dim=-1
        )
        column = torch.arange(rgba.shape[-1])
        source = torch.where(column < width[..., None], width[..., None] - 1 - column, column)  # [B, V, W]
        source = torch.where(here[..., None], source, column)
        rgba = rgba.gather(-1, rearrange(source, "B V W -> B V 1 1 W").expand_as(rgba))
        return Views(
            self._recoloured(rgba, dim=2),
            torch.where(here[..., None, None], reflected, camera_to_world),
            torch.where(here[..., None], flipped, intrinsics),
            sizes,
            mask,
        )

    def rays(
        self,
        origins: Float[Tensor, "B R 3"],
        directions: Float[Tensor, "B R 3"],
        rgba: Float[Tensor, "B R 4"],
    ) -> tuple[Float[Tensor, "B R 3"], Float[Tensor, "B R 3"], Float[Tensor, "B R 4"]]:
        """Rays of the scenes as they were, and what they see, in the changed ones."""
        here = rearrange(self.mirrored, "B -> B 1 1")
        origins, directions = (
            torch.where(here, vectors * _reflection(vectors), vectors) for vectors in (origins, directions)
        )
        return origins, directions, self._recoloured(rgba, dim=2)

    def _reflected(self, poses: Float[Tensor, "B V 3 4"]) -> Float[Tensor, "B V 3 4"]:
        return poses * _reflection(poses)[:, None]

    def _recoloured(self, rgba: Tensor, dim: int) -> Tensor:
        alpha = torch.full_like(self.channels[:, :1], 3)
        index = torch.cat([self.channels, alpha], dim=1)  # [B, 4]
        shape = [len(index) if axis == 0 else 4 if axis == dim else 1 for axis in range(rgba.ndim)]
        return rgba.gather(dim, index.reshape(shape).expand_as(rgba))


def _reflection(like: Tensor) -> Float[Tensor, "3"]:
    signs = torch.ones(3, dtype=like.dtype)
    signs[_MIRRORED_AXIS] = -1
    return signs
