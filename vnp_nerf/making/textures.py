"""All textures of a mesh in one flat array of texels, each with its pyramid of halved sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, UInt8
from PIL import Image

LARGEST_SIDE = 1024


@dataclass(frozen=True)
class TextureAtlas:
    """Mip pyramids of T textures. A level's texels lie row by row from `offsets[texture, level]`.

    Colours are premultiplied by alpha, so that averages don't take in the colour of transparent texels.
    Pyramids are padded with their last level to one height, so that any level index is legal.
    """

    texels: UInt8[np.ndarray, "P 4"]
    offsets: Int[np.ndarray, "T levels"]
    widths: Int[np.ndarray, "T levels"]
    heights: Int[np.ndarray, "T levels"]

    @classmethod
    def build(cls, textures: Sequence[UInt8[np.ndarray, "height width 4"]]) -> "TextureAtlas":
        """The atlas of these textures, those with sides above 1,024 texels halved until they fit."""
        pyramids = [_pyramid(texture) for texture in textures]
        levels = max(len(pyramid) for pyramid in pyramids)
        sizes = np.array(
            [[p[min(i, len(p) - 1)].shape[:2] for i in range(levels)] for p in pyramids], np.int64
        )
        offsets, texels, start = np.zeros((len(pyramids), levels), np.int64), [], 0
        for index, pyramid in enumerate(pyramids):
            for level in range(levels):
                offsets[index, level] = start if level < len(pyramid) else offsets[index, level - 1]
                if level < len(pyramid):
                    texels.append(pyramid[level].reshape(-1, 4))
                    start += len(texels[-1])
        return cls(np.concatenate(texels), offsets, sizes[..., 1], sizes[..., 0])

    def sample(
        self,
        textures: Int[np.ndarray, " N"],
        uvs: Float32[np.ndarray, "N 2"],
        texels_per_sample: Float32[np.ndarray, " N"],
    ) -> Float32[np.ndarray, "N 4"]:
        """Premultiplied RGBA in 0..1: bilinear, wrapped, v upward, from the level that suits the footprint.

        Args:
            textures: which texture each sample reads.
            uvs: texture coordinates; (0, 0) is the lower left corner.
            texels_per_sample: the footprint's side at full size, in texels.
        """
        level = np.rint(np.log2(np.maximum(texels_per_sample, 1.0))).astype(np.int64)
        level = np.minimum(level, self.offsets.shape[1] - 1)
        width, height = self.widths[textures, level], self.heights[textures, level]
        offset = self.offsets[textures, level]
        x = (uvs[:, 0] - np.floor(uvs[:, 0])) * width - 0.5
        y = (1.0 - (uvs[:, 1] - np.floor(uvs[:, 1]))) * height - 0.5
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        right_share, lower_share = (x - left)[:, None], (y - top)[:, None]

        def texel(column: Int[np.ndarray, " N"], row: Int[np.ndarray, " N"]) -> Float32[np.ndarray, "N 4"]:
            return self.texels[offset + (row % height) * width + column % width].astype(np.float32)

        upper = texel(left, top) * (1 - right_share) + texel(left + 1, top) * right_share
        lower = texel(left, top + 1) * (1 - right_share) + texel(left + 1, top + 1) * right_share
        return ((upper * (1 - lower_share) + lower * lower_share) / 255.0).astype(np.float32)


def _pyramid(texture: UInt8[np.ndarray, "height width 4"]) -> list[UInt8[np.ndarray, "h w 4"]]:
    """The premultiplied texture and its halves down to one texel."""
    picture = Image.fromarray(np.ascontiguousarray(texture), "RGBA").convert("RGBa")
    while max(picture.size) > LARGEST_SIDE:
        picture = _halved(picture)
    levels = [np.asarray(picture)]
    while max(picture.size) > 1:
        picture = _halved(picture)
        levels.append(np.asarray(picture))
    return levels


def _halved(picture: Image.Image) -> Image.Image:
    size = (max(1, picture.width // 2), max(1, picture.height // 2))
    return picture.resize(size, Image.Resampling.BOX)
