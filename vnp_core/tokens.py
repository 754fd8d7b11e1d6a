"""The small set of vectors that a context becomes."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """A set of T vectors a scene, of which `mask` says which are present (True) and which are padding."""

    values: Float[Tensor, "B T D"]
    mask: Bool[Tensor, "B T"]

    @classmethod
    def present(cls, values: Float[Tensor, "B T D"]) -> "Tokens":
        """Tokens of which none is padding."""
        return cls(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def cat(self, other: "Tokens") -> "Tokens":
        """The union of both sets, scene by scene."""
        return Tokens(
            torch.cat([self.values, other.values], dim=1), torch.cat([self.mask, other.mask], dim=1)
        )

    def cleared(self) -> "Tokens":
        """The same set with zeros in the padding, so that what stood there (NaN too) reaches nothing."""
        return Tokens(self.values.masked_fill(~self.mask[..., None], 0.0), self.mask)
