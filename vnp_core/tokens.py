"""The small set of vectors that a context becomes."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.rotary import Rotary, Rotation


@dataclass(frozen=True)
class Tokens:
    """A set of T vectors a scene, of which `mask` says which are present (True) and which are padding."""

    values: Float[Tensor, "B T D"]
    mask: Bool[Tensor, "B T"]
    places: Float[Tensor, "B T X"] | None = None
    """Where each token lies, for attention that sees relative places; None where tokens lie nowhere."""

    @classmethod
    def present(cls, values: Float[Tensor, "B T D"]) -> "Tokens":
        """Tokens of which none is padding."""
        return cls(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def cat(self, other: "Tokens") -> "Tokens":
        """The union of both sets, scene by scene."""
        places = None
        if self.places is not None and other.places is not None:
            places = torch.cat([self.places, other.places], dim=1)
        return Tokens(
            torch.cat([self.values, other.values], dim=1), torch.cat([self.mask, other.mask], dim=1), places
        )

    def cleared(self) -> "Tokens":
        """The same set with zeros in the padding, so that what stood there (NaN too) reaches nothing."""
        absent = ~self.mask[..., None]
        places = None if self.places is None else self.places.masked_fill(absent, 0.0)
        return Tokens(self.values.masked_fill(absent, 0.0), self.mask, places)

    def rotation(self, rotary: Rotary | None) -> Rotation | None:
        """How the tokens are turned by where they lie; None where nothing turns, or they lie nowhere."""
        return None if rotary is None or self.places is None else rotary(self.places)

    def centre(self) -> Float[Tensor, "B 1 X"] | None:
        """The mean place of the tokens that are present; 0 where there are none."""
        if self.places is None:
            return None
        weights = self.mask[..., None].to(self.places.dtype)
        total = self.places.masked_fill(~self.mask[..., None], 0.0).sum(1, keepdim=True)
        return total / weights.sum(1, keepdim=True).clamp(min=1)
