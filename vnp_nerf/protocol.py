"""What every scene model offers, whichever way it computes it: the seam between models and the tools around
them.
"""

from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_nerf.batches import TrainBatch
from vnp_nerf.rendering import Background, Rendering
from vnp_nerf.views import Views


class Field(Protocol):
    """One draw of the latents with one scene's tokens: a fixed function of space, in the model frame."""

    def density_colour(
        self, points: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"] | None = None
    ) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
        """Density (1 / length unit, >= 0) and colour (0 to 1) at points."""
        ...

    def render(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        *,
        background: Background = "white",
    ) -> Rendering:
        """What the rays see. Directions are unit vectors."""
        ...


class SceneModel(Protocol):
    """Posed pictures in, a field out; trained on batches of many scenes."""

    config: Any

    def encode(self, views: Views) -> Any:
        """Everything that depends on the context alone, computed once."""
        ...

    def infer_field(self, encoded: Any, *, generator: torch.Generator | None = None) -> Field:
        """The field at the latents' mean, or at one draw under a generator."""
        ...

    def train_outputs(
        self, batch: TrainBatch, generator: torch.Generator, step: int | None = None
    ) -> dict[str, Tensor]:
        """Every tensor that the losses need at a step, or in general without one. Whatever is trained is used
        in here, as data-parallel training demands.
        """
        ...

    def loss_terms(self, outputs: dict[str, Tensor], batch: TrainBatch, step: int) -> dict[str, Tensor]:
        """Named scalars; their sum is the loss."""
        ...

    def metrics(self, outputs: dict[str, Tensor], batch: TrainBatch) -> dict[str, Tensor]:
        """Named scalars for the log, without gradients."""
        ...
