"""Picture files as straight-alpha RGBA: any common kind of file in, 8 bits out, or one clear error."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image, UnidentifiedImageError

from vnp_core.errors import PictureError
from vnp_nerf.lenses import Lens

MAX_PIXELS = 64 * 2**20
"""Larger pictures are refused by their header, before decoding: a small file can unfold to gigabytes."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
"""All others are refused unopened: some, such as EPS, Pillow hands to a program that runs what they say."""

WHITE = 250
"""Least value of all three channels for a pixel that `white_is_empty` may take for background."""

_COLOURFUL = 32
_BLACK = 16
"""Of 255: by how much a mask's channels differ at least somewhere if it is one of colours, and how bright its
background's are at most. Compression tints greys and black by less.
"""


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header. Raises `PictureError` if there is none, or it is too large."""
    with _open(path) as picture:
        return picture.height, picture.width


def read_rgba(path: Path) -> UInt8[np.ndarray, "H W 4"]:
    """A picture file as RGBA, alpha 255 where it has none; 16-bit, grey and palette files are converted.

    An EXIF rotation is ignored: a camera's width, height and principal point describe the pixels as stored.
    Raises `PictureError` for a missing, damaged or huge file.
    """
    with _open(path) as picture:
        _decode(picture, path)
        if picture.mode.startswith("I"):
            grey = _eight_bits(picture)
            opaque = np.full_like(grey, 255)
            return np.stack([grey, grey, grey, opaque], axis=-1)
        if picture.mode == "F":
            raise PictureError(
                f"{path}: a picture of floats has no fixed range; save it with 8 or 16 bits a channel."
            )
        return np.array(picture.convert("RGBA"))


def read_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    """A mask file as opacity 0 to 255: see `mask_opacity`."""
    with _open(path) as picture:
        _decode(picture, path)
        return mask_opacity(picture)


def mask_opacity(picture: Image.Image) -> UInt8[np.ndarray, "H W"]:
    """A mask as opacity 0 to 255; one whose values are only 0 and 1 means 0 and 255.

    Where some of it is transparent, that is what it says. Colours, not greys alone, paint objects on black,
    and those of a palette by their number, where 0 is the background.
    """
    if "A" in picture.getbands():
        alpha = np.array(picture.getchannel("A"))
        if alpha.min() < alpha.max():
            return alpha
    if picture.mode in ("RGB", "RGBA"):
        colours = np.array(picture.convert("RGB"))
        brightest = colours.max(-1)
        if (brightest - colours.min(-1)).max() > _COLOURFUL:
            return np.where(brightest > _BLACK, 255, 0).astype(np.uint8)
    if picture.mode == "P":
        red, green, blue = np.moveaxis(np.array(picture.convert("RGB")), -1, 0)
        if (red != green).any() or (green != blue).any():
            return np.where(np.array(picture) > 0, 255, 0).astype(np.uint8)
    # A palette's or bitmap's convert("L") is already spread over 0..255; raw 0/1 greys are not.
    grey = np.array(picture if picture.mode.startswith("I") else picture.convert("L"))
    if grey.max(initial=0) <= 1:
        return grey.astype(np.uint8) * np.uint8(255)
    return _eight_bits(picture) if picture.mode.startswith("I") else grey


def read_levels(path: Path, height: int, width: int) -> Int32[np.ndarray, "H W"]:
    """The 16 bits of a grey picture as they are. Raises `PictureError` for another kind or size."""
    with _open(path) as picture:
        _decode(picture, path)
        if not picture.mode.startswith("I") or picture.size != (width, height):
            raise PictureError(
                f"{path}: expected {width} x {height} pixels of 16-bit grey, and this is "
                f"{picture.width} x {picture.height} of mode {picture.mode}."
            )
        return np.array(picture).astype(np.int32)


@dataclass(frozen=True)
class PictureSource:
    """Where one view's pixels come from, and what is done to them; nothing is read before `load`.

    size: (height, width) that the file must have. mask: a file whose values multiply alpha. lens: set where
    the picture must be undistorted. white_is_empty: see `load`.
    """

    path: Path
    size: tuple[int, int]
    mask: Path | None = None
    lens: Lens | None = None
    white_is_empty: bool = False

    @property
    def may_be_cut_out(self) -> bool:
        """Whether there may be background: by its mask, its options, and its file's header."""
        if self.mask is not None or self.white_is_empty:
            return True
        try:
            with _open(self.path) as picture:
                return "A" in picture.getbands() or "transparency" in picture.info
        except PictureError:
            return False

    def load(self, height: int, width: int) -> UInt8[np.ndarray, "H W 4"]:
        """The pixels, undistorted, then shrunk to height x width by area averages weighted with alpha.

        With `white_is_empty`, near-white pixels joined to the border get alpha 0, if the file had no alpha.
        Raises `PictureError` where the file is missing, damaged or of another size than its camera says.
        """
        rgba = read_rgba(self.path)
        self._check_size(self.path, rgba.shape[0], rgba.shape[1])
        if self.white_is_empty and rgba[..., 3].min() == 255:
            rgba[_background(rgba), 3] = 0
        if self.mask is not None:
            mask = read_mask(self.mask)
            self._check_size(self.mask, *mask.shape)
            rgba[..., 3] = np.round(rgba[..., 3] * (mask / 255.0)).astype(np.uint8)
        if self.lens is not None:
            rgba = self.lens.undistort(rgba)
        if rgba.shape[:2] != (height, width):
            # Pillow weights colours by alpha as it resizes, so that empty pixels do not bleed into the edge.
            rgba = np.array(Image.fromarray(rgba).resize((width, height), Image.Resampling.BOX))
        return rgba

    def _check_size(self, path: Path, height: int, width: int) -> None:
        if (height, width) != self.size:
            raise PictureError(
                f"{path}: the picture is {width} x {height} (width x height), but its camera says "
                f"{self.size[1]} x {self.size[0]}. Correct the camera's w, h, focal length and centre, or "
                f"give the pictures that it was made for."
            )


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path, formats=FORMATS)
    except FileNotFoundError as error:
        raise PictureError(f"{path}: there is no such picture.") from error
    except (UnidentifiedImageError, IsADirectoryError) as error:
        raise PictureError(f"{path}: this is no picture in a format that can be read.") from error
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"{path}: the picture cannot be read ({error}).") from error
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width} x {picture.height}"
        picture.close()
        raise PictureError(
            f"{path}: {size} pixels are more than the {MAX_PIXELS // 2**20} Mi allowed; shrink it first."
        )
    return picture


def _decode(picture: Image.Image, path: Path) -> None:
    try:
        picture.load()
    # Decoders of damaged files raise whatever comes their way: OSError, SyntaxError, zlib.error, ...
    except Exception as error:
        raise PictureError(
            f"{path}: the picture is damaged or cut short ({error}); copy or make it again."
        ) from error


def _eight_bits(picture: Image.Image) -> UInt8[np.ndarray, "H W"]:
    """A 16-bit grey picture (Pillow's modes I and I;16) in 8 bits, rounded."""
    values = np.array(picture).astype(np.float64)
    return np.round(np.clip(values, 0, 65535) / 257).astype(np.uint8)


def _background(rgba: UInt8[np.ndarray, "H W 4"]) -> np.ndarray:
    """Bool [H, W]: near-white pixels that a path of near-white neighbours joins to the border."""
    white = (rgba[..., :3] >= WHITE).all(axis=-1)
    reached = np.zeros_like(white)
    reached[[0, -1]], reached[:, [0, -1]] = white[[0, -1]], white[:, [0, -1]]
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= white
        if (grown == reached).all():
            return reached
        reached = grown
