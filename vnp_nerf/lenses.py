"""Lens distortion of the OpenCV kind, and its removal: pictures as a pinhole camera would have taken them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from vnp_core.errors import CameraError

_ZOOMS = (0.5, 2.5)
"""Bounds of the ratio of the pinhole's focal length to the lens's; past them it is not worth it."""


@dataclass(frozen=True)
class Lens:
    """A camera with radial (k1, k2, k3) and tangential (p1, p2) distortion, as OpenCV and COLMAP define them.

    A ray through (x, y) of the plane z = 1 falls on x d + 2 p1 x y + p2 (r^2 + 2 x^2) and
    y d + p1 (r^2 + 2 y^2) + 2 p2 x y, where d = 1 + k1 r^2 + k2 r^4 + k3 r^6; fx, fy, cx, cy (in pixels,
    centres at +0.5) then make it a pixel.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    height: int
    width: int
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    def distort(self, rays: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Points of the plane z = 1 as the lens bends them."""
        x, y = rays.unbind(-1)
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))
        bent_x = x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x)
        bent_y = y * radial + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y
        return torch.stack([bent_x, bent_y], dim=-1)

    def pinhole(self) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) of the undistorted picture, which has the same size and centre.

        It is the widest view that the distorted picture fills. Raises `CameraError` if there is none within a
        focal length of 0.5 to 2.5 times this one's.
        """
        zoom = _widest_zoom(self)
        return zoom * self.fx, zoom * self.fy, self.cx, self.cy

    def undistort(self, rgba: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
        """The picture that the pinhole would have taken: bilinear, with colours weighted by alpha."""
        planes = rearrange(torch.from_numpy(rgba).float(), "h w c -> 1 c h w") / 255
        colour, alpha = planes[:, :3], planes[:, 3:]
        straight = grid_sample(
            torch.cat([colour * alpha, alpha], dim=1),
            _sampling_grid(self),
            padding_mode="border",
            align_corners=False,
        )
        straight = torch.cat([straight[:, :3] / straight[:, 3:].clamp(min=1e-6), straight[:, 3:]], dim=1)
        return rearrange((straight * 255).round().clamp(0, 255).byte(), "1 c h w -> h w c").numpy()

    def _source_pixels(self, pixels: Float[Tensor, "*batch 2"], zoom: float) -> Float[Tensor, "*batch 2"]:
        """Where in the distorted picture to find pixels of a pinhole with `zoom` times the focal length."""
        focal, centre = pixels.new_tensor([self.fx, self.fy]), pixels.new_tensor([self.cx, self.cy])
        return self.distort((pixels - centre) / (zoom * focal)) * focal + centre

    def _is_filled(self, zoom: float) -> bool:
        """Whether a pinhole of that zoom sees only what the distorted picture shows."""
        size = torch.tensor([self.width, self.height], dtype=torch.float64)
        steps = torch.linspace(0, 1, 65, dtype=torch.float64)
        zeros, ones = torch.zeros_like(steps), torch.ones_like(steps)
        border = torch.cat(
            [
                torch.stack(side, dim=-1)
                for side in ((steps, zeros), (steps, ones), (zeros, steps), (ones, steps))
            ]
        )
        pixels = 0.5 + border * (size - 1)
        source = self._source_pixels(pixels, zoom)
        focal, centre = size.new_tensor([self.fx, self.fy]), size.new_tensor([self.cx, self.cy])
        reach = ((pixels - centre) / (zoom * focal)).norm(dim=-1).max()
        r2 = (steps * reach) ** 2
        unfolded = 1 + r2 * (3 * self.k1 + r2 * (5 * self.k2 + r2 * 7 * self.k3)) > 0
        slack = 1e-6 * size
        return bool(((source >= 0.5 - slack) & (source <= size - 0.5 + slack)).all() and unfolded.all())


@lru_cache(maxsize=64)
def _widest_zoom(lens: Lens) -> float:
    low, high = _ZOOMS
    if not lens._is_filled(high):
        inside = 0 <= lens.cx <= lens.width and 0 <= lens.cy <= lens.height
        # Zooming is about the centre, which no zoom moves into the picture.
        aside = f", whose principal point ({lens.cx:g}, {lens.cy:g}) lies outside of the picture"
        raise CameraError(
            f"The distortion (k1, k2, k3, p1, p2) = {(lens.k1, lens.k2, lens.k3, lens.p1, lens.p2)} is too "
            f"strong to be undone at {lens.width} x {lens.height} pixels with focal length {lens.fx:g}"
            f"{'' if inside else aside}. "
            f"Undistort the pictures by other means (colmap image_undistorter) and give those."
        )
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if lens._is_filled(middle) else (middle, high)
    return high


@lru_cache(maxsize=2)
def _sampling_grid(lens: Lens) -> Float[Tensor, "1 H W 2"]:
    """grid_sample's coordinates (-1 to 1 between the picture's outer edges) for `Lens.undistort`."""
    y, x = torch.meshgrid(torch.arange(lens.height) + 0.5, torch.arange(lens.width) + 0.5, indexing="ij")
    source = lens._source_pixels(torch.stack([x, y], dim=-1).double(), _widest_zoom(lens))
    grid = 2 * source / torch.tensor([lens.width, lens.height]) - 1
    return grid.float()[None]
