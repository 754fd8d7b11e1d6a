"""Pictures of what shipped weights make of objects that they were never trained on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vnp_core.whole_files import whole_file
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.contact_sheets import Panel, colour_depth, views_word
from vnp_nerf.image_metrics import over_white
from vnp_nerf.inferred_field import InferredField, RenderedPicture
from vnp_nerf.loaded_model import LoadedModel
from vnp_nerf.scene import Scene

SIDE = 96
"""Of a turning object, pixels."""
_GAP, _TEXT, _INK, _PAPER = 8, 12, (40, 40, 40), (255, 255, 255)
_DISTANCE, _ELEVATION, _FIELD_OF_VIEW = 4.0, 22.0, 32.0
_COLOURS = 160


@dataclass(frozen=True)
class Exhibit:
    """An unseen object, and the weights that infer it."""

    model: LoadedModel
    scene: Scene

    def field(self, count: int) -> InferredField:
        """Inferred from so many views."""
        return self.model.infer(self.scene, views=self.context(count))

    def context(self, count: int) -> tuple[int, ...]:
        """The first ones: made scenes go about the object by the golden angle."""
        return tuple(range(count))

    def truth(self, view: int) -> Float[Tensor, "H W 3"]:
        """A picture of the scene over white."""
        rgba = torch.from_numpy(self.scene.picture(view)).float() / 255
        return over_white(rgba.permute(2, 0, 1))

    def hidden_view(self, view: int) -> int:
        """The view that looks from the other side."""
        positions = torch.nn.functional.normalize(self.scene.model_cameras().positions, dim=-1)
        return int((positions @ positions[view]).argmin())


def turntable(field: InferredField, count: int, azimuth: float) -> list[Float[Tensor, "H W 3"]]:
    """One turn in `count` frames, the first from an azimuth, radians, in the model's frame."""
    ring = orbit_cameras(count, _DISTANCE, _ELEVATION, _FIELD_OF_VIEW, SIDE, SIDE)
    cameras = field.frame.inverse().apply_cameras(ring)
    first = round(azimuth / (2 * math.pi) * count)
    return [field.render(cameras[(first + frame) % count], draws=0).rgb for frame in range(count)]


def turntables(
    exhibits: Sequence[Exhibit], counts: Sequence[int], frames: int
) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Frames of all exhibits turning side by side, a row for each number of context views, which stand above.

    The first frame is seen from the side of the first context view.
    """
    line, thumb = _TEXT + 6, SIDE // 2
    block = line + thumb + _GAP + SIDE + _GAP
    width = len(exhibits) * (SIDE + _GAP) + _GAP
    still = Image.new("RGB", (width, len(counts) * block + _GAP), _PAPER)
    font, draw = ImageFont.load_default(_TEXT), ImageDraw.Draw(still)
    moving: list[tuple[int, int, list[Image.Image]]] = []
    for row, count in enumerate(counts):
        top = row * block + _GAP
        label = f"given {views_word(count)}, and inferred from {'it' if count == 1 else 'them'}:"
        draw.text((_GAP, top), label, fill=_INK, font=font)
        for column, exhibit in enumerate(exhibits):
            left = column * (SIDE + _GAP) + _GAP
            side = min(thumb, SIDE // count)
            for place, view in enumerate(exhibit.context(count)):
                given = _image(exhibit.truth(view)).resize((side, side), Image.Resampling.LANCZOS)
                start = left + (SIDE - side * count) // 2
                still.paste(given, (start + place * side, top + line + (thumb - side)))
            x, y, _ = exhibit.scene.model_cameras().positions[exhibit.context(count)[0]].tolist()
            turned = turntable(exhibit.field(count), frames, math.atan2(y, x))
            moving.append((left, top + line + thumb + _GAP, [_image(picture) for picture in turned]))
    return [_pasted(still, moving, frame) for frame in range(frames)]


def _pasted(
    still: Image.Image, moving: Sequence[tuple[int, int, list[Image.Image]]], frame: int
) -> UInt8[np.ndarray, "H W 3"]:
    whole = still.copy()
    for left, top, pictures in moving:
        whole.paste(pictures[frame], (left, top))
    return np.array(whole)


def write_gif(path: Path, frames: Sequence[UInt8[np.ndarray, "H W 3"]], seconds: float) -> None:
    """An endless animation, all frames in the same colours, written in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mosaic = Image.fromarray(np.concatenate(frames[:: max(1, len(frames) // 6)]))
    palette = mosaic.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)
    colours = [*(palette.getpalette() or []), *_PAPER]
    pictures = []
    for frame in frames:
        chosen = np.array(Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE))
        chosen[(frame == _PAPER).all(axis=-1)] = (
            len(colours) // 3 - 1
        )  # Pillow's nearest colour is off by a few
        pictures.append(Image.fromarray(chosen, "P"))
        pictures[-1].putpalette(colours)
    with whole_file(path) as file:
        pictures[0].save(
            file,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 * seconds / len(frames)),
            loop=0,
        )


def hidden_sides(exhibits: Sequence[Exhibit], draws: int) -> list[tuple[str, list[Panel]]]:
    """For each exhibit a row: one view, and the other side: the truth, the mean, draws, and their sigma."""
    rows = []
    for exhibit in exhibits:
        (given,) = exhibit.context(1)
        hidden = exhibit.hidden_view(given)
        camera, field = exhibit.scene.cameras[hidden], exhibit.field(1)
        mean = field.render(camera)
        drawn = [draw.render(camera, draws=0).rgb for draw in field.sample(draws)]
        panels = [Panel(exhibit.truth(given), "given"), Panel(exhibit.truth(hidden), "its other side, truth")]
        panels += [Panel(mean.rgb, "inferred: mean")]
        panels += [Panel(picture, f"draw {seed}") for seed, picture in enumerate(drawn)]
        rows.append((exhibit.scene.name, [*panels, sigma_panel(mean)]))
    return rows


def sigmas(exhibit: Exhibit, counts: Sequence[int]) -> list[tuple[str, list[Panel]]]:
    """A row for each number of context views: an unseen view, its error, and sigma."""
    seen = exhibit.context(max(counts))
    view = next(view for view in range(len(exhibit.scene)) if view not in seen)
    truth, rows = exhibit.truth(view), []
    for count in counts:
        picture = exhibit.field(count).render(exhibit.scene.cameras[view])
        error = (picture.rgb - truth).square().mean(-1).sqrt()
        panels = [Panel(truth, "truth"), Panel(picture.rgb, "inferred")]
        panels += [_shades(error, "error"), sigma_panel(picture)]
        rows.append((f"{exhibit.scene.name} from {views_word(count)}", panels))
    return rows


def sigma_panel(picture: RenderedPicture) -> Panel:
    """The spread of the colour over draws."""
    assert picture.sigma is not None
    return _shades(picture.sigma, "sigma")


def _shades(values: Float[Tensor, "H W"], name: str) -> Panel:
    """Small values bright, the largest dark; the caption tells the largest, as each panel has its own."""
    most = max(float(values.max()), 1e-6)
    return Panel(colour_depth(values, torch.ones_like(values), 0.0, most), f"{name}, up to {most:.3f}")


def _image(picture: Float[Tensor, "H W 3"]) -> Image.Image:
    return Image.fromarray((picture.clamp(0, 1) * 255).round().byte().numpy())
