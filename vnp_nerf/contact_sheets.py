"""Contact sheets: labelled rows of pictures in one PNG, to look at what the numbers cannot tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vnp_core.errors import DataError
from vnp_core.whole_files import whole_file
from vnp_nerf.evaluation import Case, ModelPredictor, pictures_over_white
from vnp_nerf.image_metrics import psnr

CELL = 160
"""Side of a panel, sheet pixels."""
GAP = 8
TEXT = 14
"""Height of the letters, sheet pixels."""
INK, PAPER, FRAME = (40, 40, 40), (255, 255, 255), (205, 205, 205)
DEPTH_COLOURS = (
    (1.0, 0.93, 0.55),
    (0.96, 0.56, 0.30),
    (0.73, 0.22, 0.43),
    (0.35, 0.12, 0.49),
    (0.08, 0.05, 0.22),
)
"""From near to far, evenly spaced, each darker than the one before: it reads in grey as well."""


@dataclass
class Panel:
    """One picture, 0 to 1, with a caption above it."""

    picture: Float[Tensor, "H W 3"]
    caption: str = ""


def views_word(count: int) -> str:
    """`1 view`, `3 views`."""
    return "1 view" if count == 1 else f"{count} views"


def colour_depth(
    depth: Float[Tensor, "H W"], alpha: Float[Tensor, "H W"], near: float, far: float
) -> Float[Tensor, "H W 3"]:
    """Depth from `near` (bright) to `far` (dark), white where less than half of the light is absorbed."""
    if not far > near:
        raise DataError(f"depths from {near} to {far}: far must lie beyond near")
    stops = torch.tensor(DEPTH_COLOURS)
    place = ((depth - near) / (far - near)).clamp(0, 1) * (len(stops) - 1)
    lower = place.floor().long().clamp_max(len(stops) - 2)
    share = (place - lower)[..., None]
    colour = torch.lerp(stops[lower], stops[lower + 1], share)
    return torch.where((alpha > 0.5)[..., None], colour, torch.ones_like(colour))


def contact_sheet(rows: Sequence[tuple[str, Sequence[Panel]]], title: str = "") -> UInt8[np.ndarray, "H W 3"]:
    """A sheet of labelled rows. Every picture is shown at `CELL` pixels, small ones without blurring."""
    font = ImageFont.load_default(TEXT)
    line = TEXT + 6
    row_height = line * 2 + CELL + GAP
    columns = max((len(panels) for _, panels in rows), default=0)
    width = max(columns * (CELL + GAP) + GAP, 4 * CELL)
    height = (2 * line if title else GAP) + row_height * len(rows) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), title, fill=INK, font=font)
    top = 2 * line if title else GAP
    for label, panels in rows:
        draw.text((GAP, top), label, fill=INK, font=font)
        for column, panel in enumerate(panels):
            left = GAP + column * (CELL + GAP)
            draw.text((left, top + line), panel.caption, fill=INK, font=font)
            sheet.paste(_fitted(panel.picture), (left, top + 2 * line))
            draw.rectangle((left, top + 2 * line, left + CELL - 1, top + 2 * line + CELL - 1), outline=FRAME)
        top += row_height
    return np.array(sheet)


def _fitted(picture: Float[Tensor, "H W 3"]) -> Image.Image:
    """A picture in a square cell, its proportions kept."""
    pixels = (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()
    image = Image.fromarray(pixels)
    ratio = CELL / max(image.size)
    shape = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    image = image.resize(shape, Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (CELL, CELL), PAPER)
    cell.paste(image, ((CELL - image.width) // 2, (CELL - image.height) // 2))
    return cell


def context_panels(case: Case, count: int) -> list[Panel]:
    """The context views of a case."""
    pictures = pictures_over_white(case.first_views(count))
    return [Panel(picture, f"context {number}") for number, picture in enumerate(pictures, start=1)]


def query_panels(predictor: ModelPredictor, case: Case, count: int) -> list[tuple[Panel, Panel, Panel]]:
    """For each query view the truth, the rendering and its depth."""
    distances = case.query.camera_to_world[0, :, :, 3].norm(dim=-1).tolist()
    truths = pictures_over_white(case.query)
    return [
        (
            Panel(truth, "truth"),
            Panel(rendering.rgb, f"novel view {psnr(rendering.rgb, truth):.1f} dB"),
            Panel(
                colour_depth(rendering.depth, rendering.alpha, max(distance - 1, 0), distance + 1), "depth"
            ),
        )
        for rendering, truth, distance in zip(predictor.render(case, count), truths, distances, strict=True)
    ]


def case_row(predictor: ModelPredictor, case: Case, count: int) -> tuple[str, list[Panel]]:
    """One object on one row of a sheet of many."""
    panels = [panel for panels in query_panels(predictor, case, count) for panel in panels]
    label = f"{case.name}, {views_word(count).replace(' ', ' context ')}"
    return label, context_panels(case, count) + panels


def case_sheet(predictor: ModelPredictor, case: Case, count: int) -> list[tuple[str, list[Panel]]]:
    """One object on a sheet of its own: a row of context views, then rows of truth, renderings and depth."""
    truths, renderings, depths = zip(*query_panels(predictor, case, count), strict=True)
    return [
        ("given", context_panels(case, count)),
        ("not given: the truth", [Panel(panel.picture) for panel in truths]),
        ("not given: inferred", list(renderings)),
        ("its depth, near is bright", [Panel(panel.picture) for panel in depths]),
    ]


def write_png(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Writes a PNG in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        Image.fromarray(pixels).save(file, "PNG")
