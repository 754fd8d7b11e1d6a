"""What all ratios are taken against: the paper's model with random weights, which is the same arithmetic,
rendered in the paper's manner: the context is encoded again for each chunk of 1,024 rays.

Chunks cost the same, so a picture's cost is that of one chunk times their number.
"""

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from vnp_nerf.cameras import picture_rays
from vnp_nerf.execution import Precision
from vnp_nerf.paper import PaperConfig, PaperField, PaperModel
from vnp_nerf.speed.ledger import Ledger, cameras_around
from vnp_nerf.views import Views

PAPER = "vnp-nerf-paper"


def reference_rows(ledger: Ledger, config: PaperConfig, views: Views, size: int, seed: int) -> float:
    """Seconds of a picture in the paper's manner; rows of that, and of encoding once, in each precision."""
    torch.manual_seed(seed)
    model = PaperModel(config).eval().to(ledger.device)
    one = views.select_views([0])
    chunks = -(-size * size // config.chunk_rays)
    rays = _middle_chunk(ledger, size, config.chunk_rays)
    condition = f"size={size},views=1,samples={config.samples},timed=1 chunk of {chunks}"

    def paper_manner() -> Tensor:
        return model.infer_field(model.encode(one), generator=_draw(seed)).render(*rays).rgb

    def time(manner: str, work: Callable[[], Tensor]) -> float:
        where, warm = f"{condition},manner={manner}", ledger.device.type != "cpu"
        return ledger.time("frame", where, work, model=PAPER, least=1, scale=chunks, warm=warm)

    with torch.inference_mode():
        seconds = time("paper", paper_manner)
        held, picture = ledger.last("peak_bytes"), paper_manner()
        once = ledger.time("encode", "views=1", lambda: model.encode(one), model=PAPER)
        encoded = model.encode(one)
        for precision in get_args(Precision):
            manner = f"encoded once {precision}"

            def kept(precision: Precision = precision) -> Tensor:
                return PaperField(model, encoded, _draw(seed), precision).render(*rays).rgb

            ratio = seconds / (time(manner, kept) + once)
            difference = float((kept() - picture).abs().max())
            ratio_held = held / ledger.last("peak_bytes")
            where = f"size={size},manner={manner}"
            ledger.note("frame", where, "ratio_reference", ratio, PAPER)
            ledger.note("frame", where, "ratio_peak_bytes", ratio_held, PAPER)
            ledger.note("frame", where, "largest_difference", difference, PAPER)
    return seconds


def _middle_chunk(ledger: Ledger, size: int, rays: int) -> tuple[Tensor, Tensor]:
    """Origins and directions of the rays of a picture's middle chunk."""
    cameras = cameras_around(1, size, ledger.device)
    origins, directions = picture_rays(cameras.camera_to_world[0], cameras.intrinsics[0], size, size)
    start = size * size // rays // 2 * rays
    chunk = slice(start, start + rays)
    return origins.reshape(-1, 3)[chunk], directions.reshape(-1, 3)[chunk]


def _draw(seed: int) -> torch.Generator:
    """The same latents' noise each time."""
    return torch.Generator().manual_seed(seed)
