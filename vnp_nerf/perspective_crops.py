"""Context views as a camera would have taken them that looks straight at the object, upright, and near enough
for the object's ball to fill the picture (a perspective crop: Yu et al. 2021).

Weights know the framing of the scenes that they learned from. A photograph of another framing, whose object
is small, aside or aslant, shows the same rays: turned about its own centre and cropped, the camera sees them
in the framing that the weights know, and the object has all of the canvas' pixels.
"""

from dataclasses import replace
from functools import reduce

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vnp_nerf.cameras import look_at, pixel_centres, pixel_rays, project
from vnp_nerf.views import Views, premultiply

_WIDEST = 1.0
"""Largest tangent of half a crop's field of view: a camera so near to the object keeps its picture."""
_MOST = 1024
"""Pixels a side of a crop, at most."""
_SAME = 1.0
"""A crop whose corners lie within so many of its least pixels of the whole picture's is not made."""


def perspective_crops(views: Views, side: int, margin: float) -> Views:
    """The same views, those of another framing cropped to a square about the object's ball.

    side: pixels of a crop's side, at least; it has as many as the picture has there, up to 1,024. margin:
    half of the crop's side over the radius of the ball's outline in it; 0 changes nothing. If no view is
    changed, what is returned is `views` itself. A view stays as it is where its crop would show what the
    picture does not: where the crop reaches beyond the picture, unless all along the picture's border there
    is background, as there is beyond then.
    """
    if not margin:
        return views
    with torch.no_grad(), torch.autocast(views.mask.device.type, enabled=False):
        cameras = _framed(views, side, margin)
        crops = {
            (scene, view): crop
            for scene, view in _differing(views, cameras, side).tolist()
            if (crop := _crop(_one(views, scene, view), _one(cameras, scene, view))) is not None
        }
    if not crops:
        return views
    scenes = [
        [crops.get((scene, view)) or _one(views, scene, view) for view in range(views.count)]
        for scene in range(views.batch)
    ]
    return Views.stack([reduce(Views.cat_views, scene) for scene in scenes])


def _framed(views: Views, side: int, margin: float) -> Views:
    """The crops' cameras, with nothing on their pictures yet; without a mask where a camera is too near."""
    positions = views.camera_to_world[..., 3]
    distance = positions.norm(dim=-1)
    half = margin / (distance.square() - 1).clamp_min(1e-6).sqrt()  # the outline's tangent is 1 / this root
    mask = views.mask & (half <= _WIDEST)
    # Where nobody looks from, anywhere else will do: `look_at` refuses to stand where it is to look at.
    places = torch.where(mask[..., None], positions, positions.new_tensor([4.0, 0, 0]))
    focal, middle = side / (2 * half), torch.full_like(half, side / 2)
    return Views(
        rgba=views.rgba.new_zeros(*views.mask.shape, 4, side, side),
        camera_to_world=look_at(places.cpu()).to(positions),
        intrinsics=torch.stack([focal, focal, middle, middle], dim=-1),
        sizes=torch.full_like(views.sizes, side),
        mask=mask,
    )


def _differing(views: Views, cameras: Views, side: int) -> Tensor:
    """Scene and view of those whose picture is not what the framed camera sees: [N, 2]."""
    corners = side * cameras.intrinsics.new_tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    there, depth = _seen_by(views, cameras, corners.expand(*views.mask.shape, 4, 2))
    scale = side / views.sizes.amax(-1).clamp_min(1)
    off = (there * scale[..., None, None] - corners).abs().amax(dim=(-1, -2))
    return (cameras.mask & ((off >= _SAME) | (depth <= 0).any(-1))).nonzero()


def _one(views: Views, scene: int, view: int) -> Views:
    return views.select_scenes([scene]).select_views([view])


def _seen_by(
    views: Views, cameras: Views, pixels: Float[Tensor, "B V N 2"]
) -> tuple[Float[Tensor, "B V N 2"], Float[Tensor, "B V N"]]:
    """Where on the views' pictures lies what other cameras in their places see at `pixels`, and how far in
    front of the view's camera: not at all at 0 or less.
    """
    origins, directions = pixel_rays(
        cameras.camera_to_world[:, :, None], cameras.intrinsics[:, :, None], pixels
    )
    return project(origins + directions, views.camera_to_world[:, :, None], views.intrinsics[:, :, None])


def _crop(view: Views, camera: Views) -> Views | None:
    """What the camera sees of a single view; None where that is more than the view shows."""
    height, width = view.sizes[0, 0].tolist()
    least = camera.rgba.shape[-1]
    corners = least * camera.intrinsics.new_tensor([[[[0.0, 0], [0, 1], [1, 0], [1, 1]]]])
    there, depth = _seen_by(view, camera, corners)
    inside = (depth > 0).all() & (there >= 0).all() & (there <= there.new_tensor([width, height])).all()
    rgba = premultiply(view.rgba[0, 0, :, :height, :width])
    edges = torch.cat([rgba[3, 0], rgba[3, -1], rgba[3, :, 0], rgba[3, :, -1]])
    if not bool(inside | (edges == 0).all()):
        return None
    # As many pixels as the picture has there: the canvas makes them fewer, but colours are looked up in all.
    ratio = (view.intrinsics[..., :2].max() / camera.intrinsics[..., 0]).item()
    side = min(max(round(least * ratio), least), max(least, _MOST))
    lens = camera.intrinsics * (side / least)
    factor = max(1, int(least * ratio / side))
    picture = F.avg_pool2d(rgba[None], factor, ceil_mode=True)
    pixels = rearrange(pixel_centres(side, side, rgba.device), "P Q xy -> 1 1 (P Q) xy")
    there, depth = _seen_by(view, replace(camera, intrinsics=lens), pixels)
    shape = factor * there.new_tensor([picture.shape[-1], picture.shape[-2]])
    grid = torch.where((depth > 0)[..., None], 2 * there / shape - 1, 2.0)
    grid = rearrange(grid, "1 1 (P Q) xy -> 1 P Q xy", P=side)
    seen = F.grid_sample(picture, grid, padding_mode="zeros", align_corners=False)[None]
    alpha = seen[:, :, 3:].clamp(0, 1)
    colour = (seen[:, :, :3] / alpha.clamp_min(1e-6) * (alpha > 0)).clamp(0, 1)
    return Views(
        rgba=torch.cat([colour, alpha], dim=2),
        camera_to_world=camera.camera_to_world,
        intrinsics=lens,
        sizes=torch.full_like(camera.sizes, side),
        mask=camera.mask,
    )
