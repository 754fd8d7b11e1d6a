"""Poses of a box of known size in a sequence of photographs, by its edges.

Each picture starts from the pose of the one before. Points along the visible edges look for the strongest
change of grey across the edge, near to where it is expected; the pose is then the one whose edges lie closest
to what was found, by robust least squares. That is model-based tracking by moving edges (Comport et al. 2006)
for the simplest of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

_FACES = ((0, 4, 5, 1), (1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 4, 0), (0, 1, 2, 3), (7, 6, 5, 4))
_ALONG = np.linspace(0.06, 0.94, 24)
"""Where points lie along an edge; corners belong to several."""
_REACHES = (7, 5, 3, 2)
"""How far points look for their edge, pixels, in turn."""
_LEAST_FACING = 0.2
"""Cosine between a visible face's normal and the direction to the camera."""
_SURE = 15.0
"""Change of grey, levels a pixel, from which on a found edge counts in full."""
_INNER_WEIGHT = 0.7
"""Of edges between two visible faces, which differ less in grey than the box and what is behind it."""


@dataclass(frozen=True)
class Lens:
    """A camera without distortion: focal lengths and principal point, pixels."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True, eq=False)
class BoxPose:
    """From the box's frame to the camera's (x right, y down, z ahead): rotated, then moved."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, " 3"]

    @classmethod
    def of_vector(cls, vector: Float[np.ndarray, " 6"]) -> "BoxPose":
        """From a translation and a rotation vector, in this order."""
        rotation = _rotations().from_rotvec(vector[3:]).as_matrix()
        return cls(rotation, np.array(vector[:3]))

    def vector(self) -> Float[np.ndarray, " 6"]:
        """What `of_vector` takes."""
        return np.concatenate([self.translation, _rotations().from_matrix(self.rotation).as_rotvec()])

    def camera_to_box(self) -> Float[np.ndarray, "4 4"]:
        """The camera's pose in the box's frame, as nerfstudio has it: x right, y up, looking along -z."""
        pose = np.eye(4)
        pose[:3, :3] = self.rotation.T @ np.diag([1.0, -1.0, -1.0])
        pose[:3, 3] = -self.rotation.T @ self.translation
        return pose

    def project(self, points: Float[np.ndarray, "N 3"], lens: Lens) -> Float[np.ndarray, "N 2"]:
        """Column and row of points of the box's frame; 0 is the middle of the first pixel."""
        x, y, z = self.rotation @ points.T + self.translation[:, None]
        return np.stack([lens.fx * x / z + lens.cx, lens.fy * y / z + lens.cy], axis=1)


def cube_corners(side: float) -> Float[np.ndarray, "8 3"]:
    """Of a cube that stands on z = 0, with x from -side to 0 and y from 0 to side."""
    floor = side * np.array([[0.0, 0, 0], [-1, 0, 0], [-1, 1, 0], [0, 1, 0]])
    return np.concatenate([floor, floor + np.array([0, 0, side])])


def visible_edges(pose: BoxPose, corners: Float[np.ndarray, "8 3"]) -> dict[tuple[int, int], int]:
    """Edges of the faces that look at the camera, by their corners: 1 for the outline, 2 for inner ones."""
    camera = -pose.rotation.T @ pose.translation
    found: dict[tuple[int, int], int] = {}
    for face in _FACES:
        quad = corners[list(face)]
        normal = np.cross(quad[1] - quad[0], quad[2] - quad[0])
        normal *= np.sign(normal @ (quad.mean(0) - corners.mean(0)))
        towards = camera - quad.mean(0)
        if normal @ towards > _LEAST_FACING * np.linalg.norm(normal) * np.linalg.norm(towards):
            for start, end in zip(face, (*face[1:], face[0]), strict=True):
                edge = (min(start, end), max(start, end))
                found[edge] = found.get(edge, 0) + 1
    return found


def refine(
    pose: BoxPose,
    picture: Float[np.ndarray, "H W"],
    corners: Float[np.ndarray, "8 3"],
    lens: Lens,
    reaches: Sequence[float] = _REACHES,
) -> BoxPose:
    """The pose near to the given one whose edges lie on those of a grey picture."""
    filters, optimize = import_module("scipy.ndimage"), import_module("scipy.optimize")
    down, right = np.gradient(filters.gaussian_filter(picture, 1.0))
    for reach in reaches:
        edges = visible_edges(pose, corners)
        starts, ends = (corners[[edge[side] for edge in edges]] for side in (0, 1))
        points = (starts[:, None] + _ALONG[:, None] * (ends - starts)[:, None]).reshape(-1, 3)
        along = np.repeat(pose.project(ends, lens) - pose.project(starts, lens), len(_ALONG), axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1)
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        expected = pose.project(points, lens)
        offsets = np.arange(-reach, reach + 0.25, 0.5)
        places = (expected[:, None] + offsets[None, :, None] * across[:, None])[..., ::-1]
        changes = [
            filters.map_coordinates(part, np.moveaxis(places, -1, 0), order=1, mode="nearest")
            for part in (right, down)
        ]
        strength = np.abs(changes[0] * across[:, :1] + changes[1] * across[:, 1:])
        best = (strength * np.exp(-0.5 * (offsets / (0.6 * reach)) ** 2)).argmax(1)
        wanted = (expected * across).sum(1) + offsets[best]
        weights = np.repeat(
            [_INNER_WEIGHT if faces == 2 else 1.0 for faces in edges.values()], len(_ALONG)
        ) * np.minimum(strength[np.arange(len(best)), best] / _SURE, 1)

        def misses(
            vector: Float[np.ndarray, " 6"],
            points: Float[np.ndarray, "N 3"] = points,
            across: Float[np.ndarray, "N 2"] = across,
            wanted: Float[np.ndarray, " N"] = wanted,
            weights: Float[np.ndarray, " N"] = weights,
        ) -> Float[np.ndarray, " N"]:
            seen = BoxPose.of_vector(vector).project(points, lens)
            return weights * ((seen * across).sum(1) - wanted)

        size = float(np.ptp(corners))
        scales = [size / 8] * 3 + [0.05] * 3
        found = optimize.least_squares(misses, pose.vector(), loss="soft_l1", f_scale=0.7, x_scale=scales)
        pose = BoxPose.of_vector(found.x)
    return pose


def outline(
    pose: BoxPose, corners: Float[np.ndarray, "8 3"], lens: Lens, height: int, width: int
) -> UInt8[np.ndarray, "H W"]:
    """The box's mask: 255 where a pixel's middle is inside."""
    hull: Any = import_module("scipy.spatial").ConvexHull(pose.project(corners, lens))
    row, column = np.mgrid[:height, :width]
    inside = np.ones((height, width), dtype=bool)
    for a, b, offset in hull.equations:
        inside &= a * column + b * row + offset <= 0
    return np.where(inside, 255, 0).astype(np.uint8)


def _rotations() -> Any:
    return import_module("scipy.spatial.transform").Rotation
