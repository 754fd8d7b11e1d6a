"""What outlines say about cameras: they must touch the same epipolar planes.

A plane through two cameras' centres that just touches the object touches its outline in both pictures. So the
planes about the baseline that meet the one mask are those that meet the other, and no points need be matched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import CameraError, ViewCountError
from vnp_nerf.cameras import Cameras
from vnp_nerf.frames import axes_centre
from vnp_nerf.outlines import Mask, is_whole, outline_rays

_ANGLES = (10.0, 150.0)
"""Degrees between two optical axes for the pair to say something."""
_ONE_SPOT = 0.01
"""Cameras that lie closer together, in distances to what they look at, stand on one spot."""


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


def baseline_axes(cameras: Cameras, first: int, second: int, centre: Tensor) -> Float[Tensor, "3 3"]:
    """Rows: along the baseline, from it towards the object's centre, and across both; float64."""
    start, end = cameras.positions[[first, second]].double()
    along = torch.nn.functional.normalize(end - start, dim=0)
    towards = centre - start
    towards = torch.nn.functional.normalize(towards - (towards @ along) * along, dim=0)
    return torch.stack([along, towards, torch.linalg.cross(along, towards)])


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
