"""The short stack of global Gaussian latents, top level first (Guo et al. 2023, section 3.3).

Level l is drawn given all levels above it: q(z_1..z_L | set) = prod_l q(z_l | z_<l, set).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from vnp_core.attention import Attention
from vnp_core.mlp import MLP
from vnp_core.tokens import Tokens


@dataclass(frozen=True)
class LatentConfig:
    """Sizes of the latent stack."""

    levels: int = 2
    """Number of levels L; 0 makes the model deterministic."""
    dim: int = 32
    """Width of each level's latent."""
    hidden: int = 128
    """Width of the networks that infer the latents."""
    min_std: float = 0.1
    """Smallest standard deviation of prior and posterior; the largest is 1."""


class DiagonalGaussian(NamedTuple):
    """A Gaussian with independent coordinates, in float32 or better."""

    mean: Float[Tensor, "*batch dim"]
    std: Float[Tensor, "*batch dim"]

    def kl(self, other: "DiagonalGaussian") -> Float[Tensor, "*batch"]:
        """KL(self || other) in nats, summed over the coordinates; 0 only where both are equal."""
        variance_ratio = (self.std / other.std).square()
        shift = ((self.mean - other.mean) / other.std).square()
        return (0.5 * (variance_ratio - 1 - variance_ratio.log() + shift)).sum(-1)

    def at(self, noise: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The point that lies `noise` standard deviations from the mean; noise 0 is the mean itself."""
        return self.mean + self.std * noise

    def sample(self, generator: Generator | None) -> Float[Tensor, "*batch dim"]:
        """One reparametrised draw; the mean where the generator is None."""
        return self.at(standard_noise(self.mean.shape, generator, self.mean))

    def log_prob(self, value: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Log-density in nats, summed over the coordinates."""
        z = (value - self.mean) / self.std
        return (-0.5 * z.square() - self.std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def standard_noise(shape: Sequence[int], generator: Generator | None, like: Tensor) -> Tensor:
    """Standard normal noise from this generator, wherever `like` lives; zeros where the generator is None.

    Drawn on the generator's own device, so that a CPU generator gives the same numbers to every device.
    """
    if generator is None:
        return torch.zeros(tuple(shape), dtype=like.dtype, device=like.device)
    noise = torch.randn(tuple(shape), generator=generator, device=generator.device)
    return noise.to(device=like.device, dtype=like.dtype)


def bounded_gaussian(parameters: Float[Tensor, "*batch 2d"], min_std: float) -> DiagonalGaussian:
    """A mean and a raw scale to a Gaussian: std = min_std + (1 - min_std) sigmoid(raw)."""
    parameters = parameters.to(torch.promote_types(parameters.dtype, torch.float32))
    mean, raw = parameters.chunk(2, dim=-1)
    return DiagonalGaussian(mean, min_std + (1 - min_std) * raw.sigmoid())


class LatentDraw(NamedTuple):
    """K draws of all levels, and the Gaussian that each level was drawn from, given the levels above."""

    latents: Float[Tensor, "B K L dim"]
    levels: list[DiagonalGaussian]  # L of [B, K, dim]

    def log_prob(self) -> Float[Tensor, "B K"]:
        """Log-density of the drawn latents under the Gaussians that they came from."""
        return stack_log_prob(self.levels, self.latents)


def stack_log_prob(
    levels: Sequence[DiagonalGaussian], latents: Float[Tensor, "B K L dim"]
) -> Float[Tensor, "B K"]:
    """Log-density of a stack of latents: the sum over its levels, each given those above."""
    parts = [gaussian.log_prob(latents[:, :, level]) for level, gaussian in enumerate(levels)]
    return torch.stack(parts).sum(0) if parts else latents.sum(dim=(2, 3))


class PosteriorDraw(NamedTuple):
    """K draws from the posterior, with posterior and prior at each level given the same levels above."""

    latents: Float[Tensor, "B K L dim"]
    levels: list[DiagonalGaussian]  # L of [B, K, dim]
    priors: list[DiagonalGaussian]  # L of [B, K, dim]

    @property
    def kl(self) -> Float[Tensor, "B K L"]:
        """KL(posterior || prior) of each level, in nats."""
        return stack_kl(self.levels, self.priors, self.latents)

    def log_posterior(self) -> Float[Tensor, "B K"]:
        """Log-density of the latents under the posterior that they came from."""
        return stack_log_prob(self.levels, self.latents)

    def log_prior(self) -> Float[Tensor, "B K"]:
        """Log-density of the latents under the prior."""
        return stack_log_prob(self.priors, self.latents)


class LatentHierarchy(nn.Module):
    """q(z | tokens): one network, the prior on the context's tokens and the posterior on everything's.

    The `consistent` mode: neither depends on where the function is queried, so one draw is one function.
    """

    def __init__(self, config: LatentConfig, token_width: int) -> None:
        super().__init__()
        self.config = config
        heads = math.gcd(4, config.hidden)
        self.queries = nn.Parameter(torch.randn(config.levels, config.hidden))
        self.pool = Attention(config.hidden, heads, token_width)
        self.networks = nn.ModuleList(
            MLP(config.hidden + level * config.dim, config.hidden, 2 * config.dim, activation=nn.GELU)
            for level in range(config.levels)
        )

    def summaries(self, tokens: Tokens) -> Float[Tensor, "B L hidden"]:
        """One vector a level: the tokens pooled by attention with the level's own learned query."""
        queries = repeat(self.queries, "l d -> b l d", b=tokens.values.shape[0])
        return self.pool(queries, self.pool.keys_values(tokens.values.to(queries.dtype)), tokens.mask)

    def level(
        self, level: int, summary: Float[Tensor, "B hidden"], above: Float[Tensor, "B K above"]
    ) -> DiagonalGaussian:
        """q(z_l | z_<l, set) for K different stacks of levels above."""
        summary = repeat(summary, "b d -> b k d", k=above.shape[1])
        return bounded_gaussian(self.networks[level](torch.cat([summary, above], -1)), self.config.min_std)

    def forward(self, tokens: Tokens, noise: Float[Tensor, "B K L dim"]) -> LatentDraw:
        """The draw that this standard noise gives, level by level."""
        with torch.autocast(tokens.values.device.type, enabled=False):
            summaries = self.summaries(tokens)
            above = noise.new_zeros(*noise.shape[:2], 0)
            levels: list[DiagonalGaussian] = []
            for level in range(self.config.levels):
                gaussian = self.level(level, summaries[:, level], above)
                levels.append(gaussian)
                above = torch.cat([above, gaussian.at(noise[:, :, level])], dim=-1)
        return LatentDraw(above.reshape(noise.shape), levels)

    def given(self, tokens: Tokens, latents: Float[Tensor, "B K L dim"]) -> list[DiagonalGaussian]:
        """q(z_l | z_<l, tokens) at every level, for latents that came from elsewhere."""
        with torch.autocast(tokens.values.device.type, enabled=False):
            summaries = self.summaries(tokens)
            return [
                self.level(
                    level, summaries[:, level], rearrange(latents[:, :, :level], "b k l d -> b k (l d)")
                )
                for level in range(self.config.levels)
            ]

    def noise(self, tokens: Tokens, generator: Generator | None, draws: int) -> Float[Tensor, "B K L dim"]:
        """Standard noise for `draws` draws a scene; zeros, which give the mean, without a generator."""
        shape = (tokens.values.shape[0], draws, self.config.levels, self.config.dim)
        return standard_noise(shape, generator, self.queries)

    def draw(self, tokens: Tokens, *, generator: Generator | None = None, draws: int = 1) -> LatentDraw:
        """`draws` draws a scene; without a generator the mean at every level, given the means above it."""
        return self(tokens, self.noise(tokens, generator, draws))

    def draw_with_prior(
        self, posterior_tokens: Tokens, prior_tokens: Tokens, generator: Generator | None, draws: int = 1
    ) -> PosteriorDraw:
        """Draws from the posterior, with the prior at each level given the same levels above."""
        draw = self.draw(posterior_tokens, generator=generator, draws=draws)
        priors = self.given(prior_tokens, draw.latents)
        return PosteriorDraw(draw.latents, draw.levels, priors)


def stack_kl(
    posteriors: Sequence[DiagonalGaussian],
    priors: Sequence[DiagonalGaussian],
    latents: Float[Tensor, "B K L dim"],
) -> Float[Tensor, "B K L"]:
    """KL(posterior || prior) of each level in nats; `latents` says the shape where there are no levels."""
    parts = [posterior.kl(prior) for posterior, prior in zip(posteriors, priors, strict=True)]
    return torch.stack(parts, dim=-1) if parts else latents.sum(dim=-1)


class SetGaussian(nn.Module):
    """A Gaussian from an unordered set: MLP of every element, their mean, then an MLP to mean and scale.

    The released model has two a level: the prior sees predictions at the queried targets, the posterior sees
    them beside the truth.
    """

    def __init__(self, element_width: int, config: LatentConfig) -> None:
        super().__init__()
        self.min_std = config.min_std
        self.element = MLP(element_width, config.hidden, config.hidden)
        self.summary = MLP(config.hidden, config.hidden, 2 * config.dim)

    def forward(
        self, elements: Float[Tensor, "B M E"], mask: Bool[Tensor, "B M"] | None = None
    ) -> DiagonalGaussian:
        """The Gaussian [B, dim] of these elements, of which `mask` says which are present."""
        features = self.element(elements)
        if mask is None:
            pooled = features.mean(1)
        else:
            weights = mask[..., None].to(features.dtype)
            pooled = (features * weights).sum(1) / weights.sum(1).clamp(min=1)
        return bounded_gaussian(self.summary(pooled), self.min_std)
