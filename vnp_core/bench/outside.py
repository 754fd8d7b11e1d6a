"""A strong model that is not ours: the convolutional Gaussian neural process of `neuralprocesses`.

ConvGNP (Markou et al. 2022, Bruinsma et al. 2021) puts the context on a grid, runs a U-Net over it and reads
off a Gaussian with a low-rank covariance. Built, called and masked through the package's own interface; its
answer is handed out as a `CorrelatedMixture` of one hypothesis, so that all our scores apply.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vnp_core.bench.extra import import_extra
from vnp_core.correlated import CorrelatedMixture
from vnp_core.errors import DataError
from vnp_core.observations import Observations, PointSet


@dataclass(frozen=True)
class ConvGNPConfig:
    """Sizes of the package's ConvGNP; what is not named here has its default."""

    x_dim: int = 1
    """Coordinates of a query."""
    y_dim: int = 1
    """Channels of a value."""
    points_per_unit: float = 32.0
    """Grid points a unit of x."""
    channels: int = 64
    """Channels of every layer of the U-Net."""
    layers: int = 6
    """Layers of the U-Net."""
    rank: int = 64
    """Rank of the covariance."""


class ConvGNP(nn.Module):
    """The package's model behind our interface. Raises `MissingDependencyError` where it is not installed."""

    def __init__(self, config: ConvGNPConfig) -> None:
        super().__init__()
        self.config = config
        package: Any = import_extra("neuralprocesses.torch")
        self._masked: Any = package.Masked
        self.model: Any = package.construct_convgnp(
            dim_x=config.x_dim,
            dim_y=config.y_dim,
            points_per_unit=config.points_per_unit,
            likelihood="lowrank",
            unet_channels=(config.channels,) * config.layers,
            num_basis_functions=config.rank,
        )

    def predict(
        self, context: Observations, x: Float[Tensor, "B M X"], draws: int, generator: Generator | None
    ) -> CorrelatedMixture:
        """One hypothesis, K = 1, however many draws are asked for."""
        answer = self.answer(context, x)
        shape = {"y": self.config.y_dim, "m": x.shape[1]}
        means, noise = answer._mean.mat[..., 0], answer._noise.diag.sqrt()
        return CorrelatedMixture.of_parts(
            rearrange(means, "b (y m) -> b 1 m y", **shape),
            rearrange(noise, "b (y m) -> b 1 m y", **shape),
            rearrange(answer._var.left, "b (y m) r -> b 1 m y r", **shape),
        )

    def answer(self, context: Observations, x: Float[Tensor, "B M X"]) -> Any:
        """The package's own distribution over values [B, Y, M]; its logpdf is what it is trained by."""
        if not isinstance(context, PointSet):
            raise DataError("ConvGNP reads sets of points, and a grid was given. Pass its points() instead.")
        context = context.cleared()
        # Below, channels come before points.
        places, values, asked = context.x.mT, context.y.mT, x.mT
        present = context.mask[:, None]
        if x.shape[1] and not bool(present.all()):
            # The grid reaches as far as any point does: padding stands where something is asked for anyway.
            places = torch.where(present, places, asked[..., :1])
            values = self._masked(values, present.to(values.dtype))
        return self.model([(places, values)], asked, dtype_lik=torch.promote_types(x.dtype, torch.float32))
