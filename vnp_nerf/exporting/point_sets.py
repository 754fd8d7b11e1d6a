"""Coloured points that carry the field's own uncertainty."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from vnp_nerf.frames import Similarity


@dataclass(frozen=True, eq=False)
class PointSet:
    """N points in some frame.

    rgb: 0 to 1. colour_sigma: standard deviation of the colour over `draws` draws of the latents, the root
    mean square of its three channels. density_sigma: that of the density, 1 / length unit of the frame. Both
    are 0 where `draws` is 0: a single field says nothing about its spread. normals: unit vectors that point
    out of the object.
    """

    points: Float[np.ndarray, "N 3"]
    rgb: Float[np.ndarray, "N 3"]
    colour_sigma: Float[np.ndarray, "N"]
    density_sigma: Float[np.ndarray, "N"]
    draws: int
    normals: Float[np.ndarray, "N 3"] | None = None

    def __len__(self) -> int:
        return len(self.points)

    def moved(self, frame: Similarity) -> "PointSet":
        """The same points in the frame that `frame` leads to; densities follow its unit of length."""
        normals = self.normals
        if normals is not None:
            normals = frame.apply_directions(torch.from_numpy(normals)).numpy()
        return replace(
            self,
            points=frame.apply(torch.from_numpy(self.points)).numpy(),
            density_sigma=self.density_sigma / frame.scale,
            normals=normals,
        )

    def sigma_note(self) -> str:
        """One line for a file's header: what its sigmas are."""
        if self.draws == 0:
            return "0 everywhere, since a single field was exported and no draws were compared"
        return (
            f"standard deviation over {self.draws} draws of the latents; of the colour (0 to 1, root mean "
            f"square of red, green and blue) and of the density (1 / length unit of this file)"
        )
