"""Folders of picture files as `Pictures` of one size and mode, with every bad file named.

Files are opened by a function that the caller brings: from a path to RGBA of 8 bits, or a `DataError`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from vnp_core.errors import DataError
from vnp_core.tasks.pictures import Pictures

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})
"""Files with other endings in a folder are no pictures, and are passed over."""

ReadPicture = Callable[[Path], Any]
"""From a file to an array RGBA [H, W, 4] of bytes; raises `DataError` for what is no picture, or damaged."""


@dataclass(frozen=True)
class Preparation:
    """What all pictures of a set are brought to."""

    size: int = 32
    """Height and width in pixels: the largest centred square, shrunk by area averages."""
    channels: Literal[1, 3] = 3
    """1 makes pictures grey (luma of Rec. 601), 3 keeps colour. What is transparent comes over white."""
    strict: bool = False
    """A bad file ends the program; otherwise it is skipped and counted."""


def picture_files(folder: Path) -> list[Path]:
    """All picture files below a folder, by name. Raises `DataError` where it is none or has none."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Give the folder that holds the pictures.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise DataError(f"{folder} has no pictures ({', '.join(sorted(SUFFIXES))}).")
    return files


def read_pictures(
    files: Sequence[Path],
    labels: Sequence[int],
    preparation: Preparation,
    read: ReadPicture,
    log: Callable[[str], None],
) -> Pictures:
    """These files in their order. Bad ones are named to `log` and counted, or fatal under `strict`.

    Raises `DataError` for the first bad file under `strict`, and where no file is left.
    """
    squares: list[Tensor] = []
    kept: list[int] = []
    first = ""
    for path, label in zip(files, labels, strict=True):
        try:
            squares.append(prepared(read(path), preparation, str(path)))
        except DataError as error:
            if preparation.strict:
                raise DataError(f"{error} (Without --strict such files are skipped.)") from error
            first = first or str(error)
            continue
        kept.append(label)
    if skipped := len(files) - len(kept):
        log(f"{skipped} of {len(files)} files were skipped. The first: {first}")
    if not squares:
        raise DataError(f"None of {len(files)} files is a picture that can be used. The first: {first}")
    return Pictures(torch.stack(squares), torch.tensor(kept))


def prepared(rgba: Any, preparation: Preparation, name: str) -> UInt8[Tensor, "C S S"]:
    """One picture as its set needs it. Raises `DataError` where it is smaller than that."""
    height, width = rgba.shape[:2]
    side = min(height, width)
    if side < preparation.size:
        raise DataError(
            f"{name}: {width} x {height} (width x height) is less than {preparation.size} pixels a side. "
            "Give larger pictures, or a smaller --size."
        )
    top, left = (height - side) // 2, (width - side) // 2
    whole = cast(Any, torch).from_numpy(np.array(rgba)).double()
    square = whole[top : top + side, left : left + side]
    alpha = square[..., 3:] / 255
    colour = rearrange(square[..., :3] * alpha + 255 * (1 - alpha), "h w c -> c h w")
    if preparation.channels == 1:
        luma = colour.new_tensor([0.299, 0.587, 0.114])
        colour = torch.einsum("chw,c->hw", colour, luma)[None]
    return shrunk(colour, preparation.size).round().clamp(0, 255).to(torch.uint8)


def shrunk(picture: Float[Tensor, "C H W"], size: int) -> Float[Tensor, "C S S"]:
    """A square picture by area averages: a new pixel is the mean of all that it covers, shares included."""
    side = picture.shape[-1]
    if side == size:
        return picture
    if side % size == 0:
        return F.avg_pool2d(picture, side // size)
    edges = torch.linspace(0, side, size + 1, dtype=torch.float64)
    index = torch.arange(side, dtype=torch.float64)
    # [S, side]: how much of each old pixel lies in each new one.
    overlap = torch.minimum(edges[1:, None], index + 1) - torch.maximum(edges[:-1, None], index)
    weights = (overlap.clamp(min=0) * size / side).to(picture)
    return torch.einsum("sh,chw,tw->cst", weights, picture, weights)
