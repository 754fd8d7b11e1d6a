"""Where an object can be: the space that no context view's mask rules out (Laurentini 1994).

A point that projects onto background in any view is empty, whatever a network says. That costs one look-up
a view, is a function of position alone, and lets rendering skip most of the ball. Views without a mask
(alpha 1 everywhere) rule out nothing; neither does a view that a point projects outside of.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_nerf.canvas import Canvases
from vnp_nerf.projection import project_points, projection_matrices
from vnp_nerf.views import Views

_ALPHA_FLOOR = 0.02
"""A pixel of less alpha, after growing the mask by one pixel, is background."""


@dataclass
class VisualHull:
    """The masks of V context views a scene, ready to be asked."""

    occupied: Bool[Tensor, "B V (P*P)"]
    """Canvas pixels that the object may cover: its mask grown by a pixel."""
    matrices: Float[Tensor, "B V 3 4"]
    """World to canvas pixels."""
    extent: Float[Tensor, "B V 2"]
    """Width and height of the picture on its canvas; 0 for padded views."""
    side: int

    @classmethod
    def from_canvases(cls, canvases: Canvases, views: Views) -> "VisualHull":
        """The hull of views that are drawn on canvases."""
        alpha = rearrange(canvases.rgba[:, :, 3], "B V H W -> B V H W")
        grown = F.max_pool2d(alpha, kernel_size=3, stride=1, padding=1)
        scale = canvases.scale
        return cls(
            occupied=rearrange(grown > _ALPHA_FLOOR, "B V H W -> B V (H W)"),
            matrices=projection_matrices(views)
            * torch.stack([scale, scale, torch.ones_like(scale)], dim=-1)[..., None],
            extent=views.sizes.flip(-1) * scale[..., None] * views.mask[..., None],
            side=alpha.shape[-1],
        )

    @torch.no_grad()
    def contains(self, points: Float[Tensor, "B N 3"]) -> Bool[Tensor, "B N"]:
        """Whether each point may belong to the object."""
        pixels, depth = project_points(self.matrices, points)
        extent = self.extent[:, :, None]
        inside = ((pixels >= 0) & (pixels < extent)).all(-1) & (depth > 0)
        columns, rows = pixels.clamp(0, self.side - 1).long().unbind(-1)
        covered = torch.gather(self.occupied, 2, rows * self.side + columns)
        return (covered | ~inside).all(dim=1)

    @torch.no_grad()
    def clip(
        self,
        origins: Float[Tensor, "B R 3"],
        directions: Float[Tensor, "B R 3"],
        near: Float[Tensor, "B R"],
        far: Float[Tensor, "B R"],
        steps: int = 48,
    ) -> tuple[Float[Tensor, "B R"], Float[Tensor, "B R"]]:
        """The part of each ray's span from where it enters the hull to where it leaves it for good.

        The span is searched at the middles of `steps` equal parts, and one part is added at either end; a
        stretch of the hull shorter than a part may go unseen. A ray that misses the hull gets near == far.
        """
        length = (far - near) / steps
        middles = near[..., None] + length[..., None] * (torch.arange(steps, device=near.device) + 0.5)
        points = origins[..., None, :] + middles[..., None] * directions[..., None, :]
        found = self.contains(rearrange(points, "B R S xyz -> B (R S) xyz")) & rearrange(
            (length > 0)[..., None].expand_as(middles), "B R S -> B (R S)"
        )
        found = rearrange(found, "B (R S) -> B R S", S=steps)
        order = torch.arange(steps, device=near.device)
        first = torch.where(found, order, steps).amin(-1)
        last = torch.where(found, order, -1).amax(-1)
        hit = last >= 0
        start = near + length * (first - 1).clamp_min(0)
        end = near + length * (last + 2).clamp_max(steps)
        return torch.where(hit, start, far), torch.where(hit, end, far)
