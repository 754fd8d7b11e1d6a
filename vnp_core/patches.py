"""A picture's channels as patch tokens: ray pictures (3D) and masked grids (2D) use the same door."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


class PatchEmbedding(nn.Module):
    """Every patch x patch square of a picture, flattened channel-major (channel, row, column), by one Linear.

    Sizes that are no multiple of the patch are padded with zeros at the bottom and right.
    """

    def __init__(self, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(channels * patch * patch, width)

    def forward(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B T D"]:
        """T = ceil(H / patch) * ceil(W / patch) tokens, row by row."""
        padded = pad_to_multiple(pictures, self.patch)
        p = self.patch
        return self.project(rearrange(padded, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p))


def patch_mask(mask: Bool[Tensor, "B H W"], patch: int) -> Bool[Tensor, "B T"]:
    """True for every patch of which at least one pixel is present, in the order of `PatchEmbedding`."""
    padded = pad_to_multiple(mask, patch)
    return rearrange(padded, "b (h p) (w q) -> b (h w) (p q)", p=patch, q=patch).any(-1)


def pad_to_multiple(picture: Tensor, patch: int) -> Tensor:
    """[..., H, W] with zeros (False) added at the bottom and right until both are multiples of `patch`."""
    height, width = picture.shape[-2:]
    return F.pad(picture, (0, -width % patch, 0, -height % patch))
