"""Rotations by hand, and what they are for: answers that do not depend on where the origin is."""

from dataclasses import replace

import pytest
import torch

from vnp_core.attention import Attention
from vnp_core.decoder import DecoderConfig
from vnp_core.encoder import EncoderConfig
from vnp_core.errors import ConfigError
from vnp_core.fourier import FourierConfig
from vnp_core.latents import LatentConfig
from vnp_core.model import ProcessConfig, VersatileNeuralProcess
from vnp_core.observations import Grid, PointSet, grid_coordinates
from vnp_core.rotary import Rotary, RotaryConfig
from vnp_core.tokenizers import PatchTokenizerConfig, PointTokenizerConfig

NOTHING = FourierConfig(count=0, raw=False)


def config(**changes) -> ProcessConfig:
    """A model that sees coordinates through rotations alone."""
    relative = ProcessConfig(
        rank=4,
        rotary=RotaryConfig(0.5, 4.0),
        tokenizer=PointTokenizerConfig("points", NOTHING, hidden=16),
        encoder=EncoderConfig(width=16, layers=2, heads=2, hidden=24),
        latents=LatentConfig(levels=1, dim=4, hidden=16),
        decoder=DecoderConfig(width=16, fourier=NOTHING, layers=2, heads=2, hidden=24),
    )
    return replace(relative, **changes)


def made(chosen: ProcessConfig) -> VersatileNeuralProcess:
    torch.manual_seed(0)
    return VersatileNeuralProcess(chosen).double()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def points(batch: int = 2, count: int = 5, seed: int = 0, x_dim: int = 1) -> PointSet:
    return PointSet.present(noise(batch, count, x_dim, seed=seed), noise(batch, count, 1, seed=seed + 100))


def test_a_turn_is_the_product_of_complex_numbers_and_turning_back_undoes_it():
    rotary = Rotary(RotaryConfig(0.5, 2.0), x_dim=2, depth=12).double()
    x, values = noise(1, 3, 2), noise(1, 2, 3, 12, seed=1)
    turned = rotary(x).turn(values)
    frequencies = [0.5, 1.0, 2.0]
    for head in range(2):
        for n in range(3):
            angles = [float(x[0, n, axis]) * f for axis in range(2) for f in frequencies]
            for i, angle in enumerate(angles):
                number = complex(values[0, head, n, i], values[0, head, n, i + 6])
                expected = number * complex(torch.tensor(angle).cos(), torch.tensor(angle).sin())
                assert turned[0, head, n, i].item() == pytest.approx(expected.real, abs=1e-5)
                assert turned[0, head, n, i + 6].item() == pytest.approx(expected.imag, abs=1e-5)
    torch.testing.assert_close(rotary(x).turn_back(turned), values)


def test_turned_attention_depends_on_differences_of_places_alone():
    rotary, layer = Rotary(RotaryConfig(), 1, 4).double(), Attention(8, 2).double()
    queries, context = noise(2, 3, 8), noise(2, 5, 8, seed=1)
    asked, places = noise(2, 3, 1, seed=2), noise(2, 5, 1, seed=3)

    def answer(shift: float) -> torch.Tensor:
        keys = layer.keys_values(context, rotary(places + shift))
        return layer(queries, keys, None, rotary(asked + shift))

    torch.testing.assert_close(answer(0.7), answer(0.0))
    plain = layer(queries, layer.keys_values(context))
    assert (answer(0.0) - plain).abs().max() > 1e-3


def test_a_model_of_relative_places_gives_the_same_answers_wherever_the_origin_is():
    model, context, targets = made(config()), points(), points(2, 6, seed=3)
    moved = PointSet(context.x + 0.3, context.y, context.mask)
    here = model.predict(context, targets.x, 3, seeded())
    there = model.predict(moved, targets.x + 0.3, 3, seeded())
    torch.testing.assert_close(there.means, here.means)
    torch.testing.assert_close(there.stds, here.stds)
    torch.testing.assert_close(there.joint_log_probs(targets.y), here.joint_log_probs(targets.y))
    wider = PointSet(1.3 * context.x, context.y, context.mask)
    assert (model.predict(wider, 1.3 * targets.x, 3, seeded()).means - here.means).abs().max() > 1e-6


def test_without_a_context_near_and_far_targets_still_covary_differently():
    model = made(config())
    prediction = model.predict(points(1, 0), torch.tensor([[[0.0], [0.1], [3.0]]]).double(), 1, None)
    factors = prediction.factors[0, 0, :, 0]
    covariance = factors @ factors.T
    assert covariance[0, 1] > covariance[0, 2] + 1e-6


def test_padding_is_invisible_and_an_empty_context_legal():
    model, context, x = made(config()), points(), points(2, 6, seed=3).x
    nan = torch.full((2, 3, 1), torch.nan, dtype=torch.float64)
    padding = PointSet(nan, nan, torch.zeros(2, 3, dtype=torch.bool))
    plain, padded = (model.predict(given, x, 2, seeded()) for given in (context, context.cat(padding)))
    torch.testing.assert_close(padded.means, plain.means)
    torch.testing.assert_close(padded.stds, plain.stds)
    empty, all_padding = (model.predict(given, x, 2, seeded()) for given in (points(2, 0), padding))
    assert empty.means.isfinite().all()
    torch.testing.assert_close(all_padding.means, empty.means)


def test_queries_do_not_see_each_other_and_context_order_changes_nothing():
    model, context, x = made(config()), points(), points(2, 6, seed=3).x
    whole = model.predict(context, x, 2, seeded())
    part = model.predict(context, x[:, 2:5], 2, seeded())
    torch.testing.assert_close(part.factors, whole.factors[:, :, 2:5])
    flipped = PointSet(context.x.flip(1), context.y.flip(1), context.mask)
    torch.testing.assert_close(model.predict(flipped, x, 2, seeded()).means, whole.means)


def test_patches_lie_at_their_centres():
    model = made(
        config(x_dim=2, tokenizer=PatchTokenizerConfig("patches", patch=2), rotary=RotaryConfig(1.0, 8.0))
    )
    grid = Grid(noise(1, 1, 4, 6), torch.ones(1, 4, 6, dtype=torch.bool))
    places = model.encode(grid).places
    assert places is not None
    assert places[0, 0].tolist() == pytest.approx([0.0, 0.0])  # the null token, amid the others
    expected = [[r, c] for r in (-0.5, 0.5) for c in (-2 / 3, 0.0, 2 / 3)]
    torch.testing.assert_close(places[0, 1:], torch.tensor(expected).double(), atol=1e-6, rtol=0)
    x = grid_coordinates(4, 6).reshape(1, -1, 2).double()
    assert model.predict(grid, x, 1, None).means.isfinite().all()


def test_impossible_rotations_are_refused():
    with pytest.raises(ConfigError, match="multiple of 4 channels"):
        Rotary(RotaryConfig(), 2, 6)
    with pytest.raises(ConfigError, match=r"given were 3\.0 and 2\.0"):
        RotaryConfig(3.0, 2.0)
    with pytest.raises(ConfigError, match="bottleneck to 0"):
        made(config(tokenizer=PointTokenizerConfig("points", NOTHING, 16, bottleneck=3)))


def test_on_a_plane_a_covariance_of_equal_factors_dies_down_in_every_direction():
    count, highest = 64, 12.0
    rotary = Rotary(RotaryConfig(0.5, highest), 2, 2 * count, even=True)
    lengths, directions = rotary.waves.norm(dim=0), torch.atan2(rotary.waves[1], rotary.waves[0])
    assert 0.5 <= float(lengths.min()) < 2 < 11 < float(lengths.max()) <= highest
    assert float(directions.sort().values.diff().max()) < 0.15
    angle = torch.linspace(0, torch.pi, 13)
    reach = 5 * count**0.5 / highest  # as the configuration says: nothing comes back before that
    for distance in (0.6, 1.0, 0.6 * reach):
        x = torch.stack([angle.cos(), angle.sin()], dim=-1)[None] * distance
        factors = torch.ones(1, 1, 13, 2 * count)
        origin = rotary(torch.zeros(1, 1, 2)).turn(factors[:, :, :1])
        correlation = (rotary(x).turn(factors) * origin).mean(-1)[0, 0]
        assert float(correlation.abs().max()) < 0.35
    near = rotary(torch.tensor([[[0.02, 0.0], [0.0, 0.02]]])).turn(factors[:, :, :2])
    assert float((near * origin).mean(-1).min()) > 0.95


def test_factors_may_have_frequencies_of_their_own():
    chosen = config(x_dim=2, factor_rotary=RotaryConfig(1.0, 2.0), rank=8)
    model = made(chosen)
    assert model.factor_rotary is not None
    assert float(model.factor_rotary.waves.norm(dim=0).max()) <= 2
    assert float(model.encoder.rotary.waves.max()) > 3
    assert made(replace(chosen, rotary=None)).factor_rotary is not None
