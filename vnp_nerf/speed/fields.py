"""One field of `vnp-nerf`: from its views, by every way to look at it, to its frames and draws."""

from collections.abc import Sequence

import torch

from vnp_nerf.baked_field import BakedField, bake
from vnp_nerf.cameras import Cameras
from vnp_nerf.culled_field import CulledField, DrawnFields
from vnp_nerf.evaluation import pictures_over_white
from vnp_nerf.execution import Execution
from vnp_nerf.image_metrics import psnr
from vnp_nerf.memory_budget import MOST
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.rendering import RayRenderer
from vnp_nerf.speed.ledger import Ledger, cameras_around, look
from vnp_nerf.views import Views

SLOW_RAYS = 1024
"""Rays at a time of the slow twin on a CPU: the samples' features stay in a processor's cache."""


def encoding_rows(ledger: Ledger, model: RadianceModel, everything: Views, counts: Sequence[int]) -> None:
    """From views to tokens, and on to a field whose empty space is known, by number of views."""
    for count in counts:
        views = everything.select_views(slice(count))

        def ready(views: Views = views) -> None:
            CulledField(model.infer_field(model.encode(views)))

        ledger.time("encode", f"views={count}", lambda views=views: model.encode(views))
        ledger.time("ready field", f"views={count}", ready)


def ways_to_look(
    ledger: Ledger, model: RadianceModel, views: Views, bakes: Sequence[int], executions: Sequence[Execution]
) -> dict[str, RayRenderer]:
    """The slow twin, the culled field run in each way, and baked fields, whose baking is timed."""
    slow = model.infer_field(model.encode(views))
    ways: dict[str, RayRenderer] = {"slow": slow}
    for execution in executions:
        ways[culled_way(execution)] = CulledField(slow, execution=execution)
    culled = CulledField(slow)
    for resolution in bakes:

        def baked(resolution: int = resolution) -> BakedField:
            return BakedField(bake(culled, model.config.radius, resolution, ledger.device))

        ledger.time("bake", f"views={views.count},resolution={resolution}", baked, least=1)
        ways[f"baked {resolution}"] = baked()
    return ways


def culled_way(execution: Execution) -> str:
    """Its name in the rows."""
    return "culled" if execution == Execution() else f"culled {execution.name}"


def rays_of(way: str, device: torch.device) -> int:
    """How many rays at a time each way is best looked at with."""
    return SLOW_RAYS if way == "slow" and device.type == "cpu" else MOST


def frame_rows(
    ledger: Ledger, ways: dict[str, RayRenderer], sizes: Sequence[int], reference: dict[int, float]
) -> None:
    """Each next frame, by way and size."""
    for way, field in ways.items():
        for size in sizes:
            cameras, chunk = cameras_around(1, size, ledger.device), rays_of(way, ledger.device)
            condition = f"size={size},way={way}"
            seconds = ledger.time("frame", condition, lambda f=field, c=cameras, n=chunk: look(f, c, n))
            if size in reference:
                ledger.note("frame", condition, "ratio_reference", reference[size] / seconds)


def loss_rows(ledger: Ledger, ways: dict[str, RayRenderer], query: Views) -> None:
    """What each way loses against the slow twin, dB of PSNR, as a mean over posed views."""
    truths = pictures_over_white(query)
    cameras = Cameras(query.camera_to_world[0], query.intrinsics[0], query.sizes[0])
    scores: dict[str, list[float]] = {}
    for way, field in ways.items():
        pictures = [look(field, cameras[view], rays_of(way, ledger.device)) for view in range(len(truths))]
        scores[way] = [psnr(seen, truth) for seen, truth in zip(pictures, truths, strict=True)]
    for way, values in scores.items():
        lost = [best - value for best, value in zip(scores["slow"], values, strict=True)]
        ledger.note("frame", f"way={way}", "psnr", sum(values) / len(values), n=len(lost))
        ledger.note("frame", f"way={way}", "psnr_lost", sum(lost) / len(lost), n=len(lost))


def draw_rows(
    ledger: Ledger, model: RadianceModel, views: Views, counts: Sequence[int], size: int, seed: int
) -> None:
    """K draws together, from the views to their pictures, against one encoding and K decodings.

    A decoding is one picture of one draw whose empty space is known: less than what one draw costs alone.
    """
    cameras = cameras_around(1, size, ledger.device)

    def together(draws: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        look(DrawnFields.infer(model, model.encode(views), draws, generator), cameras)

    encode = ledger.time("encode", f"views={views.count},again", lambda: model.encode(views))
    one = DrawnFields.infer(model, model.encode(views), 1, torch.Generator().manual_seed(seed))
    decode = ledger.time("decode", f"size={size},draws=1", lambda: look(one, cameras))
    for draws in counts:
        condition = f"size={size},draws={draws}"
        seconds = ledger.time("draw", condition, lambda draws=draws: together(draws), least=1)
        ledger.note("draw", condition, "ratio_one_by_one", seconds / (encode + draws * decode))
