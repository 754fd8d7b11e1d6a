"""How much a device does a second when there is much to do: many scenes, or many pictures of one field.

One picture at a time keeps a GPU waiting for the next command; here many travel together.
"""

from collections.abc import Sequence

import torch

from vnp_nerf.execution import Execution
from vnp_nerf.memory_budget import rays_at_once
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.rendering import RayRenderer
from vnp_nerf.speed.ledger import Ledger, cameras_around, look_around
from vnp_nerf.views import Views

_MOST_RAYS = 2**20
"""Rays at a time: the samples of so many take 7 GiB at most, and less where less memory is free."""


def scene_rows(
    ledger: Ledger, model: RadianceModel, views: Views, scenes: int, executions: Sequence[Execution]
) -> None:
    """Scenes a second from their views to tokens, planes and modulated weights, all in one batch."""
    batch = Views.stack([views] * scenes)

    def infer() -> None:
        encoded = model.encode(batch)
        model.decode(encoded, model.latents.draw(encoded.tokens).latents[:, 0])

    for precision in sorted({execution.precision for execution in executions}, reverse=True):
        condition = f"scenes={batch.batch},views={batch.count},execution={precision}"
        with torch.autocast(ledger.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            seconds = ledger.time("encode batch", condition, infer)
        ledger.note("encode batch", condition, "scenes_per_second", batch.batch / seconds, n=batch.batch)


def picture_rows(ledger: Ledger, ways: dict[str, RayRenderer], size: int, pictures: int) -> None:
    """Pictures a second of a field that is ready, by way."""
    cameras = cameras_around(pictures, size, ledger.device)
    for way, field in ways.items():
        chunk = rays_at_once(field, ledger.device, _MOST_RAYS)
        condition = f"size={size},pictures={pictures},way={way}"
        seconds = ledger.time(
            "pictures", condition, lambda f=field, n=chunk: look_around(f, cameras, n), least=2
        )
        ledger.note("pictures", condition, "pictures_per_second", pictures / seconds, n=pictures)
