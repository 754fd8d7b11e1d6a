"""A step of training, without the optimiser."""

from dataclasses import replace
from typing import Any

import torch
from einops import rearrange

from vnp_core.precision import quick_in_bfloat16
from vnp_nerf.batches import TrainBatch
from vnp_nerf.cameras import picture_rays
from vnp_nerf.paper import PaperConfig
from vnp_nerf.protocol import SceneModel
from vnp_nerf.speed.ledger import Ledger
from vnp_nerf.views import Views

RAYS = 128


def training_rows(ledger: Ledger, models: dict[str, SceneModel], views: Views, seed: int) -> None:
    """A step of one scene and 128 rays, forward and backward; of `vnp-nerf` in float32, and in bfloat16
    where training would take that.
    """
    generator = torch.Generator(ledger.device).manual_seed(seed)
    quick = quick_in_bfloat16(ledger.device)
    batch = training_batch(views, RAYS, torch.Generator().manual_seed(seed))
    for name, model in models.items():
        config = model.config
        paper = isinstance(config, PaperConfig)
        samples = config.samples if paper else config.train_samples
        for rounded in (True, False) if quick and not paper else (False,):
            if not paper:
                model.config = replace(config, bfloat16=rounded)
            precision = "bfloat16" if rounded else "float32"
            ledger.time(
                "training step",
                f"scenes=1,rays={RAYS},samples={samples},views=1,execution={precision}",
                lambda m=model: training_step(m, batch, generator),
                model=name,
                least=2,
            )
        model.config = config


def training_batch(views: Views, rays: int, generator: torch.Generator) -> TrainBatch:
    """Rays through the first view of a scene that is its own target."""
    height, width = views.sizes[0, 0].tolist()
    origins, directions = picture_rays(views.camera_to_world[0, 0], views.intrinsics[0, 0], height, width)
    chosen = torch.randperm(height * width, generator=generator)[:rays].to(origins.device)
    origins, directions = (
        rearrange(part, "H W xyz -> 1 (H W) xyz")[:, chosen] for part in (origins, directions)
    )
    rgba = rearrange(views.rgba[:, 0, :, :height, :width], "1 C H W -> 1 (H W) C")[:, chosen]
    one = views.select_views([0])
    shown = torch.ones_like(rgba[..., 0], dtype=torch.bool)
    return TrainBatch(one, one, origins, directions, rgba, shown, ["scene"])


def training_step(model: Any, batch: TrainBatch, generator: torch.Generator) -> None:
    """Forward and backward."""
    model.zero_grad()
    terms = model.loss_terms(model.train_outputs(batch, generator), batch, 0)
    torch.stack(list(terms.values())).sum().backward()
