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
from vnp_nerf.radiance import RadianceField, RadianceModel
from vnp_nerf.rendering import RayRenderer
from vnp_nerf.speed.ledger import Ledger, cameras_around, look
from vnp_nerf.views import Views

SLOW_RAYS = 1024
"""Rays at a time of the slow twin on a CPU: the samples' features stay in a processor's cache."""


def encoding_rows(
    ledger: Ledger, model: RadianceModel, everything: Views, counts: Sequence[int], size: int
) -> None:
    """From views to tokens, on to a field whose empty space is known, and a frame of it, by views."""
    cameras = cameras_around(1, size, ledger.device)
    for count in counts:
        views = everything.select_views(slice(count))

        def ready(views: Views = views) -> CulledField:
            return CulledField(model.infer_field(model.encode(views)))

        ledger.time("encode", f"views={count}", lambda views=views: model.encode(views))
        ledger.time("ready field", f"views={count}", ready)
        field = ready()
        ledger.time("next frame", f"views={count}", lambda field=field: look(field, cameras))


def ways_to_look(
    model: RadianceModel, views: Views, bakes: Sequence[int], executions: Sequence[Execution]
) -> dict[str, RayRenderer]:
    """The slow twin, the culled field run in each way, and the baked field of each resolution."""
    slow = model.infer_field(model.encode(views))
    ways: dict[str, RayRenderer] = {"slow": slow}
    for execution in executions:
        ways[culled_way(execution)] = CulledField(slow, execution=execution)
    return ways | {f"baked {resolution}": _baked(slow, resolution) for resolution in bakes}


def bake_rows(ledger: Ledger, model: RadianceModel, views: Views, bakes: Sequence[int]) -> None:
    """From an inferred field to one that is on a grid, its empty space found on the way, by resolution."""
    slow = model.infer_field(model.encode(views))
    for resolution in bakes:
        condition = f"views={views.count},resolution={resolution}"
        ledger.time("bake", condition, lambda resolution=resolution: _baked(slow, resolution), least=1)


def _baked(field: RadianceField, resolution: int) -> BakedField:
    grid = bake(
        CulledField(field), field.model.config.radius, resolution, field.decoded.encoded.rotation.device
    )
    return BakedField(grid, field.model.config.ray_width)


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


def loss_rows(
    ledger: Ledger,
    model: RadianceModel,
    scenes: Sequence[tuple[Views, Views]],
    bakes: Sequence[int],
    executions: Sequence[Execution],
) -> None:
    """What each way loses against the slow twin, dB of PSNR on posed views: the mean and the worst scene's.

    A scene is its context and the views to score on.
    """
    scores: dict[str, list[float]] = {}
    for number, (context, query) in enumerate(scenes):
        truths = pictures_over_white(query)
        cameras = Cameras(query.camera_to_world[0], query.intrinsics[0], query.sizes[0])
        with ledger.step(f"{ledger.model}: losses, scene {number + 1} of {len(scenes)}"):
            for way, field in ways_to_look(model, context, bakes, executions).items():
                rays = rays_of(way, ledger.device)
                seen = [look(field, cameras[view], rays) for view in range(query.count)]
                values = [psnr(picture, truth) for picture, truth in zip(seen, truths, strict=True)]
                scores.setdefault(way, []).append(sum(values) / len(values))
    for way, values in scores.items():
        condition, count = f"way={way}", sum(query.count for _, query in scenes)
        lost = [best - value for best, value in zip(scores["slow"], values, strict=True)]
        ledger.note("loss", condition, "psnr", sum(values) / len(values), n=count)
        ledger.note("loss", condition, "psnr_lost", sum(lost) / len(lost), n=count)
        ledger.note("loss", condition, "psnr_lost_worst_scene", max(lost), n=count)


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
