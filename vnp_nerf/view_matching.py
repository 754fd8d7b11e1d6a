"""Views that look for each other's surfaces: a plane sweep (Collins 1996), in the features of a network.

A pixel's surface lies somewhere along its ray. Each place where it could be has a pixel in every other view,
which shows something like it if it is there, and background if it cannot be. With mirror images, one view of
a symmetric object is two.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vnp_nerf.convolutions import MatrixConv, silent
from vnp_nerf.projection import projection_matrices
from vnp_nerf.views import Views

_DESCRIPTION = 16
"""Length of what is compared."""
_STATISTICS = 3


@dataclass
class Sights:
    """Cameras of V maps a scene, N pixels each, in units of the maps' pixels."""

    rays: Float[Tensor, "B V 3 N"]
    """From each pixel's centre, model frame; 1 long along the optical axis."""
    origins: Float[Tensor, "B V 3"]
    matrices: Float[Tensor, "B V 3 4"]
    sizes: Float[Tensor, "B V 2"]
    """(width, height) that a picture covers."""
    mask: Bool[Tensor, "B V"]

    @classmethod
    def of_maps(cls, views: Views, scale: Float[Tensor, "B V"], side: int) -> "Sights":
        """For maps of `side` x `side` pixels, `scale` of them a picture's pixel."""
        wide = scale[..., None]
        fx, fy, cx, cy = rearrange(views.intrinsics * wide, "B V four -> four B V 1")
        ticks = torch.arange(side, device=scale.device) + 0.5
        y, x = rearrange(torch.stack(torch.meshgrid(ticks, ticks, indexing="ij")), "two h w -> two (h w)")
        x, y = (x - cx) / fx, (y - cy) / fy
        axes = torch.stack([x, -y, -torch.ones_like(x)], dim=2)  # [B, V, 3, N]: OpenGL's axes
        with torch.autocast(axes.device.type, enabled=False):
            rays = views.camera_to_world[..., :3] @ axes
        matrices = projection_matrices(views) * torch.cat([wide, wide, torch.ones_like(wide)], -1)[..., None]
        sizes = views.sizes.flip(-1) * wide
        return cls(rays, views.camera_to_world[..., 3], matrices, sizes, views.mask)

    def following(self, shift: int, count: int) -> "Sights":
        """In the places of the first `count` views those that come `shift` after each, round and round."""
        parts = (self.rays, self.origins, self.matrices, self.sizes, self.mask)
        return Sights(*(part.roll(-shift, dims=1)[:, :count] for part in parts))


class ViewMatching(nn.Module):
    """What maps of V views are told of each other; at first nothing.

    steps: how many places along each ray are tried, evenly over the object's ball; channels: of the maps.
    """

    def __init__(self, steps: int, channels: int) -> None:
        super().__init__()
        self.steps = steps
        self.describe = nn.Conv2d(channels, _DESCRIPTION, 1)
        self.weigh = MatrixConv(_STATISTICS * steps, channels)
        self.tell = silent(MatrixConv(channels, channels))

    def forward(
        self,
        maps: Float[Tensor, "B*V C h w"],
        alpha: Float[Tensor, "B V h w"],
        sights: Sights,
        keep: int,
    ) -> Float[Tensor, "B*K C h w"]:
        """What is added to the maps of the first `keep` views."""
        described = rearrange(self.describe(maps), "(B V) C h w -> B V C h w", B=len(alpha))
        offsets = torch.linspace(-1, 1, self.steps, device=maps.device)
        with torch.autocast(maps.device.type, enabled=False):
            found = sweep(F.normalize(described.float(), dim=2), alpha, sights, offsets, keep)
        told = self.tell(F.gelu(self.weigh(rearrange(found, "B K S h w -> (B K) S h w"))))
        # In units of the maps: however large these have grown, they hear it.
        own = rearrange(maps.detach(), "(B V) C h w -> B V (C h w)", B=len(alpha))[:, :keep]
        size = own.float().square().mean(-1).sqrt()
        return told * rearrange(size, "B K -> (B K) 1 1 1")


def sweep(
    unit: Float[Tensor, "B V C h w"],
    alpha: Float[Tensor, "B V h w"],
    sights: Sights,
    offsets: Float[Tensor, " D"],
    keep: int,
) -> Float[Tensor, "B K 3*D h w"]:
    """Of the first `keep` views' pixels that are not background, at each offset along the optical axis from
    the ball's centre: the mean and the largest likeness (a cosine) to what the other views show there, and
    the least opacity that they do. 0 where no other view has the place in its picture.
    """
    count, height = alpha.shape[1], alpha.shape[-2]
    opaque = rearrange(((alpha > 0) & sights.mask[..., None, None])[:, :keep], "B K h w -> (B K) (h w)")
    # Few pixels are the object's: only they are looked for.
    most = max(1, int(opaque.sum(1).amax()))
    chosen = opaque.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]  # [M, N]
    own = sights.following(0, keep)
    rays = rearrange(own.rays, "B K xyz P -> (B K) xyz P").gather(2, repeat(chosen, "M N -> M xyz N", xyz=3))
    origins = rearrange(own.origins, "B K xyz -> (B K) xyz 1")
    depth = origins.norm(dim=1) + offsets  # [M, D]
    flat = rearrange(unit, "B V C h w -> B V (h w) C")
    wanted = rearrange(flat[:, :keep], "B K P C -> (B K) P C")
    wanted = wanted.gather(1, repeat(chosen, "M N -> M N C", C=wanted.shape[-1]))

    number = wanted.new_zeros(*chosen.shape, len(offsets))
    total, largest, least = number, number - 1, number + 1
    for shift in range(1, count):
        other = sights.following(shift, keep)
        matrices = rearrange(other.matrices, "B K i j -> (B K) i j")
        step, start = matrices[..., :3] @ rays, matrices[..., :3] @ origins + matrices[..., 3:]
        x, y, z = rearrange(step[..., None] * depth[:, None, None] + start[..., None], "M i N D -> i M N D")
        x, y = x / z.clamp_min(1e-3), y / z.clamp_min(1e-3)
        width, tall = rearrange(other.sizes, "B K two -> two (B K) 1 1")
        seen = (z > 1e-3) & (x >= 0) & (x <= width) & (y >= 0) & (y <= tall)
        seen = seen & rearrange(other.mask, "B K -> (B K) 1 1")
        # To look up products is to multiply what is looked up, and is one number in place of C.
        shown = rearrange(flat.roll(-shift, dims=1)[:, :keep], "B K P C -> (B K) C P")
        like = looked_up(wanted @ shown, x, y, height)
        there = rearrange(alpha.roll(-shift, dims=1)[:, :keep], "B K h w -> (B K) 1 (h w)")
        opacity = looked_up(there.expand(-1, most, -1), x, y, height)
        number, total = number + seen, total + like * seen
        largest = torch.maximum(largest, torch.where(seen, like, -1.0))
        least = torch.minimum(least, torch.where(seen, opacity, 1.0))
    found = torch.stack([total / number.clamp_min(1), largest, least])
    found = rearrange(found * (number > 0) * opaque.gather(1, chosen)[..., None], "S M N D -> M (S D) N")
    whole = found.new_zeros(*found.shape[:2], opaque.shape[1])
    whole = whole.scatter(2, repeat(chosen, "M N -> M S N", S=found.shape[1]), found)
    return rearrange(whole, "(B K) S (h w) -> B K S h w", K=keep, h=height)


def looked_up(
    values: Float[Tensor, "M N P"], x: Float[Tensor, "M N D"], y: Float[Tensor, "M N D"], height: int
) -> Float[Tensor, "M N D"]:
    """Each pixel's own map, `height` rows of it one after another, at D positions, bilinear."""
    width = values.shape[-1] // height
    x, y = (x - 0.5).clamp(0, width - 1), (y - 0.5).clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    right, down = x - left, y - top
    first = (top * width + left).long()
    beside, below = (left < width - 1).long(), (top < height - 1).long() * width
    corners = torch.cat([first, first + beside, first + below, first + below + beside], dim=-1)
    weights = torch.cat(
        [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], dim=-1
    )
    return rearrange(values.gather(2, corners) * weights, "M N (four D) -> four M N D", four=4).sum(0)
