"""Where the pictures of a made scene are taken from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from vnp_core.errors import ConfigError

GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True)
class Orbit:
    """Cameras that look at the origin from one distance, z up.

    Attributes:
        views: how many.
        distance: from the origin, where the object's bounding ball has radius 1.
        field_of_view: horizontal, in degrees.
        lowest, highest: range of the elevation above the horizon in degrees, between -89 and 89.
    """

    views: int = 40
    distance: float = 4.0
    field_of_view: float = 30.0
    lowest: float = -10.0
    highest: float = 60.0

    def validate(self) -> None:
        """Raises ConfigError when no such cameras exist."""
        if self.views < 1:
            raise ConfigError(f"views is {self.views}; give 1 or more")
        if self.distance <= 1.0:
            raise ConfigError(
                f"distance is {self.distance}, inside the object's ball of radius 1; give more than 1"
            )
        if not 0.0 < self.field_of_view < 170.0:
            raise ConfigError(f"field_of_view is {self.field_of_view} degrees; give one between 0 and 170")
        if not -89.0 <= self.lowest <= self.highest <= 89.0:
            raise ConfigError(
                f"the elevations run from {self.lowest} to {self.highest} degrees; "
                "give a rising range within -89..89"
            )

    def poses(self, generator: np.random.Generator) -> Float64[np.ndarray, "V 4 4"]:
        """OpenGL camera-to-world matrices.

        Each view takes one of V bands of equal area on the sphere, in random order; azimuths advance by the
        golden angle from a random start, so that the first few views of an object already surround it.
        """
        low, high = np.sin(np.radians([self.lowest, self.highest]))
        band = generator.permutation(self.views)
        height = low + (high - low) * (band + generator.uniform(size=self.views)) / self.views
        azimuth = generator.uniform(0.0, 2 * np.pi) + GOLDEN_ANGLE * np.arange(self.views)
        level = np.sqrt(1.0 - height**2)
        backward = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), height], axis=1)
        right = np.stack([-np.sin(azimuth), np.cos(azimuth), np.zeros(self.views)], axis=1)
        poses = np.tile(np.eye(4), (self.views, 1, 1))
        poses[:, :3, 0], poses[:, :3, 1], poses[:, :3, 2] = right, np.cross(backward, right), backward
        poses[:, :3, 3] = backward * self.distance
        return poses
