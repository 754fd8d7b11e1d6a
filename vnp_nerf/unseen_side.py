"""Which views look at a side that the context does not show, by azimuth about the object's upright axis.

A view is of the unseen side where its azimuth lies over 90 degrees from that of every context view: what it
shows of an object then has to be inferred, not copied.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import CameraError

UNSEEN_DEGREES = 90.0
OVERHEAD_DEGREES = 80.0
"""Elevation from which on a camera stands above (or below) all sides, so that it has no azimuth."""


def sees_unseen_side(
    context: Float[Tensor, "V 3"],
    query: Float[Tensor, "Q 3"],
    centre: Float[Tensor, "3"] | None = None,
    *,
    degrees: float = UNSEEN_DEGREES,
) -> Bool[Tensor, "Q"]:
    """Whether each query camera looks at the unseen side of the object at `centre` (the origin if None).

    context, query: where the cameras stand, z up, as `Scene.model_cameras` and `Views` have them about the
    origin. A camera above the object sees something of all sides: it is never of the unseen side, and as
    context it leaves none. Without context, all sides are unseen. Raises `CameraError` for a camera in the
    centre.
    """
    apart = azimuths(query, centre)[:, None] - azimuths(context, centre)[None]
    apart = (apart + 180) % 360 - 180
    # A camera without azimuth is NaN here, and a comparison with NaN is False.
    return (apart.abs() > degrees).all(dim=1) & ~azimuths(query, centre).isnan()


def azimuths(positions: Float[Tensor, "V 3"], centre: Float[Tensor, "3"] | None = None) -> Float[Tensor, "V"]:
    """Degrees from x towards y, from -180 to 180, of cameras about the centre, in float64; NaN overhead."""
    offsets = positions.double() if centre is None else positions.double() - centre.double()
    x, y, z = offsets.unbind(-1)
    level = torch.hypot(x, y)
    if bool((torch.hypot(level, z) < 1e-9).any()):
        raise CameraError("a camera stands in the object's centre: it is on no side of it")
    overhead = level < z.abs() / math.tan(math.radians(OVERHEAD_DEGREES))
    return torch.rad2deg(torch.atan2(y, x)).masked_fill(overhead, math.nan)
