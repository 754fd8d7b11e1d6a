"""A mesh as the ray caster wants it: separate triangles, each with a material out of a palette."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, UInt8

from vnp_core.errors import DataError


@dataclass(frozen=True)
class Material:
    """One surface: sRGB colour and opacity in 0..1, and a texture (straight alpha) that multiplies both."""

    colour: tuple[float, float, float] = (0.8, 0.8, 0.8)
    alpha: float = 1.0
    texture: UInt8[np.ndarray, "height width 4"] | None = None


@dataclass(frozen=True)
class Mesh:
    """F separate triangles. Nothing is shared between them, so that seams in UV and normals need no care.

    Attributes:
        corners: positions, counter-clockwise as seen from outside, any unit of length.
        materials: index into `palette` of each triangle.
        palette: the materials.
        normals: shading normals at the corners; None means flat triangles.
        uvs: texture coordinates, v upward, wrapped; None means that no texture is used.
        tints: sRGB colour and opacity at the corners in 0..1 that multiply the material's; None means white.
    """

    corners: Float32[np.ndarray, "F 3 3"]
    materials: Int[np.ndarray, " F"]
    palette: tuple[Material, ...]
    normals: Float32[np.ndarray, "F 3 3"] | None = None
    uvs: Float32[np.ndarray, "F 3 2"] | None = None
    tints: Float32[np.ndarray, "F 3 4"] | None = None

    def __len__(self) -> int:
        return len(self.corners)

    def rotated(self, rotation: Float32[np.ndarray, "3 3"]) -> "Mesh":
        """The mesh with x replaced by rotation @ x."""
        turned = np.asarray(rotation, np.float32)
        return Mesh(
            corners=self.corners @ turned.T,
            materials=self.materials,
            palette=self.palette,
            normals=None if self.normals is None else self.normals @ turned.T,
            uvs=self.uvs,
            tints=self.tints,
        )

    def in_unit_ball(self) -> "Mesh":
        """The mesh moved and scaled: the ball about its bounding box's centre has radius 1 at the origin.

        Raises:
            DataError: no triangle, a coordinate that is no number, or no extent at all.
        """
        if len(self) == 0:
            raise DataError("the mesh has no triangle; give one with faces (a point cloud can't be rendered)")
        points = self.corners.reshape(-1, 3).astype(np.float64)
        if not np.isfinite(points).all():
            raise DataError("the mesh has a vertex coordinate that is infinite or no number; repair the file")
        points = points - (points.min(axis=0) + points.max(axis=0)) / 2
        radius = np.sqrt((points**2).sum(axis=1).max())
        if radius == 0:
            raise DataError("all vertices of the mesh lie in one point; there is nothing to render")
        return Mesh(
            corners=(points / radius).astype(np.float32).reshape(-1, 3, 3),
            materials=self.materials,
            palette=self.palette,
            normals=self.normals,
            uvs=self.uvs,
            tints=self.tints,
        )


def join_meshes(parts: Sequence[Mesh]) -> Mesh:
    """One mesh with all triangles of `parts` in order, and their palettes one behind the other."""
    starts = np.cumsum([0] + [len(part.palette) for part in parts])

    def joined(values: Sequence[np.ndarray | None], blank: tuple[int, ...], fill: float) -> np.ndarray | None:
        if all(value is None for value in values):
            return None
        return np.concatenate(
            [
                np.full((len(part), *blank), fill, np.float32) if value is None else value
                for part, value in zip(parts, values, strict=True)
            ]
        )

    normals = [part.normals for part in parts]
    if any(normal is not None for normal in normals):
        normals = [part.normals if part.normals is not None else flat_normals(part.corners) for part in parts]
    return Mesh(
        corners=np.concatenate([part.corners for part in parts]),
        materials=np.concatenate(
            [part.materials + start for part, start in zip(parts, starts, strict=False)]
        ),
        palette=tuple(material for part in parts for material in part.palette),
        normals=joined(normals, (3, 3), 0.0),
        uvs=joined([part.uvs for part in parts], (3, 2), 0.0),
        tints=joined([part.tints for part in parts], (3, 4), 1.0),
    )


def flat_normals(corners: Float32[np.ndarray, "F 3 3"]) -> Float32[np.ndarray, "F 3 3"]:
    """The triangle's own unit normal at each of its corners; 0 for a triangle without area."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    unit = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    return np.repeat(unit[:, None], 3, axis=1)
