"""A field in a notebook: looked at, drawn from, and turned into a mesh, in the user's frame and units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vnp_core.errors import CameraError, ConfigError, MissingDependencyError
from vnp_nerf.cameras import Cameras, picture_rays
from vnp_nerf.culled_field import CulledField, DrawnFields
from vnp_nerf.exporting import field_to_grid, grid_to_mesh
from vnp_nerf.frames import Similarity
from vnp_nerf.given_cameras import GivenNumbers, pinhole_cameras
from vnp_nerf.prediction import Prediction, check_draws
from vnp_nerf.radiance import Encoded, RadianceField, RadianceModel
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.rendering import Background, RayRenderer, Rendering, render_picture

if TYPE_CHECKING:
    import trimesh

_DRAWS = 8
"""Draws that sigma is taken over, unless somebody says otherwise."""


@dataclass(frozen=True, eq=False)
class RenderedPicture:
    """What a camera sees, on the CPU, float32.

    rgb: over the background, 0 to 1. accumulation: share of the light that the object absorbs, 0 to 1.
    depth: expected distance along the ray through the pixel, in the poses' unit of length; where nothing is
    absorbed, that of the far end of the object's ball. sigma: standard deviation of the colour that the model
    expects (0 to .5; root mean square of red, green and blue), noise included where it tells of any.
    epistemic: the part of it by which draws of the latents differ. depth_sigma: of the depth of what is
    absorbed. These three are None where no draws were compared.
    """

    rgb: Float[Tensor, "H W 3"]
    accumulation: Float[Tensor, "H W"]
    depth: Float[Tensor, "H W"]
    sigma: Float[Tensor, "H W"] | None = None
    epistemic: Float[Tensor, "H W"] | None = None
    depth_sigma: Float[Tensor, "H W"] | None = None

    def image(self) -> Image.Image:
        """The colours as a PIL picture, which notebooks show and which can be saved."""
        return Image.fromarray((self.rgb.clamp(0, 1) * 255).round().byte().numpy())


@dataclass(frozen=True, eq=False)
class InferredField:
    """One object as a function of space: at the latents' mean, the single best guess, or at one draw.

    frame: the user's world to the model's. camera: the first context camera, whose lens `render` takes where
    it is told none. seed: of the draw; None for the mean.
    """

    model: RadianceModel
    encoded: Encoded
    frame: Similarity
    camera: Cameras
    seed: int | None = None

    def __repr__(self) -> str:
        return f"InferredField({'mean' if self.seed is None else f'draw of seed {self.seed}'})"

    def render(
        self,
        camera: GivenNumbers | Cameras,
        *,
        size: tuple[int, int] | None = None,
        focal: float | Sequence[float] | None = None,
        field_of_view: float | None = None,
        intrinsics: GivenNumbers | None = None,
        background: Background = "white",
        draws: int = _DRAWS,
    ) -> RenderedPicture:
        """What a camera sees.

        camera: one camera-to-world matrix, [4, 4] or [3, 4], in the convention and the world of the poses
        that the field was inferred from; or a `Cameras` of one. size: (height, width), pixels; that of the
        camera, or of the first context picture. In another shape than the camera's, more or less is seen at
        the sides. focal, field_of_view, intrinsics: see `pinhole_cameras`;
        by default the lens of the first context camera. background: 'white', 'black', or a colour [3].
        draws: how many draws of the latents (seeds 0, 1, ...) sigma is taken over, 0 for none; they take
        most of the time. A field of a single draw has no sigma.

        Raises `CameraError`, and `ConfigError` for a background or a number of draws that cannot be.
        """
        lens = {"focal": focal, "field_of_view": field_of_view, "intrinsics": intrinsics}
        seen_from = self.frame.apply_cameras(self._chosen(camera, size, lens))
        check_draws(draws)
        seen = self._look(self._shown, seen_from, background)
        picture = RenderedPicture(seen.rgb, seen.alpha, seen.depth / self.frame.scale)
        if not draws or self.seed is not None:
            return picture
        drawn = self._look(self._drawn(draws), seen_from, background)  # [H, W, K, ...]
        told = Prediction.of_draws(drawn, self._far(seen_from))
        depth_sigma = told.depth_std / self.frame.scale
        return replace(picture, sigma=told.rgb_std, epistemic=told.epistemic, depth_sigma=depth_sigma)

    def sample(self, count: int, seed: int = 0) -> list["InferredField"]:
        """Fields of single draws of the latents: of the seeds `seed`, `seed` + 1, ...

        The same seed gives the same field, here and in `vnp-infer --draw`. Raises `ConfigError` for a count
        below 1.
        """
        if count < 1:
            raise ConfigError(f"{count} draws were asked for: give 1 or more.")
        return [replace(self, seed=draw) for draw in range(seed, seed + count)]

    def mesh(
        self, resolution: int = 128, *, threshold: float | None = None, draws: int = _DRAWS
    ) -> "trimesh.Trimesh":
        """The object's closed surface as a trimesh with vertex colours, in the user's frame and units.

        resolution: cells a side of the grid that the field is read on. threshold: density, per model unit
        (the radius of the object's ball), that counts as solid; by default the one whose outlines look most
        like the field's. draws: see `render`; the vertices then have `vertex_attributes` 'colour_sigma' (0 to
        1) and 'density_sigma' (1 / length unit). Raises `DataError` where the field is empty, and
        `ConfigError` for numbers that cannot be.
        """
        try:
            import trimesh
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "trimesh is not installed, and meshes in Python need it: pip install trimesh"
            ) from error
        check_draws(draws)
        drawn = self.sample(draws) if draws and self.seed is None else []
        grid = field_to_grid(
            self._shown,
            resolution,
            radius=self.model.config.radius,
            threshold=threshold,
            draws=[field._plain for field in drawn],
            device=self.encoded.rotation.device,
        )
        surface = grid_to_mesh(grid).moved(self.frame.inverse())
        vertices = surface.vertices
        sigmas: Any = {"colour_sigma": vertices.colour_sigma, "density_sigma": vertices.density_sigma}
        return trimesh.Trimesh(
            vertices=vertices.points,
            faces=surface.faces,
            vertex_normals=vertices.normals,
            vertex_colors=(vertices.rgb.clip(0, 1) * 255).round().astype(np.uint8),
            vertex_attributes=sigmas if drawn else None,
            process=False,
        )

    def _chosen(
        self, camera: GivenNumbers | Cameras, size: tuple[int, int] | None, lens: dict[str, Any]
    ) -> Cameras:
        """One camera in the user's world."""
        told = any(value is not None for value in lens.values())
        if isinstance(camera, Cameras):
            if told:
                raise ConfigError(
                    "a camera that has a lens comes without focal, field_of_view and intrinsics."
                )
            chosen = camera.to("cpu")
        elif told:
            chosen = pinhole_cameras(camera, self.camera.sizes[0].tolist() if size is None else size, **lens)
        else:
            height, width = self.camera.sizes[0].tolist()
            chosen = pinhole_cameras(camera, (height, width), intrinsics=self.camera.intrinsics[0])
        if len(chosen) != 1:
            raise CameraError(f"render takes one camera a call; given: {len(chosen)}. Call it for each.")
        if size is not None:
            if len(size) != 2 or min(size) < 1:
                raise CameraError(f"size is {size!r}; give (height, width), pixels.")
            chosen = chosen.framed_as(*size)
        chosen.validate("the camera to render")
        return chosen

    @cached_property
    def _plain(self) -> RadianceField:
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            return self.model.infer_field(self.encoded, generator=generator)

    @cached_property
    def _shown(self) -> CulledField:
        return CulledField(self._plain)

    @cached_property
    def _kept(self) -> dict[int, DrawnFields]:
        return {}

    @torch.no_grad()
    def _drawn(self, draws: int) -> DrawnFields:
        """The draws of seeds 0, 1, ..., to be looked at together; kept for the next picture."""
        if draws not in self._kept:
            self._kept.clear()
            self._kept[draws] = DrawnFields.of_seeds(self.model, self.encoded, range(draws))
        return self._kept[draws]

    def _far(self, camera: Cameras) -> Float[Tensor, "H W"]:
        """Where the rays leave the object's ball, model units."""
        height, width = camera.sizes[0].tolist()
        rays = picture_rays(camera.camera_to_world[0], camera.intrinsics[0], height, width)
        return ball_span(*rays, self.model.config.radius)[1]

    @torch.no_grad()
    def _look(self, field: RayRenderer, camera: Cameras, background: Background) -> Rendering:
        device = self.encoded.rotation.device
        if not isinstance(background, str):
            background = torch.as_tensor(background, dtype=torch.float32).to(device)
            if background.shape != (3,):
                raise ConfigError(f"the background has shape {list(background.shape)}; give a colour [3].")
        height, width = camera.sizes[0].tolist()
        pose, lens = camera.camera_to_world[0].to(device), camera.intrinsics[0].to(device)
        seen = render_picture(field, pose, lens, height, width, background=background)
        return seen.map(lambda part: part.float().cpu())
