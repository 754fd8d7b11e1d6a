"""Pictures as a notebook holds them (arrays, tensors, PIL pictures, paths), made into straight-alpha RGBA."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from vnp_core.errors import DataError, PictureError
from vnp_nerf.pictures import mask_opacity, read_mask, read_rgba

GivenPicture = np.ndarray | Tensor | Image.Image | str | Path
"""One picture: [H, W, 3 or 4] or [3 or 4, H, W], bytes or floats from 0 to 1; a PIL picture; a file."""

GivenPictures = Sequence[GivenPicture] | np.ndarray | Tensor
"""Several, of any sizes; or an array of several [V, ...]."""

_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_RANGE_SLACK = 1e-3
"""By how much floats may leave 0 to 1, as resampling makes them."""


def rgba_pictures(
    images: GivenPictures, masks: GivenPictures | None = None
) -> list[UInt8[np.ndarray, "H W 4"]]:
    """Straight-alpha RGBA bytes of each picture; alpha 255 where it has none, times its mask if there is one.

    masks: one a picture and of its size, [H, W], 1 (or 255, or True) on the object and 0 on the background;
    or files. Raises `DataError` where the numbers of pictures and masks differ, and `PictureError`, naming
    the picture by its number, for anything that is no picture.
    """
    pictures = [_rgba(image, f"picture {number}") for number, image in enumerate(_several(images, "images"))]
    if masks is None:
        return pictures
    given = _several(masks, "masks")
    if len(given) != len(pictures):
        raise DataError(f"{len(pictures)} pictures came with {len(given)} masks; each needs its own.")
    return [
        _masked(picture, _mask(mask, f"mask {number}"), number)
        for number, (picture, mask) in enumerate(zip(pictures, given, strict=True))
    ]


def _several(given: Any, what: str) -> list[Any]:
    lone = isinstance(given, Image.Image | str | Path) or (
        isinstance(given, np.ndarray | Tensor) and given.ndim < 3
    )
    if lone or not hasattr(given, "__len__"):
        raise DataError(
            f"{what} must be several pictures, one a camera; given: {_words(given)}. Put a single one in a "
            f"list: [picture]. A folder is read by vnp_nerf.open_scene."
        )
    several: Any = given
    return list(several)


def _rgba(image: Any, where: str) -> UInt8[np.ndarray, "H W 4"]:
    if isinstance(image, str | Path):
        return read_rgba(Path(image))
    if isinstance(image, Image.Image):
        if image.mode not in _EIGHT_BIT_MODES:
            raise PictureError(
                f"{where}: a PIL picture of mode {image.mode!r} has no 8 bits a channel; convert it to RGBA."
            )
        return np.array(image.convert("RGBA"))
    pixels = _array(image, where)
    if pixels.ndim == 3 and pixels.shape[-1] not in (3, 4) and pixels.shape[0] in (3, 4):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim != 3 or pixels.shape[-1] not in (3, 4) or 0 in pixels.shape:
        raise PictureError(
            f"{where}: an array of shape {list(pixels.shape)} is no picture; give [height, width, 3 or 4] or "
            f"[3 or 4, height, width]."
        )
    pixels = _bytes(pixels, where)
    if pixels.shape[-1] == 4:
        return pixels
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)


def _mask(mask: Any, where: str) -> UInt8[np.ndarray, "H W"]:
    if isinstance(mask, str | Path):
        return read_mask(Path(mask))
    if isinstance(mask, Image.Image):
        return mask_opacity(mask)
    values = _array(mask, where)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2:
        raise PictureError(
            f"{where}: an array of shape {list(values.shape)} is no mask; give [height, width]."
        )
    opacity = _bytes(values, where)
    return opacity * np.uint8(255) if values.dtype == np.uint8 and opacity.max(initial=0) <= 1 else opacity


def _masked(
    picture: UInt8[np.ndarray, "H W 4"], mask: UInt8[np.ndarray, "H W"], number: int
) -> UInt8[np.ndarray, "H W 4"]:
    if mask.shape != picture.shape[:2]:
        raise PictureError(
            f"mask {number} has {mask.shape[0]} x {mask.shape[1]} pixels (height x width), and its picture "
            f"{picture.shape[0]} x {picture.shape[1]}; give a mask of the picture's size."
        )
    alpha = np.round(picture[..., 3] * (mask / 255.0)).astype(np.uint8)
    return np.concatenate([picture[..., :3], alpha[..., None]], axis=-1)


def _array(values: Any, where: str) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.is_floating_point() else values).numpy()
    if isinstance(values, np.ndarray):
        return values
    raise PictureError(
        f"{where}: given {_words(values)}; expected an array, a torch tensor, a PIL picture or a path."
    )


def _bytes(values: np.ndarray, where: str) -> UInt8[np.ndarray, "*shape"]:
    """Bytes as they are, booleans as 0 and 255, floats from 0 to 1 rounded."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(values.dtype, np.floating):
        raise PictureError(
            f"{where}: values of type {values.dtype} have no fixed range; give uint8 (0 to 255), or floats "
            f"from 0 to 1."
        )
    low, high = float(values.min()), float(values.max())
    if not (low >= -_RANGE_SLACK and high <= 1 + _RANGE_SLACK):  # NaN is refused as well
        raise PictureError(
            f"{where}: floats from {low:.4g} to {high:.4g}; they must lie between 0 and 1. Divide by 255 "
            f"what runs from 0 to 255."
        )
    return np.round(values.clip(0, 1) * 255).astype(np.uint8)


def _words(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return f"{kind} of shape {list(shape)}" if shape is not None else f"{kind} {repr(value)[:80]}"
