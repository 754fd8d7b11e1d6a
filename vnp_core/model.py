"""Versatile Neural Processes (Guo et al. 2023) for functions of any number of inputs and outputs.

    tokens    = model.encode(context)
    posterior = model.infer(tokens)
    latents   = posterior.sample(8, generator)      # or posterior.mean()
    field     = model.decode(tokens, latents)
    y         = field(x)                            # a mixture of Gaussians at each x

In the `consistent` mode nothing after `infer` depends on what is asked.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vnp_core.correlated import LowRankHead, build_head
from vnp_core.decoder import Decoder, DecoderCache, DecoderConfig, LatentSource
from vnp_core.encoder import BottleneckEncoder, EncoderConfig
from vnp_core.errors import ConfigError
from vnp_core.latent_sources import DrawnLatents, PooledLatents, QueriedLatents
from vnp_core.latents import LatentConfig, LatentHierarchy, PosteriorDraw, standard_noise
from vnp_core.likelihoods import GaussianMixture
from vnp_core.modulation import ModulatedWeights
from vnp_core.observations import Observations, PointSet
from vnp_core.rotary import Rotary, RotaryConfig
from vnp_core.tokenizers import PointTokenizerConfig, TokenizerConfig, build_tokenizer
from vnp_core.tokens import Tokens


@dataclass(frozen=True)
class ProcessConfig:
    """A whole model."""

    x_dim: int = 1
    """Coordinates of a query."""
    y_dim: int = 1
    """Channels of a value."""
    mode: Literal["consistent", "paper"] = "consistent"
    """Latents from the context alone, so that one draw is one function; or from the queries, as published."""
    sigma_floor: float = 0.0
    """Smallest standard deviation of a prediction."""
    rank: int = 0
    """Rank of the targets' covariance under one draw; 0 makes them independent."""
    rotary: RotaryConfig | None = None
    """Let attention, and the factors of a correlated head, see places relative to each other."""
    factor_rotary: RotaryConfig | None = None
    """Frequencies of the factors alone; None takes those of `rotary`."""
    tokenizer: TokenizerConfig = field(default_factory=PointTokenizerConfig)
    """From observations to tokens."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Self-attention over the tokens."""
    latents: LatentConfig = field(default_factory=LatentConfig)
    """The stack of global latents."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """From tokens and latents to the function."""


class Process(Protocol):
    """Whatever predicts targets from a context: our own model, or a peer of it."""

    def predict(
        self, context: Observations, x: Float[Tensor, "B M X"], draws: int, generator: Generator | None
    ) -> GaussianMixture:
        """The mixture over `draws` draws at each x; over a single one where the model has no latents."""
        ...


@runtime_checkable
class LatentProcess(Process, Protocol):
    """A process with latents, and with a posterior of them to train by."""

    def posterior_predict(
        self,
        context: Observations,
        everything: Observations,
        targets: PointSet,
        draws: int,
        generator: Generator | None,
    ) -> tuple[GaussianMixture, PosteriorDraw]:
        """Predictions at the targets under latents that have seen them, with what the ELBO needs of those."""
        ...


class VersatileNeuralProcess(nn.Module):
    """A distribution over functions, given what was observed of one."""

    def __init__(self, config: ProcessConfig) -> None:
        super().__init__()
        self.config = config
        if config.rotary is not None and getattr(config.tokenizer, "bottleneck", 0):
            raise ConfigError(
                "The tokens of a bottleneck lie nowhere, so rotary cannot turn them. Set tokenizer.bottleneck"
                " to 0, or leave rotary out."
            )
        self.tokenizer = build_tokenizer(config.tokenizer, config.x_dim, config.y_dim, config.encoder.width)
        self.encoder = BottleneckEncoder(
            config.encoder, self._rotary(config.encoder.width // config.encoder.heads)
        )
        self.latents: LatentHierarchy | PooledLatents
        if config.mode == "consistent":
            self.latents = LatentHierarchy(config.latents, config.encoder.width)
        else:
            self.latents = PooledLatents(config.latents, config.decoder.width, config.y_dim, config.y_dim)
        self.head, outputs = build_head(config.y_dim, config.rank, config.sigma_floor)
        factors = config.factor_rotary or config.rotary
        self.factor_rotary = (
            Rotary(factors, config.x_dim, config.rank, even=True) if config.rank and factors else None
        )
        self.decoder = Decoder(
            config.decoder,
            config.latents,
            config.x_dim,
            config.encoder.width,
            outputs,
            self._rotary(config.decoder.width // config.decoder.heads),
        )

    def _rotary(self, depth: int) -> Rotary | None:
        rotary = self.config.rotary
        return None if rotary is None else Rotary(rotary, self.config.x_dim, depth)

    def encode(self, context: Observations) -> Tokens:
        """The context's tokens."""
        return self.encoder(self.tokenizer(context))

    def infer(self, tokens: Tokens) -> "LatentPosterior":
        """What these tokens say about the latents."""
        return LatentPosterior(self, tokens)

    def decode(self, tokens: Tokens, latents: Float[Tensor, "B K L dim"], *, ready: bool = False) -> "Field":
        """K functions a scene. In the `consistent` mode no query sees another: chunks change nothing.

        ready: make what depends on the latents alone once, and not at each of many calls.
        """
        cache = self.decoder.cache(tokens)
        weights = self.decoder.modulate(latents, ready=ready) if self.config.mode == "consistent" else None
        return Field(self, cache, latents, weights)

    def predict(
        self, context: Observations, x: Float[Tensor, "B M X"], draws: int, generator: Generator | None
    ) -> GaussianMixture:
        """The five lines above in one call."""
        tokens = self.encode(context)
        return self.decode(tokens, self.infer(tokens).sample(draws, generator))(x)

    def posterior_predict(
        self,
        context: Observations,
        everything: Observations,
        targets: PointSet,
        draws: int,
        generator: Generator | None,
    ) -> tuple[GaussianMixture, PosteriorDraw]:
        """Predictions at the targets under posterior latents, with what the ELBO needs of those.

        `everything` is context and targets together, as the tokenizer reads them: `context.cat(targets)` for
        points, the grid with both observed for patches. The `paper` mode does not look at it.
        """
        targets = targets.cleared()
        tokens = self.encode(context)
        if isinstance(self.latents, LatentHierarchy):
            drawn = self.latents.draw_with_prior(self.encode(everything), tokens, generator, draws)
            return self.decode(tokens, drawn.latents)(targets.x), drawn
        noise = self.infer(tokens).sample(draws, generator)
        source = QueriedLatents(self.latents, self.decoder, noise, truth=targets.y, mask=targets.mask)
        prediction = self.query(targets.x, self.decoder.cache(tokens), source)
        return prediction, source.drawn()

    def query(self, x: Float[Tensor, "B M X"], cache: DecoderCache, source: LatentSource) -> GaussianMixture:
        """What is predicted at x, given the latents of a source."""
        raw = self.decoder(x, cache, source)
        raw = rearrange(raw, "(b k) m y -> b k m y", b=x.shape[0])
        if isinstance(self.head, LowRankHead):
            return self.head(raw, None if self.factor_rotary is None else self.factor_rotary(x))
        return self.head(raw)


@dataclass(frozen=True)
class LatentPosterior:
    """A distribution over the latents of B functions.

    In the `paper` mode latents exist only for given queries: a draw is the noise that will make them.
    """

    model: VersatileNeuralProcess
    tokens: Tokens

    def sample(self, draws: int, generator: Generator | None) -> Float[Tensor, "B K L dim"]:
        """`draws` draws a function; all are the mean where the generator is None."""
        networks = self.model.latents
        if isinstance(networks, LatentHierarchy):
            return networks.draw(self.tokens, generator=generator, draws=draws).latents
        config = self.model.config.latents
        shape = (self.tokens.values.shape[0], draws, config.levels, config.dim)
        return standard_noise(shape, generator, next(self.model.decoder.parameters()))

    def mean(self) -> Float[Tensor, "B 1 L dim"]:
        """The single best guess: the mean at every level, given the means above it."""
        return self.sample(1, None)


@dataclass(frozen=True)
class Field:
    """K functions a scene. In the `consistent` mode no query sees another, so chunks and order change
    nothing.
    """

    model: VersatileNeuralProcess
    cache: DecoderCache
    latents: Float[Tensor, "B K L dim"]
    weights: list[ModulatedWeights] | None

    def __call__(self, x: Float[Tensor, "B M X"]) -> GaussianMixture:
        """The predictive distribution at x."""
        return self.model.query(x, self.cache, self.source())

    def means(self, x: Float[Tensor, "B M X"]) -> Float[Tensor, "B K M Y"]:
        """The `means` of the prediction at x alone, without the work of its scales and factors."""
        raw = self.model.decoder.first_outputs(x, self.cache, self.source(), self.model.config.y_dim)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        return rearrange(raw, "(b k) m y -> b k m y", b=x.shape[0])

    def source(self) -> LatentSource:
        """Where the decoder gets its latents from: made beforehand, or from each call's own queries."""
        networks = self.model.latents
        if isinstance(networks, PooledLatents):
            return QueriedLatents(networks, self.model.decoder, self.latents)
        return DrawnLatents(self.weights or [])
