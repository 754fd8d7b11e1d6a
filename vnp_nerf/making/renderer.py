"""Pictures of meshes by ray casting with Embree, through open3d.

Shading is fixed in the world: a surface point keeps its brightness in every view, as a radiance field without
view dependence expects. Conventions: OpenGL cameras, pixel centres at +0.5, depth along the unit ray.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float32, Int, UInt8

from vnp_core.errors import ConfigError, MissingDependencyError
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.textures import TextureAtlas

MOST_LAYERS = 24
OPAQUE_REST = 0.004
STEP_PAST_SURFACE = 2e-4
AMBIENT, SKY, SUN, FILL = 0.52, 0.16, 0.34, 0.12
SUN_DIRECTION = np.array([0.45, -0.6, 0.66], np.float32)
FILL_DIRECTION = np.array([-0.8, 0.5, 0.33], np.float32)


@dataclass(frozen=True)
class Picture:
    """RGBA (straight alpha), and the distance along the ray through each pixel's centre or infinity."""

    rgba: UInt8[np.ndarray, "H W 4"]
    distance: Float32[np.ndarray, "H W"] | None


def shading(normals: Float32[np.ndarray, "N 3"]) -> Float32[np.ndarray, " N"]:
    """Brightness (at most 1) of matt surfaces with these unit normals: ambient, sky, soft sun, fill light."""
    sun = np.maximum(normals @ (SUN_DIRECTION / np.linalg.norm(SUN_DIRECTION)) * 0.8 + 0.2, 0.0)
    fill = np.maximum(normals @ (FILL_DIRECTION / np.linalg.norm(FILL_DIRECTION)), 0.0)
    return np.minimum(AMBIENT + SKY * (0.5 + 0.5 * normals[:, 2]) + SUN * sun + FILL * fill, 1.0).astype(
        np.float32
    )


class Renderer:
    """Casts rays into one mesh on one thread. Build it once, then take any number of pictures.

    Args:
        mesh: what to render.
        supersampling: rays a pixel along each axis.

    Raises:
        MissingDependencyError: open3d or one of its system libraries is missing.
        ConfigError: supersampling below 1.
    """

    def __init__(self, mesh: Mesh, supersampling: int = 2) -> None:
        if supersampling < 1:
            raise ConfigError(
                f"supersampling is {supersampling}; give 1 or more rays a pixel along each axis"
            )
        self._open3d = import_open3d()
        self._mesh = mesh
        self._supersampling = supersampling
        self._scene = self._open3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            self._tensor(np.ascontiguousarray(mesh.corners.reshape(-1, 3), np.float32)),
            self._tensor(np.arange(3 * len(mesh), dtype=np.uint32).reshape(-1, 3)),
        )
        self._colours = np.array([material.colour for material in mesh.palette], np.float32)
        self._alphas = np.array([material.alpha for material in mesh.palette], np.float32)
        textures = [] if mesh.uvs is None else [m.texture for m in mesh.palette if m.texture is not None]
        self._texture_of = np.full(len(mesh.palette), -1, np.int64)
        if textures:
            owners = [index for index, material in enumerate(mesh.palette) if material.texture is not None]
            self._texture_of[owners] = np.arange(len(textures))
            self._atlas = TextureAtlas.build(textures)
            self._texel_density = self._texels_per_length()

    def picture(
        self,
        camera_to_world: Float32[np.ndarray, "3 4"],
        focal: float,
        height: int,
        width: int,
        with_distance: bool = False,
    ) -> Picture:
        """What a pinhole camera with its principal point in the middle sees.

        Args:
            camera_to_world: OpenGL pose (x right, y up, looks along -z).
            focal: focal length in pixels, both axes.
            height, width: the picture's size in pixels.
            with_distance: also cast a ray through each pixel's centre for the distance.
        """
        n = self._supersampling
        origins, directions = _rays(camera_to_world, focal, height, width, n)
        rgba, _ = self._trace(origins, directions, pixel_angle=1.0 / (focal * n))
        premultiplied = rearrange(rgba, "(H i W j) C -> H W (i j) C", i=n, j=n, W=width).mean(axis=2)
        distance = None
        if with_distance:
            origins, directions = _rays(camera_to_world, focal, height, width, 1)
            _, first = self._trace(origins, directions, pixel_angle=1.0 / focal)
            distance = rearrange(first, "(H W) -> H W", W=width)
        return Picture(rgba=_straight_bytes(premultiplied), distance=distance)

    def _trace(
        self, origins: Float32[np.ndarray, "R 3"], directions: Float32[np.ndarray, "R 3"], pixel_angle: float
    ) -> tuple[Float32[np.ndarray, "R 4"], Float32[np.ndarray, " R"]]:
        """Premultiplied RGBA of each ray, and the distance where half its light is stopped (else infinite).

        Surfaces are peeled one by one, front to back: after a hit that lets light through, the ray goes on
        from just behind it.
        """
        rgba = np.zeros((len(origins), 4), np.float32)
        half_distance = np.full(len(origins), np.inf, np.float32)
        active, travelled = np.arange(len(origins)), np.zeros(len(origins), np.float32)
        clear = np.ones(len(origins), np.float32)
        for _ in range(MOST_LAYERS):
            starts = origins[active] + travelled[active, None] * directions[active]
            hits = self._scene.cast_rays(
                self._tensor(np.concatenate([starts, directions[active]], axis=1)), nthreads=1
            )
            reached = hits["t_hit"].numpy()
            struck = np.isfinite(reached)
            if not struck.any():
                break
            active, reached = active[struck], reached[struck]
            distance = travelled[active] + reached
            colour, alpha = self._surface(
                hits["primitive_ids"].numpy()[struck].astype(np.int64),
                hits["primitive_uvs"].numpy()[struck],
                hits["primitive_normals"].numpy()[struck],
                directions[active],
                distance * pixel_angle,
            )
            rgba[active, :3] += (clear[active] * alpha)[:, None] * colour
            rgba[active, 3] += clear[active] * alpha
            clear[active] *= 1.0 - alpha
            stopped = active[(clear[active] <= 0.5) & np.isinf(half_distance[active])]
            travelled[active] = distance + STEP_PAST_SURFACE
            half_distance[stopped] = travelled[stopped] - STEP_PAST_SURFACE
            active = active[clear[active] > OPAQUE_REST]
            if len(active) == 0:
                break
        return rgba, half_distance

    def _surface(
        self,
        triangles: Int[np.ndarray, " N"],
        weights: Float32[np.ndarray, "N 2"],
        facing: Float32[np.ndarray, "N 3"],
        directions: Float32[np.ndarray, "N 3"],
        footprints: Float32[np.ndarray, " N"],
    ) -> tuple[Float32[np.ndarray, "N 3"], Float32[np.ndarray, " N"]]:
        """Shaded straight colour and opacity where rays meet triangles, whose two sides are alike."""
        mesh, material = self._mesh, self._mesh.materials[triangles]
        colour, alpha = self._colours[material], self._alphas[material].copy()
        corner_weights = np.concatenate([1.0 - weights.sum(axis=1, keepdims=True), weights], axis=1)[
            :, :, None
        ]
        if mesh.uvs is not None and (textured := self._texture_of[material] >= 0).any():
            uvs = (mesh.uvs[triangles[textured]] * corner_weights[textured]).sum(axis=1)
            texels = footprints[textured] * self._texel_density[triangles[textured]]
            sampled = self._atlas.sample(self._texture_of[material[textured]], uvs, texels)
            colour[textured] *= sampled[:, :3] / np.maximum(sampled[:, 3:], 1e-6)
            alpha[textured] *= sampled[:, 3]
        if mesh.tints is not None:
            tint = (mesh.tints[triangles] * corner_weights).sum(axis=1)
            colour, alpha = colour * tint[:, :3], alpha * tint[:, 3]
        facing = facing / np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-12)
        facing = np.where((facing * directions).sum(axis=1, keepdims=True) > 0, -facing, facing)
        normal = facing
        if mesh.normals is not None:
            smooth = (mesh.normals[triangles] * corner_weights).sum(axis=1)
            length = np.linalg.norm(smooth, axis=1, keepdims=True)
            smooth = smooth / np.maximum(length, 1e-12)
            smooth = np.where((smooth * facing).sum(axis=1, keepdims=True) < 0, -smooth, smooth)
            normal = np.where(length > 0.1, smooth, facing)
        return colour * shading(normal)[:, None], alpha

    def _texels_per_length(self) -> Float32[np.ndarray, " F"]:
        """For each triangle the texels on a unit of length, from the ratio of its two areas."""
        mesh = self._mesh
        assert mesh.uvs is not None
        texture = np.maximum(self._texture_of[mesh.materials], 0)
        size = np.stack([self._atlas.widths[texture, 0], self._atlas.heights[texture, 0]], axis=1)
        edges = mesh.corners[:, 1:] - mesh.corners[:, :1]
        area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        sides = (mesh.uvs[:, 1:] - mesh.uvs[:, :1]) * size[:, None]
        texel_area = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
        return np.sqrt(texel_area / np.maximum(area, 1e-12)).astype(np.float32)

    def _tensor(self, values: np.ndarray) -> Any:
        return self._open3d.core.Tensor.from_numpy(values)


def import_open3d() -> Any:
    """The open3d module.

    Raises:
        MissingDependencyError: it isn't installed, or a system library that it loads isn't.
    """
    # Each worker process renders on one thread; open3d reads this when it is first imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "open3d isn't installed, and making scenes needs it: pip install open3d"
        ) from error
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"open3d can't load a system library ({error}); "
            "on Debian: apt-get install libusb-1.0-0 libgl1 libgomp1"
        ) from error
    return open3d


def _rays(
    camera_to_world: Float32[np.ndarray, "3 4"], focal: float, height: int, width: int, supersampling: int
) -> tuple[Float32[np.ndarray, "R 3"], Float32[np.ndarray, "R 3"]]:
    """Origins and unit directions, row by row, of supersampling^2 evenly spaced rays a pixel."""
    n = supersampling
    x = ((np.arange(width * n) + 0.5) / n - width / 2) / focal
    y = -((np.arange(height * n) + 0.5) / n - height / 2) / focal
    grid_x, grid_y = np.meshgrid(x, y)
    local = np.stack([grid_x, grid_y, -np.ones_like(grid_x)], axis=-1).reshape(-1, 3)
    local = local / np.linalg.norm(local, axis=1, keepdims=True)
    pose = np.asarray(camera_to_world, np.float64)
    directions = (local @ pose[:3, :3].T).astype(np.float32)
    return np.broadcast_to(pose[:3, 3].astype(np.float32), directions.shape), directions


def _straight_bytes(premultiplied: Float32[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Straight-alpha bytes; the colour of an empty pixel is 0."""
    alpha = premultiplied[..., 3:]
    colour = np.divide(
        premultiplied[..., :3], alpha, out=np.zeros_like(premultiplied[..., :3]), where=alpha > 0
    )
    straight = np.concatenate([colour, alpha], axis=-1)
    straight[alpha[..., 0] < 0.5 / 255] = 0
    return np.rint(np.clip(straight, 0, 1) * 255).astype(np.uint8)
