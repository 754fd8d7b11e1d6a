"""The field's standard models in plain form, made of our own parts, to stand beside ours in a table.

CNP (Garnelo et al. 2018a), NP (Garnelo et al. 2018b), ANP (Kim et al. 2019) and TNP-D (Nguyen and Grover
2022). Each reads a set of points in any order, ignores padding, and accepts an empty context.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from vnp_core.attention import Attention, SelfAttentionBlock
from vnp_core.correlated import build_head
from vnp_core.encoder import BottleneckEncoder, EncoderConfig
from vnp_core.errors import DataError
from vnp_core.fourier import FourierConfig, FourierEmbedding
from vnp_core.latents import DiagonalGaussian, LatentConfig, PosteriorDraw, SetGaussian
from vnp_core.likelihoods import GaussianMixture
from vnp_core.mlp import MLP
from vnp_core.observations import Observations, PointSet
from vnp_core.tokens import Tokens


@dataclass(frozen=True)
class CNPConfig:
    """Sizes of a conditional neural process; the other peers add theirs."""

    x_dim: int = 1
    """Coordinates of a query."""
    y_dim: int = 1
    """Channels of a value."""
    width: int = 128
    """Width of every hidden layer and token."""
    layers: int = 4
    """Linear maps of each MLP."""
    fourier: FourierConfig = field(default_factory=lambda: FourierConfig(count=0))
    """Features of x; a count of 0 gives the coordinates alone, as published."""
    sigma_floor: float = 0.0
    """Smallest standard deviation of a prediction; the first published models had 0.1."""
    rank: int = 0
    """Rank of the targets' covariance; 0 makes them independent, as published."""


@dataclass(frozen=True)
class NPConfig(CNPConfig):
    """Sizes of a neural process with one global latent."""

    latent_dim: int = 128
    """Width of the latent."""
    min_std: float = 0.1
    """Smallest standard deviation of the latent."""


@dataclass(frozen=True)
class ANPConfig(NPConfig):
    """Sizes of an attentive neural process."""

    heads: int = 8
    """Attention heads; they divide the width."""
    blocks: int = 1
    """Self-attention layers over the points, on each of the two paths."""


@dataclass(frozen=True)
class TNPConfig(CNPConfig):
    """Sizes of a transformer neural process."""

    width: int = 64
    """Width of every hidden layer and token."""
    heads: int = 4
    """Attention heads; they divide the width."""
    blocks: int = 6
    """Transformer layers."""
    hidden: int = 128
    """Hidden width of each layer's feed-forward."""


class CNP(nn.Module):
    """The mean r of MLP([x, y]) over the points; then MLP([x, r]) at each query."""

    def __init__(self, config: CNPConfig) -> None:
        super().__init__()
        self.config = config
        self.fourier = FourierEmbedding(config.fourier, config.x_dim)
        self.points = _mlp(self.fourier.width + config.y_dim, config)
        self.head, outputs = build_head(config.y_dim, config.rank, config.sigma_floor)
        self.decoder = _mlp(self.fourier.width + config.width, config, outputs)

    def predict(
        self, context: Observations, x: Float[Tensor, "B M X"], draws: int, generator: Generator | None
    ) -> GaussianMixture:
        """One hypothesis, K = 1, however many draws are asked for."""
        elements, mask = _elements(self.fourier, context)
        present = mask[..., None].to(elements.dtype)
        summary = (self.points(elements) * present).sum(1) / present.sum(1).clamp(min=1)
        summary = repeat(summary, "b d -> b m d", m=x.shape[1])
        return self.head(self.decoder(torch.cat([self.fourier(x), summary], dim=-1))[:, None])


class LatentPeer(nn.Module, ABC):
    """What NP and ANP share: one global latent, inferred alike from the context or from everything."""

    @abstractmethod
    def infer(self, observed: Observations) -> DiagonalGaussian:
        """The latent's Gaussian [B, dim] given what was observed."""

    @abstractmethod
    def decode(
        self, context: Observations, x: Float[Tensor, "B M X"], latents: Float[Tensor, "B K dim"]
    ) -> GaussianMixture:
        """The prediction under each draw of the latent."""

    def predict(
        self, context: Observations, x: Float[Tensor, "B M X"], draws: int, generator: Generator | None
    ) -> GaussianMixture:
        """The mixture over `draws` draws of the latent given the context."""
        return self.decode(context, x, _draw(self.infer(context), draws, generator))

    def posterior_predict(
        self,
        context: Observations,
        everything: Observations,
        targets: PointSet,
        draws: int,
        generator: Generator | None,
    ) -> tuple[GaussianMixture, PosteriorDraw]:
        """Predictions under latents drawn given context and targets together."""
        posterior, prior = self.infer(everything), self.infer(context)
        latents = _draw(posterior, draws, generator)
        levels, priors = ([_per_draw(gaussian, draws)] for gaussian in (posterior, prior))
        drawn = PosteriorDraw(latents[:, :, None], levels, priors)
        return self.decode(context, targets.cleared().x, latents), drawn


class NP(LatentPeer):
    """A latent z from the mean of MLP([x, y]) over the points; then MLP([x, z]) at each query."""

    def __init__(self, config: NPConfig) -> None:
        super().__init__()
        self.config = config
        self.fourier = FourierEmbedding(config.fourier, config.x_dim)
        self.points = _mlp(self.fourier.width + config.y_dim, config)
        self.latent = _latent(config)
        self.head, outputs = build_head(config.y_dim, config.rank, config.sigma_floor)
        self.decoder = _mlp(self.fourier.width + config.latent_dim, config, outputs)

    def infer(self, observed: Observations) -> DiagonalGaussian:
        """The latent's Gaussian [B, dim] given what was observed."""
        elements, mask = _elements(self.fourier, observed)
        return self.latent(self.points(elements), mask)

    def decode(
        self, context: Observations, x: Float[Tensor, "B M X"], latents: Float[Tensor, "B K dim"]
    ) -> GaussianMixture:
        """The prediction under each draw; the context speaks through the latent alone."""
        return self.head(self.decoder(_beside(self.fourier(x), latents)))


class ANP(LatentPeer):
    """Attention from each query to the points gives r(x), beside a latent z; then MLP([x, r(x), z])."""

    def __init__(self, config: ANPConfig) -> None:
        super().__init__()
        self.config = config
        self.fourier = FourierEmbedding(config.fourier, config.x_dim)
        width = config.width
        sizes = EncoderConfig(width, config.blocks, config.heads, 2 * width)
        self.points, self.latent_points = (
            _mlp(self.fourier.width + config.y_dim, config) for _path in range(2)
        )
        self.encoder, self.latent_encoder = (BottleneckEncoder(sizes) for _path in range(2))
        self.places = MLP(self.fourier.width, width, width)
        self.read = Attention(width, config.heads)
        self.latent = _latent(config)
        self.head, outputs = build_head(config.y_dim, config.rank, config.sigma_floor)
        self.decoder = _mlp(self.fourier.width + width + config.latent_dim, config, outputs)

    def infer(self, observed: Observations) -> DiagonalGaussian:
        """The latent's Gaussian [B, dim] given what was observed."""
        elements, mask = _elements(self.fourier, observed)
        tokens = self.latent_encoder(Tokens(self.latent_points(elements), mask))
        return self.latent(tokens.values, tokens.mask)

    def decode(
        self, context: Observations, x: Float[Tensor, "B M X"], latents: Float[Tensor, "B K dim"]
    ) -> GaussianMixture:
        """The prediction under each draw; what was read of the context is the same under all."""
        elements, mask = _elements(self.fourier, context)
        tokens = self.encoder(Tokens(self.points(elements), mask))
        features = self.fourier(x)
        read = self.read(self.places(features), self.read.keys_values(tokens.values), tokens.mask)
        return self.head(self.decoder(_beside(torch.cat([features, read], dim=-1), latents)))


class TNP(nn.Module):
    """A transformer over points (x, y, 1) and queries (x, 0, 0), in which all read the points only."""

    def __init__(self, config: TNPConfig) -> None:
        super().__init__()
        self.config = config
        self.fourier = FourierEmbedding(config.fourier, config.x_dim)
        self.embed = _mlp(self.fourier.width + config.y_dim + 1, config)
        # Read beside the points, so that there is always something to read.
        self.nothing = nn.Parameter(0.02 * torch.randn(config.width))
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(config.width, config.heads, config.hidden) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head, outputs = build_head(config.y_dim, config.rank, config.sigma_floor)
        self.output = MLP(config.width, config.hidden, outputs)

    def predict(
        self, context: Observations, x: Float[Tensor, "B M X"], draws: int, generator: Generator | None
    ) -> GaussianMixture:
        """One hypothesis, K = 1, however many draws are asked for."""
        elements, mask = _elements(self.fourier, context)
        known = torch.cat([elements, torch.ones_like(elements[..., :1])], dim=-1)
        asked = self.fourier(x)
        unknown = asked.new_zeros(*asked.shape[:2], self.config.y_dim + 1)
        embedded = self.embed(torch.cat([known, torch.cat([asked, unknown], dim=-1)], dim=1))
        nothing = repeat(self.nothing, "d -> b 1 d", b=len(mask)).to(embedded.dtype)
        values = torch.cat([nothing, embedded], dim=1)
        # Nobody reads a query, so that queries are independent of each other and of their number.
        read = torch.cat([mask.new_ones(len(mask), 1), mask, mask.new_zeros(x.shape[:2])], dim=1)
        for block in self.blocks:
            values = block(values, read)
        return self.head(self.output(self.norm(values[:, values.shape[1] - x.shape[1] :]))[:, None])


def _mlp(inputs: int, config: CNPConfig, outputs: int | None = None) -> MLP:
    hidden = [config.width] * (config.layers - 1)
    return MLP(inputs, *hidden, config.width if outputs is None else outputs)


def _latent(config: NPConfig) -> SetGaussian:
    return SetGaussian(config.width, LatentConfig(1, config.latent_dim, config.width, config.min_std))


def _elements(
    fourier: FourierEmbedding, observed: Observations
) -> tuple[Float[Tensor, "B N E"], Bool[Tensor, "B N"]]:
    """[features of x, y] of each point, and which points are present."""
    if not isinstance(observed, PointSet):
        raise DataError("The peers read sets of points, and a grid was given. Pass its points() instead.")
    points = observed.cleared()
    return torch.cat([fourier(points.x), points.y], dim=-1), points.mask


def _per_draw(gaussian: DiagonalGaussian, draws: int) -> DiagonalGaussian:
    return DiagonalGaussian(*(repeat(part, "b d -> b k d", k=draws) for part in gaussian))


def _draw(gaussian: DiagonalGaussian, draws: int, generator: Generator | None) -> Float[Tensor, "B K dim"]:
    return _per_draw(gaussian, draws).sample(generator)


def _beside(features: Float[Tensor, "B M F"], latents: Float[Tensor, "B K dim"]) -> Float[Tensor, "B K M E"]:
    """Each query's features with each draw's latent."""
    queries, draws = features.shape[1], latents.shape[1]
    features = repeat(features, "b m f -> b k m f", k=draws)
    return torch.cat([features, repeat(latents, "b k d -> b k m d", m=queries)], dim=-1)
