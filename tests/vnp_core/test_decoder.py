"""The decoder: draws side by side, under both latent sources."""

import pytest
import torch

from vnp_core.decoder import Decoder, DecoderConfig, per_draw
from vnp_core.fourier import FourierConfig
from vnp_core.latent_sources import DrawnLatents, PooledLatents, QueriedLatents
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


@pytest.mark.parametrize("attention", ["post_norm", "pre_norm"])
@pytest.mark.parametrize("mode", ["paper", "consistent"])
def test_draws_side_by_side_are_what_each_gives_alone(attention, mode):
    decoder, networks = made(attention), pooled()
    cache = decoder.cache(Tokens.present(noise(2, 7, 6)))
    x, latents = noise(2, 5, 2), noise(2, 3, 2, 3, seed=1)

    def decode(chosen: torch.Tensor) -> torch.Tensor:
        if mode == "paper":
            source = QueriedLatents(networks, decoder, chosen)
        else:
            source = DrawnLatents(decoder.modulate(chosen))
        return decoder(x, cache, source).unflatten(0, chosen.shape[:2])

    together = decode(latents)
    for draw in range(3):
        torch.testing.assert_close(together[:, draw : draw + 1], decode(latents[:, draw : draw + 1]))


def test_rows_are_repeated_draw_after_draw_within_a_scene():
    assert per_draw(torch.tensor([[1], [2]]), 4).tolist() == [[1], [1], [2], [2]]
    same = torch.zeros(4, 1)
    assert per_draw(same, 4) is same
