"""More objects from the same scenes: mirrored and recoloured ones, each consistent in all of its views.

A corpus of some hundred objects is soon known by heart. The mirror image of an object is an object, and so is
one in other colours; both change pictures, cameras and rays alike, so that no view contradicts another.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vnp_nerf.reflection import Axis, reflected, reflected_views, turned_pictures
from vnp_nerf.views import Views


@dataclass(frozen=True, eq=False)
class Augmentation:
    """What is done to each of B scenes."""

    mirrored: Bool[Tensor, "B"]
    """Reflected in an upright plane of the model frame."""
    channels: Int[Tensor, "B 3"]
    """Which of the original channels becomes red, green and blue."""
    axis: Axis = "y"
    """Which the reflection turns round."""

    @classmethod
    def draw(
        cls,
        batch: int,
        mirror_fraction: float,
        recolour_fraction: float,
        draw: np.random.Generator,
        axis: Axis = "y",
    ) -> "Augmentation":
        """Each scene is mirrored, and has its channels permuted, with these probabilities."""
        mirrored = draw.random(batch) < mirror_fraction
        recoloured = draw.random(batch) < recolour_fraction
        channels = [draw.permutation(3) if changed else np.arange(3) for changed in recoloured]
        return cls(torch.from_numpy(mirrored), torch.from_numpy(np.stack(channels)), axis)

    def views(self, views: Views) -> Views:
        """The views of the changed scenes."""
        other = reflected_views(views, self.axis)
        rgba, camera_to_world, intrinsics = (
            torch.where(self._mirrored_rows(here), there, here)
            for there, here in (
                (other.rgba, views.rgba),
                (other.camera_to_world, views.camera_to_world),
                (other.intrinsics, views.intrinsics),
            )
        )
        return Views(self._recoloured(rgba), camera_to_world, intrinsics, views.sizes, views.mask)

    def rays(
        self,
        origins: Float[Tensor, "B R 3"],
        directions: Float[Tensor, "B R 3"],
        rgba: Float[Tensor, "B R 4"],
    ) -> tuple[Float[Tensor, "B R 3"], Float[Tensor, "B R 3"], Float[Tensor, "B R 4"]]:
        """Rays of the scenes as they were, and what they see, in the changed ones."""
        here = self._mirrored_rows(origins)
        origins, directions = (
            torch.where(here, reflected(rays, self.axis), rays) for rays in (origins, directions)
        )
        return origins, directions, self._recoloured(rgba)

    def pictures(
        self, values: Float[Tensor, "B V H W"], sizes: Int[Tensor, "B V 2"]
    ) -> Float[Tensor, "B V H W"]:
        """Values of the views' pixels that are no colours, such as depth, in the changed scenes."""
        return torch.where(self._mirrored_rows(values), turned_pictures(values, sizes[..., 1]), values)

    def _mirrored_rows(self, like: Tensor) -> Bool[Tensor, "B ..."]:
        return self.mirrored.reshape(-1, *[1] * (like.ndim - 1))

    def _recoloured(self, rgba: Tensor) -> Tensor:
        """Axis 2 is that of the channels, for views [B, V, 4, H, W] as for rays [B, R, 4]."""
        alpha = torch.full_like(self.channels[:, :1], 3)
        index = torch.cat([self.channels, alpha], dim=1)  # [B, 4]
        index = index.reshape(-1, 1, 4, *[1] * (rgba.ndim - 3))
        return rgba.gather(2, index.expand_as(rgba))
