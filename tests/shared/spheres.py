"""A coloured sphere seen from around, and a small model of it."""

import dataclasses

import torch
import torch.nn.functional as F
from smallest import SMALLEST

from vnp_core.encoder import EncoderConfig
from vnp_core.latents import LatentConfig
from vnp_nerf.batches import TrainBatch
from vnp_nerf.cameras import look_at, picture_rays, pixel_rays
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.views import Views

SIDE = 32
TINY = dataclasses.replace(
    SMALLEST,
    canvas=SIDE,
    patch=8,
    encoder=EncoderConfig(width=24, layers=1, heads=2, hidden=32),
    latents=LatentConfig(levels=2, dim=6, hidden=16),
    plane_resolution=8,
    local_channels=6,
    train_samples=12,
    render_samples=16,
    importance_samples=8,
    bfloat16=False,
)


def sphere_views(count: int, seed: int = 0, side: int = SIDE) -> Views:
    """Views of a sphere of radius 0.6 whose colour tells the direction."""
    generator = torch.Generator().manual_seed(seed)
    positions = 4 * F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    poses = look_at(positions)
    intrinsics = torch.tensor([side * 1.86, side * 1.86, side / 2, side / 2])
    pictures = []
    for pose in poses:
        origins, directions = picture_rays(pose, intrinsics, side, side)
        near, far = ball_span(origins, directions, 0.6)
        colour = (origins + near[..., None] * directions) / 1.2 + 0.5
        alpha = (far > near).float()[..., None]
        pictures.append(torch.cat([colour * alpha, alpha], dim=-1).permute(2, 0, 1))
    return Views(
        rgba=torch.stack(pictures)[None].clamp(0, 1),
        camera_to_world=poses[None],
        intrinsics=intrinsics.expand(1, count, 4).contiguous(),
        sizes=torch.full((1, count, 2), side),
        mask=torch.ones(1, count, dtype=torch.bool),
    )


def sphere_depth(views: Views, radius: float = 0.6) -> torch.Tensor:
    """Distances [B, V, H, W] at which the views' rays meet a ball, infinite where they miss it."""
    batch, count = views.mask.shape
    height, width = views.rgba.shape[-2:]
    found = torch.full((batch, count, height, width), torch.inf)
    for scene in range(batch):
        for view in range(count):
            rays = picture_rays(
                views.camera_to_world[scene, view], views.intrinsics[scene, view], height, width
            )
            near, far = ball_span(*rays, radius)
            found[scene, view] = torch.where(far > near, near, torch.inf)
    return found


def sphere_model(seed: int = 0, **changes: object) -> RadianceModel:
    """A small model with fresh weights, `TINY` but for some changes."""
    torch.manual_seed(seed)
    model = RadianceModel(dataclasses.replace(TINY, **changes)).eval()
    with torch.no_grad():
        # A fresh field is a faint fog; make densities vary, so that agreement means something.
        model.network.density.weight *= 100
    return model


def sphere_batch(scenes: int = 2, rays: int = 48) -> TrainBatch:
    """Rays through one of two target views of spheres that are seen from two other sides."""
    generator = torch.Generator().manual_seed(0)
    parts = [sphere_views(4, seed=seed) for seed in range(scenes)]
    context = Views.stack([part.select_views([0, 1]) for part in parts])
    targets = Views.stack([part.select_views([2, 3]) for part in parts])
    pixels = torch.randint(SIDE, (scenes, rays, 2), generator=generator)
    origins, directions = pixel_rays(targets.camera_to_world[:, :1], targets.intrinsics[:, :1], pixels + 0.5)
    rgba = torch.stack([targets.rgba[s, 0][:, pixels[s, :, 1], pixels[s, :, 0]].T for s in range(scenes)])
    shown = (torch.arange(rays) % 3 == 0).repeat(scenes, 1)
    return TrainBatch(
        context, targets, origins.contiguous(), directions, rgba, shown, [str(s) for s in range(scenes)]
    )


def train(model: RadianceModel, batch: TrainBatch, steps: int) -> list[float]:
    """Some steps of Adam on one batch; the losses."""
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for step in range(steps):
        outputs = model.train_outputs(batch, torch.Generator().manual_seed(step))
        loss = sum(model.loss_terms(outputs, batch, step).values(), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
