"""The object's surface as triangles, and points spread over it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from vnp_core.errors import ConfigError, MissingDependencyError
from vnp_nerf.exporting.grids import FieldGrid
from vnp_nerf.exporting.point_sets import PointSet
from vnp_nerf.frames import Similarity

_LEVEL = 0.4999
"""A density at the threshold maps to 0.5, which thereby is inside for certain."""


@dataclass(frozen=True, eq=False)
class SurfaceMesh:
    """Triangles [F, 3] between vertices that have normals; counter-clockwise as seen from outside."""

    vertices: PointSet
    faces: Int[np.ndarray, "F 3"]

    def moved(self, frame: Similarity) -> "SurfaceMesh":
        """The same surface in the frame that `frame` leads to."""
        return replace(self, vertices=self.vertices.moved(frame))


def grid_to_mesh(grid: FieldGrid) -> SurfaceMesh:
    """The closed surface where density passes the grid's threshold, by marching cubes; model frame.

    The level set is that of density / (density + threshold), which saturates: between an opaque and an empty
    cell the surface then lies half-way, however opaque the one is. Colours and sigmas are read from occupied
    cells alone, since a field's colour means nothing where it absorbs nothing.
    """
    try:
        from scipy.ndimage import distance_transform_edt, map_coordinates
        from skimage.measure import marching_cubes
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "scikit-image is not installed, and meshes need it: pip install scikit-image"
        ) from error
    # A border of empty cells closes the surface of an object that touches the cube.
    volume = np.pad(grid.density / (grid.density + grid.threshold), 1)
    # "ascent" by scikit-image's left-hand rule: by the right-hand one, faces of a dense object look outwards.
    padded, faces, _, _ = marching_cubes(volume, _LEVEL, gradient_direction="ascent")
    places = padded.astype(np.float64) - 1
    nearest = np.asarray(distance_transform_edt(~grid.occupied, return_distances=False, return_indices=True))

    def read(values: Float[np.ndarray, "N N N"]) -> Float[np.ndarray, "V"]:
        return map_coordinates(values[tuple(nearest)], places.T, order=1, mode="nearest")

    points = grid.positions(places)
    vertices = PointSet(
        points=points,
        rgb=np.stack([read(grid.rgb[..., channel]) for channel in range(3)], axis=-1),
        colour_sigma=read(grid.colour_sigma),
        density_sigma=read(grid.density_sigma),
        draws=grid.draws,
        normals=_normals(points, faces),
    )
    return SurfaceMesh(vertices, faces.astype(np.int32))


def mesh_to_points(mesh: SurfaceMesh, count: int, rng: np.random.Generator) -> PointSet:
    """`count` points spread evenly over a surface, each a mixture of its triangle's corners.

    Raises `ConfigError` for a count below 1.
    """
    if count < 1:
        raise ConfigError(f"{count} points were asked for: give 1 or more")
    corners = mesh.vertices.points[mesh.faces]
    areas = np.linalg.norm(_crosses(corners), axis=-1)
    chosen = mesh.faces[rng.choice(len(areas), count, p=areas / areas.sum())]
    first, second = rng.random((2, count))
    root = np.sqrt(first)
    shares = np.stack([1 - root, root * (1 - second), root * second], axis=-1)  # uniform over a triangle

    def mix(values: Float[np.ndarray, "V *C"]) -> Float[np.ndarray, "M *C"]:
        return np.einsum("mk,mk...->m...", shares, values[chosen])

    return _mapped(mesh.vertices, mix)


def _mapped(points: PointSet, change: Callable[[np.ndarray], np.ndarray]) -> PointSet:
    assert points.normals is not None
    return replace(
        points,
        points=change(points.points),
        rgb=change(points.rgb),
        colour_sigma=change(points.colour_sigma),
        density_sigma=change(points.density_sigma),
        normals=_unit(change(points.normals)),
    )


def _normals(points: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    """Outward unit normals: of the triangles about a vertex, weighted by their areas."""
    crosses = _crosses(points[faces])
    summed = np.zeros_like(points)
    for corner in range(3):
        np.add.at(summed, faces[:, corner], crosses)
    return _unit(summed)


def _crosses(corners: Float[np.ndarray, "F 3 3"]) -> Float[np.ndarray, "F 3"]:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _unit(vectors: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)
