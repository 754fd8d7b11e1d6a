"""Where the decoder's latents come from: all in which the `consistent` and the `paper` mode differ."""

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vnp_core.decoder import Decoder, per_draw
from vnp_core.latents import DiagonalGaussian, LatentConfig, PosteriorDraw, SetGaussian
from vnp_core.mlp import MLP
from vnp_core.modulation import ModulatedWeights


class DrawnLatents:
    """The `consistent` source: weights made beforehand from draws that know nothing of the queries."""

    def __init__(self, weights: list[ModulatedWeights]) -> None:
        self.weights = weights

    def __call__(self, level: int, state: Float[Tensor, "B_or_BK M D"]) -> ModulatedWeights:
        """The weights of this level, whatever the state."""
        return self.weights[level]


Observe = Callable[[Float[Tensor, "B M O"]], Float[Tensor, "B N Y"]]
"""From predictions at the queries to what would be observed there: in 3D, to the colour of each ray."""


class PooledLatents(nn.Module):
    """The networks of the `paper` mode: at each level an intermediate prediction, a prior and a posterior.

    The prior pools what would be observed at the queried targets; the posterior pools that and the truth.
    """

    def __init__(self, config: LatentConfig, width: int, outputs: int, observed: int) -> None:
        super().__init__()
        levels = range(config.levels)
        self.predict = nn.ModuleList(MLP(width, width, width, outputs) for _ in levels)
        self.prior = nn.ModuleList(SetGaussian(observed, config) for _ in levels)
        self.posterior = nn.ModuleList(SetGaussian(2 * observed, config) for _ in levels)


class QueriedLatents:
    """The `paper` source: level by level, latents from the prior (or posterior) over the queried targets.

    `noise` [B, K, L, dim] makes the draws; zeros give the mean. With `truth` [B, N, Y] the latents come from
    the posterior. `mask` [B, N] says which targets are present. What was inferred is kept in `priors` and
    `posteriors`.
    """

    def __init__(
        self,
        networks: PooledLatents,
        decoder: Decoder,
        noise: Float[Tensor, "B K L dim"],
        *,
        observe: Observe | None = None,
        truth: Float[Tensor, "B N Y"] | None = None,
        mask: Bool[Tensor, "B N"] | None = None,
    ) -> None:
        self.networks, self.decoder, self.noise = networks, decoder, noise
        self.observe, self.truth, self.mask = observe, truth, mask
        self.priors: list[DiagonalGaussian] = []
        self.posteriors: list[DiagonalGaussian] = []
        self.latents: list[Tensor] = []

    def __call__(self, level: int, state: Float[Tensor, "B_or_BK M D"]) -> ModulatedWeights:
        """Predicts, pools, draws, modulates."""
        return self.given(level, self.networks.predict[level](state))

    def given(self, level: int, prediction: Float[Tensor, "B_or_BK M O"]) -> ModulatedWeights:
        """The weights of one level from the intermediate prediction at the queries."""
        rows = prediction.shape[0]
        seen = prediction if self.observe is None else self.observe(prediction)
        mask = None if self.mask is None else per_draw(self.mask, rows)
        drawn_from = self._per_draw(self.networks.prior[level](seen, mask))
        self.priors.append(drawn_from)
        if self.truth is not None:
            pairs = torch.cat([seen, per_draw(self.truth, rows)], dim=-1)
            drawn_from = self._per_draw(self.networks.posterior[level](pairs, mask))
            self.posteriors.append(drawn_from)
        latent = drawn_from.at(self.noise[:, :, level])
        self.latents.append(latent)
        return self.decoder.modulate_level(level, rearrange(latent, "b k d -> (b k) d"))

    def drawn(self) -> PosteriorDraw:
        """What the ELBO needs of the latents, after a decoding with the truth."""
        latents = torch.stack(self.latents, dim=2) if self.latents else self.noise
        return PosteriorDraw(latents, self.posteriors, self.priors)

    def _per_draw(self, gaussian: DiagonalGaussian) -> DiagonalGaussian:
        batch, draws = self.noise.shape[:2]
        mean, std = (per_draw(part, batch * draws) for part in gaussian)
        return DiagonalGaussian(mean.unflatten(0, (batch, draws)), std.unflatten(0, (batch, draws)))
