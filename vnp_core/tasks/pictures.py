"""Pictures of one size in memory, 8 bits a channel, each with the class that it is of."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from vnp_core.errors import DataError

STEP = 1 / 255
"""Distance of neighbouring grey levels in the values that models see."""

ROUNDING_STD = STEP / 12**0.5
"""Standard deviation of a value that is spread evenly over its grey level: no honest prediction has less."""


@dataclass(frozen=True)
class Pictures:
    """P pictures of C channels. A model sees level v as v / 255 - 1/2, as published."""

    pixels: UInt8[Tensor, "P C H W"]
    labels: Int64[Tensor, "P"]
    """Each picture's class."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != torch.uint8 or not len(self.pixels):
            raise DataError(
                f"Pictures are bytes [P, C, H, W] with P of 1 or more; given were {self.pixels.dtype} "
                f"{tuple(self.pixels.shape)}."
            )
        if self.labels.shape != self.pixels.shape[:1]:
            raise DataError(f"{len(self.pixels)} pictures need as many labels, not {len(self.labels)}.")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape[2:]
        return height, width

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.pixels.shape[1]

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels and labels."""
        parts = (cast(Any, part.cpu()).numpy().tobytes() for part in (self.pixels, self.labels))
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def of_classes(self, classes: Iterable[int]) -> "Pictures":
        """Those of these classes, in the same order. Raises `DataError` where there are none."""
        wanted = sorted(set(classes))
        kept = torch.isin(self.labels, torch.tensor(wanted, device=self.labels.device))
        if not bool(kept.any()):
            raise DataError(f"There is no picture of the classes {wanted}.")
        return self.chosen(kept.nonzero()[:, 0])

    def chosen(self, indices: Int64[Tensor, "Q"]) -> "Pictures":
        """The pictures at these places."""
        return replace(self, pixels=self.pixels[indices], labels=self.labels[indices])

    def to(self, device: torch.device | str) -> "Pictures":
        """The same pictures on another device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))


def levels_to_values(levels: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Grey levels 0 to 255 as the values -1/2 to 1/2 that models see."""
    return levels.float() * STEP - 0.5


def spread_levels(values: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
    """Values moved within half a grey level, all places of it alike; the generator is on their device."""
    return values + STEP * (torch.rand(values.shape, generator=generator, device=values.device) - 0.5)


def values_to_shares(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Values as brightness 0 to 1, cut off there as a screen would."""
    return (values + 0.5).clamp(0, 1)
