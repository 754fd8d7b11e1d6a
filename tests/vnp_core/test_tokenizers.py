"""Tokenizers see sets: permutation, padding, duplicates and emptiness."""

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.fourier import FourierConfig
from vnp_core.observations import Grid, PointSet, grid_coordinates
from vnp_core.tokenizers import PatchTokenizerConfig, PointTokenizerConfig, build_tokenizer

FOURIER = FourierConfig(count=4, octaves=3.0)
PLAIN = PointTokenizerConfig(fourier=FOURIER, hidden=12)
BOTTLENECK = PointTokenizerConfig(fourier=FOURIER, hidden=12, bottleneck=3, heads=2)
PATCHES = PatchTokenizerConfig(fourier=FOURIER, patch=3)


def made(config: PointTokenizerConfig | PatchTokenizerConfig, x_dim: int = 1):
    torch.manual_seed(0)
    return build_tokenizer(config, x_dim, 2, 8).double()


def points(batch: int = 2, count: int = 5) -> PointSet:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, count, 1, generator=generator, dtype=torch.float64)
    return PointSet.present(x, torch.randn(batch, count, 2, generator=generator, dtype=torch.float64))


def grid(height: int = 5, width: int = 7) -> Grid:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 2, height, width, generator=generator, dtype=torch.float64)
    return Grid(values, torch.rand(2, height, width, generator=generator) > 0.4)


def shuffled_and_padded(given: PointSet) -> PointSet:
    x, y, mask = given.x.flip(1), given.y.flip(1), given.mask.flip(1)
    nan = PointSet(torch.full_like(x[:, :2], torch.nan), torch.full_like(y[:, :2], torch.nan), ~mask[:, :2])
    return nan.cat(PointSet(x, y, mask))


def test_points_are_embedded_one_by_one():
    tokenizer = made(PLAIN)
    all_at_once, given = tokenizer(points()), points()
    single = PointSet.present(given.x[1:, 3:4], given.y[1:, 3:4])
    torch.testing.assert_close(all_at_once.values[1:, 3:4], tokenizer(single).values)


def test_padding_of_points_is_marked_and_harmless():
    tokens = made(PLAIN)(shuffled_and_padded(points()))
    assert tokens.mask.tolist() == [[False] * 2 + [True] * 5] * 2
    assert tokens.values.isfinite().all()
    torch.testing.assert_close(tokens.values[:, 2:], made(PLAIN)(points()).values.flip(1))


def test_the_bottleneck_sees_neither_order_nor_padding():
    tokenizer = made(BOTTLENECK)
    tokens = tokenizer(points())
    assert tokens.values.shape == (2, 3, 8)
    assert tokens.mask.all()
    torch.testing.assert_close(tokenizer(shuffled_and_padded(points())).values, tokens.values)


def test_no_points_and_only_padding_are_the_same_legal_context():
    tokenizer = made(BOTTLENECK)
    padding = points()
    only_padding = PointSet(padding.x, padding.y, torch.zeros_like(padding.mask))
    none = tokenizer(points(2, 0))
    assert none.values.isfinite().all()
    torch.testing.assert_close(tokenizer(only_padding).values, none.values)
    assert made(PLAIN)(points(2, 0)).values.shape == (2, 0, 8)


def test_duplicated_points_are_legal():
    assert made(BOTTLENECK)(points().cat(points())).values.isfinite().all()


def test_patches_without_an_observed_pixel_are_absent_and_unobserved_values_are_invisible():
    tokenizer, given = made(PATCHES, 2), grid()
    given.mask[0, :3, :3] = False
    tokens = tokenizer(given)
    assert tokens.values.shape == (2, 6, 8)
    assert not tokens.mask[0, 0]
    blind = Grid(given.values.masked_fill(~given.mask[:, None], torch.nan), given.mask)
    torch.testing.assert_close(tokenizer(blind).values, tokens.values)


def test_a_missing_pixel_differs_from_an_observed_zero():
    tokenizer, given = made(PATCHES, 2), grid()
    zeros = Grid(torch.zeros_like(given.values), torch.ones_like(given.mask))
    fewer = Grid(zeros.values, zeros.mask.clone())
    fewer.mask[:, 0, 0] = False
    assert (tokenizer(zeros).values[:, 0] - tokenizer(fewer).values[:, 0]).abs().max() > 1e-3


def test_a_patchs_place_is_its_centre_in_pixel_coordinates():
    tokenizer = made(PATCHES, 2)
    given = Grid(torch.zeros(1, 2, 6, 9, dtype=torch.float64), torch.ones(1, 6, 9, dtype=torch.bool))
    centres = grid_coordinates(6, 9)[1::3, 1::3].reshape(-1, 2).double()
    expected = tokenizer.place(tokenizer.fourier(centres))
    torch.testing.assert_close(tokenizer.places(given), expected, atol=1e-6, rtol=1e-5)


def test_patches_need_two_coordinates():
    with pytest.raises(ConfigError, match="given was x_dim 1"):
        made(PATCHES, 1)
