"""What all ratios are taken against: the paper's model with random weights, which is the same arithmetic,
rendered in the paper's manner: the context is encoded again for each chunk of 1,024 rays.

Chunks cost the same, so a picture's cost is that of one chunk times their number.
"""

import torch
from einops import rearrange

from vnp_nerf.cameras import picture_rays
from vnp_nerf.paper import PaperConfig, PaperModel
from vnp_nerf.speed.ledger import Ledger, cameras_around
from vnp_nerf.views import Views

PAPER = "vnp-nerf-paper"


def reference_rows(ledger: Ledger, config: PaperConfig, views: Views, size: int, seed: int) -> float:
    """Seconds of a picture in the paper's manner; rows of that, and of encoding once."""
    torch.manual_seed(seed)
    model = PaperModel(config).eval().to(ledger.device)
    one = views.select_views([0])
    cameras = cameras_around(1, size, ledger.device)
    chunks = -(-size * size // config.chunk_rays)
    middle = slice(chunks // 2 * config.chunk_rays, (chunks // 2 + 1) * config.chunk_rays)
    origins, directions = (
        rearrange(part, "H W xyz -> (H W) xyz")[middle]
        for part in picture_rays(cameras.camera_to_world[0], cameras.intrinsics[0], size, size)
    )
    condition = f"size={size},views=1,samples={config.samples},timed=1 chunk of {chunks}"

    def paper_manner() -> None:
        model.infer_field(model.encode(one)).render(origins, directions)

    with torch.inference_mode():
        seconds = ledger.time(
            "frame", f"{condition},manner=paper", paper_manner, model=PAPER, least=1, scale=chunks
        )
        once = ledger.time("encode", "views=1", lambda: model.encode(one), model=PAPER)
        field = model.infer_field(model.encode(one))
        kept = ledger.time(
            "frame",
            f"{condition},manner=encoded once",
            lambda: field.render(origins, directions),
            model=PAPER,
            least=1,
            scale=chunks,
        )
    ratio = seconds / (kept + once)
    ledger.note("frame", f"size={size},manner=encoded once", "ratio_reference", ratio, PAPER)
    return seconds
