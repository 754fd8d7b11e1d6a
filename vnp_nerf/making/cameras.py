"""Where the pictures of a made scene are taken from."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from vnp_core.errors import ConfigError

GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True)
class Orbit:
    """Cameras that look at the origin, or past it, from one distance, z up.

    Attributes:
        views: how many.
        distance: from the origin, where the object's bounding ball has radius 1.
        field_of_view: horizontal, in degrees.
        lowest, highest: range of the elevation above the horizon in degrees, between -89 and 89.
        aside: angle by which each looks past the origin, to a random side of it, in degrees.
        roll: greatest angle by which each is turned about the axis that it looks along, in degrees.
    """

    views: int = 40
    distance: float = 4.0
    field_of_view: float = 30.0
    lowest: float = -10.0
    highest: float = 60.0
    aside: float = 0.0
    roll: float = 0.0

    @property
    def has_usual_framing(self) -> bool:
        """Whether the ball that just fits into the views is that of the default cameras."""
        return (
            replace(self, views=_AS_USUAL.views, lowest=_AS_USUAL.lowest, highest=_AS_USUAL.highest)
            == _AS_USUAL
        )

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
        if not (0.0 <= self.aside < 90.0 and 0.0 <= self.roll <= 180.0):
            raise ConfigError(
                f"cameras look {self.aside} degrees aside and are rolled by up to {self.roll}; "
                "give 0 to less than 90, and 0 to 180"
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
        if self.aside or self.roll:
            poses[:, :3, :3] @= self._turns(generator)
        return poses

    def _turns(self, generator: np.random.Generator) -> Float64[np.ndarray, "V 3 3"]:
        """Of each camera about its own centre: first aside, then about the axis that it looks along."""
        side = generator.uniform(0.0, 2 * np.pi, self.views)
        rolled = np.radians(generator.uniform(-self.roll, self.roll, self.views))
        aside = np.full(self.views, np.radians(self.aside))
        return _about_z(side) @ _about_x(aside) @ _about_z(rolled - side)


def _about_z(angles: Float64[np.ndarray, "V"]) -> Float64[np.ndarray, "V 3 3"]:
    turns = np.tile(np.eye(3), (len(angles), 1, 1))
    turns[:, 0, 0], turns[:, 0, 1] = np.cos(angles), -np.sin(angles)
    turns[:, 1, 0], turns[:, 1, 1] = np.sin(angles), np.cos(angles)
    return turns


def _about_x(angles: Float64[np.ndarray, "V"]) -> Float64[np.ndarray, "V 3 3"]:
    return np.roll(_about_z(angles), (1, 1), axis=(1, 2))


_AS_USUAL = Orbit()
