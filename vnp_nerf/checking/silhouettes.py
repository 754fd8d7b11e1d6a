"""What outlines say about cameras: they must touch the same epipolar planes, and leave room for an object.

A plane through two cameras' centres that just touches the object touches its outline in both pictures. So the
planes about the baseline that meet the one mask are those that meet the other, and no points need be matched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import CameraError, ViewCountError
from vnp_nerf.cameras import Cameras, picture_rays, project
from vnp_nerf.frames import axes_centre, inscribed_radius

Mask = Bool[Tensor, "H W"]

_ANGLES = (10.0, 150.0)
"""Degrees between two optical axes for the pair to say something."""
_ONE_SPOT = 0.01
"""Cameras that lie closer together, in distances to what they look at, stand on one spot."""
_CELLS = 40
"""Cells a side of the grid that the object is looked for on."""


@dataclass(frozen=True)
class PlaneRange:
    """Planes about a baseline that meet a mask: from `low` to `high`, radians from the object's centre."""

    low: float
    high: float


@dataclass(frozen=True)
class Pair:
    """Two views, by their place in the cameras, and how far their outlines disagree.

    error: by how much the ranges of planes differ at the worse end, over their mean width; 0 for right poses
    and whole outlines.
    """

    first: int
    second: int
    ranges: tuple[PlaneRange, PlaneRange]
    error: float


def is_whole(mask: Mask) -> bool:
    """Whether there is an object, and the picture's border does not cut it."""
    border = mask[0].any() | mask[-1].any() | mask[:, 0].any() | mask[:, -1].any()
    return bool(mask.any() & ~border)


def baseline_axes(cameras: Cameras, first: int, second: int, centre: Tensor) -> Float[Tensor, "3 3"]:
    """Rows: along the baseline, from it towards the object's centre, and across both; float64."""
    start, end = cameras.positions[[first, second]].double()
    along = torch.nn.functional.normalize(end - start, dim=0)
    towards = centre - start
    towards = torch.nn.functional.normalize(towards - (towards @ along) * along, dim=0)
    return torch.stack([along, towards, torch.linalg.cross(along, towards)])


def outline_rays(camera: Cameras, mask: Mask) -> Float[Tensor, "N 3"]:
    """Directions, float64, through the pixels of a mask that have a neighbour outside of it."""
    height, width = camera.sizes[0].tolist()
    _, directions = picture_rays(camera.camera_to_world[0], camera.intrinsics[0], height, width)
    outside = torch.nn.functional.max_pool2d(1 - mask.float()[None], kernel_size=3, stride=1, padding=1)[0]
    return directions[mask & (outside > 0)].double()


def plane_range(rays: Float[Tensor, "N 3"], axes: Float[Tensor, "3 3"]) -> PlaneRange | None:
    """Which planes about a baseline meet an outline, seen from a camera on it; None for an outline that lies
    about the baseline, or on its side away from the object's centre.
    """
    local = rays @ axes.T
    if not bool((local[:, 1] > 0).all()):
        return None
    angles = torch.atan2(local[:, 2], local[:, 1])
    return PlaneRange(float(angles.min()), float(angles.max()))


def compare(cameras: Cameras, masks: Sequence[Mask], centre: Tensor) -> list[Pair]:
    """All pairs of views that show the whole object and whose optical axes stand at a useful angle."""
    pairs = []
    rays = {place: outline_rays(cameras[place], mask) for place, mask in enumerate(masks) if is_whole(mask)}
    for first, second in combinations(rays, 2):
        cosine = float(cameras.forwards[first] @ cameras.forwards[second])
        angle = float(torch.rad2deg(torch.acos(torch.tensor(cosine).clamp(-1, 1))))
        if not _ANGLES[0] <= angle <= _ANGLES[1]:
            continue
        axes = baseline_axes(cameras, first, second, centre)
        one, other = plane_range(rays[first], axes), plane_range(rays[second], axes)
        if one is None or other is None:
            continue
        width = (one.high - one.low + other.high - other.low) / 2
        error = max(abs(one.low - other.low), abs(one.high - other.high)) / max(width, 1e-6)
        pairs.append(Pair(first, second, (one, other), error))
    return pairs


def disagreement(cameras: Cameras, masks: Sequence[Mask] | None) -> float:
    """How badly poses fit together: infinity where they look at no common point, or all stand on one; else
    the median error of their pairs, and 0 where nothing can be said (no masks, or no useful pair).
    """
    try:
        centre = axes_centre(cameras)
    except (CameraError, ViewCountError):
        return float("inf")
    spread = (cameras.positions - cameras.positions.mean(dim=0)).norm(dim=-1).max()
    if spread < _ONE_SPOT * (cameras.positions.double() - centre).norm(dim=-1).max():
        return float("inf")
    pairs = compare(cameras, masks, centre) if masks is not None else []
    return float(torch.tensor([pair.error for pair in pairs]).median()) if pairs else 0.0


def outline_reach(cameras: Cameras, masks: Sequence[Mask]) -> float:
    """How far from the origin of the cameras' world the object reaches at least: the greatest distance at
    which a ray through an outline passes it.

    Where views stand all around that is how far it reaches. From one side alone masks leave open how deep an
    object is, and this says no more than they do.
    """
    furthest = 0.0
    for place, mask in enumerate(masks):
        rays = outline_rays(cameras[place], mask)
        position = cameras.positions[place].double()
        if len(rays):
            furthest = max(
                furthest, float(torch.linalg.cross(position.expand_as(rays), rays).norm(dim=-1).max())
            )
    return furthest


def object_points(cameras: Cameras, masks: Sequence[Mask]) -> Float[Tensor, "N 3"]:
    """Points, in the cameras' world, that all masks show to be the object's; they may be none.

    They are looked for where the cameras look. Raises `CameraError` or `ViewCountError` where there is no
    such place.
    """
    centre = axes_centre(cameras)
    reach = inscribed_radius(cameras, centre) * 1.1
    ticks = (torch.arange(_CELLS, dtype=torch.float64) + 0.5) * (2 * reach / _CELLS) - reach
    grid = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1).reshape(-1, 3) + centre
    points = grid.float()
    for pose, lens, mask in zip(cameras.camera_to_world, cameras.intrinsics, masks, strict=True):
        pixels, depth = project(points, pose, lens)
        columns, rows = pixels.floor().long().unbind(-1)
        height, width = mask.shape
        inside = (depth > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        seen = mask[rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
        points = points[inside & seen]
    return points
