"""The model's frame: where an object's bounding ball lies, and the similarity that makes it the unit ball."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import CameraError, SceneError, ViewCountError
from vnp_nerf.cameras import ROTATION_TOLERANCE, Cameras

BALL_ROOM = 4 * math.sin(math.radians(15))
"""By how much the ball that just fits into the views of `make_scenes.py`, 30 degrees wide and four radii
away, reaches further than the object in it.
"""
_PARALLEL_AXES = 1e-4
"""Mean squared sine between optical axes below which their nearest point is noise: half a degree or so."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """x_model = scale * rotation @ x_world + translation, kept in float64.

    rotation is proper, translation is in model units, scale > 0 is how many model units make a world unit.
    A length (a depth, near, far) goes from world to model by `scale` alone.
    """

    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]
    scale: float

    @classmethod
    def identity(cls) -> "Similarity":
        """The similarity that changes nothing."""
        return cls(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 1.0)

    def apply(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """World points in the model's frame, of the dtype and on the device of what was given."""
        rotation, translation = self.rotation.to(points.device), self.translation.to(points.device)
        return (self.scale * points.double() @ rotation.T + translation).to(points.dtype)

    def apply_directions(self, directions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """World directions in the model's frame: turned, their length unchanged."""
        return (directions.double() @ self.rotation.to(directions.device).T).to(directions.dtype)

    def apply_cameras(self, cameras: Cameras) -> Cameras:
        """The same cameras in the model's frame: they take the same pictures of the moved object."""
        axes = self.apply_directions(cameras.camera_to_world[:, :, :3].transpose(-1, -2)).transpose(-1, -2)
        poses = torch.cat([axes, self.apply(cameras.positions)[..., None]], dim=-1)
        return Cameras(poses, cameras.intrinsics, cameras.sizes)

    def inverse(self) -> "Similarity":
        """Model to world."""
        return Similarity(
            self.rotation.T, -(self.rotation.T @ self.translation) / self.scale, 1.0 / self.scale
        )

    def to_matrix(self) -> Float[Tensor, "4 4"]:
        """The homogeneous matrix, float64."""
        top = torch.cat([self.scale * self.rotation, self.translation[:, None]], dim=1)
        return torch.cat([top, torch.tensor([[0.0, 0, 0, 1]], dtype=torch.float64)])

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, which `from_json` reads back exactly."""
        return {
            "rotation": self.rotation.tolist(),
            "translation": self.translation.tolist(),
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Similarity":
        """The inverse of `to_json`. Raises `SceneError` for anything that is no similarity."""
        try:
            rotation = torch.tensor(values["rotation"], dtype=torch.float64)
            translation = torch.tensor(values["translation"], dtype=torch.float64)
            scale = float(values["scale"])
            sound = rotation.shape == (3, 3) and translation.shape == (3,) and 0 < scale < float("inf")
            skew = (
                (rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max()
                if sound
                else torch.tensor(1.0)
            )
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise SceneError(
                f"A frame must hold rotation [3, 3], translation [3] and scale; given: {values!r}."
            ) from error
        if not (
            sound
            and skew <= ROTATION_TOLERANCE
            and torch.linalg.det(rotation) > 0
            and translation.isfinite().all()
        ):
            raise SceneError(
                f"A frame needs a proper rotation, a finite translation and a scale > 0; given: {values!r}."
            )
        return cls(rotation, translation, scale)


def ball_frame(
    centre: Float[Tensor, "3"], radius: float, rotation: Float[Tensor, "3 3"] | None = None
) -> Similarity:
    """The similarity that turns a ball by `rotation` and makes it the unit ball about the origin."""
    turn = torch.eye(3, dtype=torch.float64) if rotation is None else rotation.double()
    return Similarity(turn, -(turn @ centre.double()) / radius, 1.0 / radius)


def inscribed_radius(cameras: Cameras, centre: Float[Tensor, "3"]) -> float:
    """Radius of the ball about `centre` that just fits into the views, in the unit of the poses.

    It is the median, over the cameras, of their distance times the sine of half their smaller field of view.
    Raises `CameraError` where that is 0.
    """
    height, width = cameras.sizes.double().unbind(-1)
    fx, fy = cameras.intrinsics[:, 0].double(), cameras.intrinsics[:, 1].double()
    half_field = torch.atan(torch.minimum(width / (2 * fx), height / (2 * fy)))
    distance = (cameras.positions.double() - centre.double()).norm(dim=-1)
    radius = float((distance * half_field.sin()).median())
    if not radius > 1e-9:
        raise CameraError(
            f"The cameras stand on the object's centre {centre.tolist()}, so its size cannot be told. "
            f"State it in the file (bounding_radius), or correct the poses."
        )
    return radius


def axes_centre(cameras: Cameras, where: str = "cameras") -> Float[Tensor, "3"]:
    """The point with the least summed squared distance to all optical axes, float64.

    Raises `ViewCountError` for fewer than two views, and `CameraError` where the axes are parallel or most
    cameras look away from the point: pictures of a room from inside, not of an object.
    """
    advice = (
        "State the object's ball (bounding_centre and bounding_radius in a file, centre and radius in "
        "Python), or use other views"
    )
    if len(cameras) < 2:
        raise ViewCountError(
            f"{where}: the object's place is found from two or more views; given: {len(cameras)}. {advice}."
        )
    forwards, positions = cameras.forwards.double(), cameras.positions.double()
    across = torch.eye(3, dtype=torch.float64) - forwards[:, :, None] * forwards[:, None, :]
    if torch.linalg.eigvalsh(across.mean(dim=0))[0] < _PARALLEL_AXES:
        raise CameraError(
            f"{where}: all cameras look in parallel, so no point is nearest to their axes. {advice}."
        )
    centre = torch.linalg.solve(across.sum(dim=0), (across @ positions[:, :, None]).sum(dim=0)).squeeze(-1)
    in_front = ((centre - positions) * forwards).sum(dim=-1) > 0
    if 2 * int(in_front.sum()) <= len(cameras):
        raise CameraError(
            f"{where}: {len(cameras) - int(in_front.sum())} of {len(cameras)} cameras look away from the "
            f"point nearest to all axes, {[round(value, 3) for value in centre.tolist()]}, so these are no "
            f"views of one object. {advice}."
        )
    return centre


def upright_rotation(cameras: Cameras) -> Float[Tensor, "3 3"]:
    """The smallest rotation that takes the mean of the cameras' up vectors to +z; none if they cancel out."""
    identity = torch.eye(3, dtype=torch.float64)
    up = cameras.ups.double().mean(dim=0)
    if up.norm() < 1e-3:
        return identity
    x, y, z = (up / up.norm()).tolist()
    if z < -1 + 1e-12:
        return torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    # Rodrigues' formula for the axis (up cross z) = (y, -x, 0), whose length is the sine of the angle.
    turn = torch.tensor([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]], dtype=torch.float64)
    return identity + turn + turn @ turn / (1 + z)
