"""The paper's source of latents: the released computation written out, and what it pools."""

import torch

from vnp_core.decoder import Decoder, DecoderConfig
from vnp_core.fourier import FourierConfig
from vnp_core.latent_sources import PooledLatents, QueriedLatents
from vnp_core.latents import LatentConfig
from vnp_core.tokens import Tokens

LATENTS = LatentConfig(levels=2, dim=3, hidden=10)
WIDTH, OUTPUTS = 8, 4


def made(attention: str = "post_norm") -> Decoder:
    torch.manual_seed(0)
    config = DecoderConfig(WIDTH, FourierConfig(count=3, octaves=2.0), attention, 2, 2, 12)
    return Decoder(config, LATENTS, x_dim=2, token_width=6, outputs=OUTPUTS).double()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pooled() -> PooledLatents:
    torch.manual_seed(1)
    return PooledLatents(LATENTS, WIDTH, OUTPUTS, observed=OUTPUTS).double()


def _matrix(layer, style):
    return layer.matrix(layer.modulate(style))[0]


def released_forward(decoder, networks, x, tokens, epsilon, truth):
    """The released computation for one scene and one draw, in order, as one function."""
    embedding = decoder.embed(decoder.fourier(x))
    state = torch.zeros_like(embedding)
    for block in decoder.attention:
        attended = block.attention(state + embedding, block.attention.keys_values(tokens))
        state = block.attention_norm(state + attended)
        state = block.feed_forward_norm(state + block.feed_forward(state))
    y = decoder.after_attention(state)
    kls = []
    for level, block in enumerate(decoder.levels):
        seen = networks.predict[level](y)
        statistics = []
        for network, inputs in (
            (networks.prior[level], seen),
            (networks.posterior[level], torch.cat([seen, truth], -1)),
        ):
            mean, raw = network.summary(network.element(inputs).mean(1)).chunk(2, -1)
            statistics.append((mean, 0.1 + 0.9 * torch.sigmoid(raw)))
        (p_mean, p_std), (q_mean, q_std) = statistics
        kls.append(
            (torch.log(p_std / q_std) + (q_std**2 + (q_mean - p_mean) ** 2) / (2 * p_std**2) - 0.5).sum(-1)
        )
        style = block.style(q_mean + q_std * epsilon[:, level])
        y = y + block.residual.mlp(torch.cat([embedding, y], -1))
        hidden = y @ _matrix(block.modulated.first, style).T + block.modulated.bias
        hidden = 2**0.5 * torch.where(hidden > 0, hidden, 0.2 * hidden)
        y = y + hidden @ _matrix(block.modulated.second, style).T
    return decoder.output(y), torch.stack(kls, -1)


def test_the_paper_mode_is_the_released_computation_in_order():
    decoder, networks = made(), pooled()
    x, tokens, truth = noise(1, 5, 2), noise(1, 7, 6, seed=1), noise(1, 5, OUTPUTS, seed=2)
    epsilon = noise(1, 1, 2, 3, seed=3)
    source = QueriedLatents(networks, decoder, epsilon, truth=truth)
    answer = decoder(x, decoder.cache(Tokens.present(tokens)), source)
    expected, kl = released_forward(decoder, networks, x, tokens, epsilon[:, 0], truth)
    torch.testing.assert_close(answer, expected)
    torch.testing.assert_close(source.drawn().kl[:, 0], kl)


def test_without_the_truth_latents_come_from_the_prior():
    decoder, networks = made(), pooled()
    source = QueriedLatents(networks, decoder, torch.zeros(1, 1, 2, 3, dtype=torch.float64))
    decoder(noise(1, 5, 2), decoder.cache(Tokens.present(noise(1, 7, 6))), source)
    assert not source.posteriors
    for latent, prior in zip(source.latents, source.priors, strict=True):
        assert torch.equal(latent, prior.mean)


def test_masked_targets_do_not_change_the_pooled_latents():
    decoder, networks = made(), pooled()
    cache = decoder.cache(Tokens.present(noise(1, 7, 6)))
    x, truth, epsilon = noise(1, 5, 2), noise(1, 5, OUTPUTS, seed=1), noise(1, 2, 2, 3, seed=2)
    alone = decoder(x, cache, QueriedLatents(networks, decoder, epsilon, truth=truth))
    padded_x, padded_truth = (torch.cat([part, 9 * torch.ones_like(part[:, :2])], 1) for part in (x, truth))
    mask = torch.tensor([[True] * 5 + [False] * 2])
    source = QueriedLatents(networks, decoder, epsilon, truth=padded_truth, mask=mask)
    torch.testing.assert_close(decoder(padded_x, cache, source)[:, :5], alone)


def test_what_is_observed_may_differ_from_what_is_predicted():
    decoder = made()
    torch.manual_seed(1)
    networks = PooledLatents(LATENTS, WIDTH, OUTPUTS, observed=3).double()

    def observe(raw: torch.Tensor) -> torch.Tensor:  # three queries make one observation
        return raw[..., :3].unflatten(1, (2, 3)).mean(2)

    source = QueriedLatents(networks, decoder, noise(1, 1, 2, 3), observe=observe, truth=noise(1, 2, 3))
    answer = decoder(noise(1, 6, 2), decoder.cache(Tokens.present(noise(1, 7, 6))), source)
    assert answer.shape == (1, 6, OUTPUTS)
