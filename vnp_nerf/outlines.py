"""Where masks show an object to be: rays along its outline, points that no mask rules out, and its ball."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import CameraError, ViewCountError
from vnp_nerf.cameras import Cameras, pixel_centres, pixel_rays, project
from vnp_nerf.frames import BALL_ROOM, Similarity, axes_centre, inscribed_radius, upright_rotation

Mask = Bool[Tensor, "H W"]

_CELLS = 48
"""Cells a side of the grids that the object is looked for on: first around all that it can be, then around
what the first one found.
"""
SIDE = 128
"""Longer side of the masks that balls are found by, pixels: larger ones are shrunk."""
_SPECK = 0.01
"""Parts of a mask that are smaller than this share of its largest are none of the object."""
_AIMED = 0.01
"""Cameras whose axes all pass a point as closely as this, in radii of the ball that fits into their views,
were put there by a program.
"""
_FRAMED = 0.15
"""And if the object fills that ball but for so much of its radius, the ball was meant."""


def is_whole(mask: Mask) -> bool:
    """Whether there is an object, and the picture's border does not cut it."""
    border = mask[0].any() | mask[-1].any() | mask[:, 0].any() | mask[:, -1].any()
    return bool(mask.any() & ~border)


def is_cut_out(mask: Mask) -> bool:
    """Whether there are both object and background."""
    return bool(mask.any() & ~mask.all())


def without_specks(mask: Mask) -> Mask:
    """The mask's largest connected part, and others that are not far too small beside it."""
    height, width = mask.shape
    parts = mask * torch.arange(1.0, 1 + height * width, dtype=torch.float64).view(height, width)
    while True:  # each pixel takes the greatest number that touches it, until all of a part have one
        grown = F.max_pool2d(parts[None], kernel_size=3, stride=1, padding=1)[0] * mask
        if torch.equal(grown, parts):
            break
        parts = grown
    numbers, which, counts = parts.unique(return_inverse=True, return_counts=True)
    kept = (counts >= _SPECK * counts[numbers > 0].amax()) & (numbers > 0) if mask.any() else numbers > 0
    return kept[which]


def outline_rays(camera: Cameras, mask: Mask) -> Float[Tensor, "N 3"]:
    """Directions, float64, through the middles of a mask's pixels that have a neighbour outside of it."""
    outside = F.max_pool2d(1 - mask.float()[None], kernel_size=3, stride=1, padding=1)[0]
    height, width = mask.shape
    pixels = pixel_centres(height, width)[mask & (outside > 0)].double()
    return pixel_rays(camera.camera_to_world[0].double(), camera.intrinsics[0].double(), pixels)[1]


def outline_reach(cameras: Cameras, masks: Sequence[Mask], centre: Float[Tensor, "3"] | None = None) -> float:
    """How far from a point, by default the origin of the cameras' world, the object reaches at least: the
    greatest distance at which a ray through an outline passes it.

    Where views stand all around that is how far it reaches. From one side alone masks leave open how deep an
    object is, and this says no more than they do.
    """
    furthest = 0.0
    for place, mask in enumerate(masks):
        rays = outline_rays(cameras[place], mask)
        position = cameras.positions[place].double() - (0 if centre is None else centre.double())
        if len(rays):
            passed = torch.linalg.cross(position.expand_as(rays), rays).norm(dim=-1)
            furthest = max(furthest, float(passed.max()))
    return furthest


def object_points(cameras: Cameras, masks: Sequence[Mask]) -> Float[Tensor, "N 3"]:
    """Points of a grid, float64, in the cameras' world, that all masks show to be the object's: maybe none.

    What lies outside of a picture that cuts the object is not ruled out by it. Raises `ViewCountError` for
    fewer than two views, and `CameraError` for views from which the object has no place.
    """
    rays = [outline_rays(cameras[place], mask) for place, mask in enumerate(masks)]
    centre = axes_centre(_towards(cameras, rays, upright_rotation(cameras)[2]))
    if any(len(outline) == 0 for outline in rays):
        return torch.zeros(0, 3, dtype=torch.float64)
    reach = 1.5 * outline_reach(cameras, masks, centre)
    low, high = centre - reach, centre + reach
    points = torch.zeros(0, 3, dtype=torch.float64)
    for _ in range(2):
        cell = (high - low) / _CELLS
        ticks = torch.arange(_CELLS, dtype=torch.float64) + 0.5
        grid = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1).reshape(-1, 3)
        points = _not_ruled_out(low + grid * cell, cameras, masks)
        if len(points) == 0:
            break
        low, high = points.amin(0) - cell, points.amax(0) + cell
    return points


def outline_ball(
    cameras: Cameras, masks: Sequence[Mask], centre: Float[Tensor, "3"] | None = None
) -> tuple[Float[Tensor, "3"], float] | None:
    """Centre, float64, and radius, in the cameras' world, of the object's ball as masks show it, or radius
    alone where the centre is known; None where they leave it open: fewer than two views with object and
    background, or nothing that all of them show.

    As in scenes of `make_scenes.py`, whose framing the shipped weights know, the centre is that of the
    object's upright bounding box, and the ball reaches further than the object by `BALL_ROOM`. Where cameras
    are a program's, all aimed at one point and framed so, their own ball is kept, for it is exact.
    """
    seen = [place for place, mask in enumerate(masks) if is_cut_out(mask)]
    if len(seen) < 2:
        return None
    outlines = [without_specks(_shrunk(masks[place])) for place in seen]
    sizes = torch.tensor([mask.shape for mask in outlines])
    y, x = (sizes / cameras.sizes[seen]).unbind(-1)
    lenses = cameras.intrinsics[seen] * torch.stack([x, y, x, y], dim=-1)
    shown = Cameras(cameras.camera_to_world[seen], lenses, sizes)
    try:
        box = _box_centre(shown, outlines, upright_rotation(cameras))
    except (CameraError, ViewCountError):
        return None
    if box is None:
        return None
    if centre is None and (meant := _meant_ball(cameras, shown, outlines)) is not None:
        return meant
    centre = box if centre is None else centre
    return centre, BALL_ROOM * outline_reach(shown, outlines, centre)


def _box_centre(
    cameras: Cameras, masks: Sequence[Mask], upright: Float[Tensor, "3 3"]
) -> Float[Tensor, "3"] | None:
    """Of the object's upright bounding box, one side of which faces the first camera; None without any point
    that all masks show. Raises what `object_points` raises.
    """
    rays = [outline_rays(cameras[place], mask) for place, mask in enumerate(masks)]
    middle = axes_centre(_towards(cameras, rays, upright[2]))
    x, y, _ = (upright @ (cameras.positions[0].double() - middle)).tolist()
    heading = math.atan2(y, x)
    cosine, sine = math.cos(heading), math.sin(heading)
    turn = (
        torch.tensor([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
        @ upright
    )
    local = Similarity(turn, -(turn @ middle), 1.0)
    points = object_points(local.apply_cameras(cameras), masks)
    if len(points) == 0:
        return None
    # What few views leave room for lies far off the object, and not where the middles of outlines meet.
    share = 1 - 2 / len(masks)
    return local.inverse().apply(share * (points.amax(0) + points.amin(0)) / 2)


def _shrunk(mask: Mask) -> Mask:
    height, width = mask.shape
    factor = SIDE / max(height, width)
    if factor >= 1:
        return mask
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return F.interpolate(mask.float()[None, None], size=size, mode="area")[0, 0] >= 0.5


def _meant_ball(
    cameras: Cameras, shown: Cameras, outlines: Sequence[Mask]
) -> tuple[Float[Tensor, "3"], float] | None:
    try:
        centre = axes_centre(cameras)
        radius = inscribed_radius(cameras, centre)
    except (CameraError, ViewCountError):
        return None
    offset = centre - cameras.positions.double()
    missed = torch.linalg.cross(offset, cameras.forwards.double()).norm(dim=-1).max()
    empty = 1 - BALL_ROOM * outline_reach(shown, outlines, centre) / radius
    return (centre, radius) if missed < _AIMED * radius and abs(empty) < _FRAMED else None


def _towards(cameras: Cameras, rays: Sequence[Float[Tensor, "N 3"]], up: Float[Tensor, "3"]) -> Cameras:
    """The cameras, for their axes alone, as if each looked at the middle of its outline's bounding box, whose
    sides stand upright.
    """
    poses = cameras.camera_to_world.clone()
    for pose, outline in zip(poses, rays, strict=True):
        if len(outline) == 0:
            continue
        forward = F.normalize(outline.mean(0), dim=0)
        right = F.normalize(torch.linalg.cross(forward, up), dim=0)
        if not right.any():  # it looks along up itself
            right = pose[:, 0].double()
        across = torch.stack([right, torch.linalg.cross(right, forward)])
        sides = outline @ across.T / (outline @ forward)[:, None]
        pose[:, 2] = -F.normalize(forward + (sides.amax(0) + sides.amin(0)) / 2 @ across, dim=0).to(pose)
    return Cameras(poses, cameras.intrinsics, cameras.sizes)


def _not_ruled_out(
    points: Float[Tensor, "N 3"], cameras: Cameras, masks: Sequence[Mask]
) -> Float[Tensor, "M 3"]:
    for pose, lens, mask in zip(cameras.camera_to_world, cameras.intrinsics, masks, strict=True):
        pixels, depth = project(points, pose.double(), lens.double())
        columns, rows = pixels.floor().long().unbind(-1)
        height, width = mask.shape
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        seen = mask[rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
        points = points[(depth > 0) & torch.where(inside, seen, not is_whole(mask))]
    return points
