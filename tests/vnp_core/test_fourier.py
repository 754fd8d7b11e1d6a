"""Fourier features against their formula."""

import math

import torch

from vnp_core.fourier import FourierConfig, FourierEmbedding, fourier_features, octave_frequencies


def test_order_is_all_cosines_axis_by_axis_then_all_sines():
    x = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    frequencies = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    angles = [value * f for value in (0.3, -1.2) for f in (1.0, 2.0, 5.0)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    torch.testing.assert_close(
        fourier_features(x, frequencies)[0], torch.tensor(expected, dtype=torch.float64)
    )


def test_frequencies_run_over_the_octaves_from_the_base():
    frequencies = octave_frequencies(5, 8.0, base=3.0)
    torch.testing.assert_close(frequencies, torch.tensor([3.0, 12.0, 48.0, 192.0, 768.0]))


def test_angles_are_not_rounded_to_bfloat16():
    x = torch.tensor([0.7], dtype=torch.bfloat16)
    features = fourier_features(x, torch.tensor([256.0]))
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, torch.tensor([math.cos(256 * x.item()), math.sin(256 * x.item())]))


def test_the_embedding_states_its_width_and_its_frequencies_are_not_weights():
    embedding = FourierEmbedding(FourierConfig(count=3, raw=True), 2)
    assert embedding(torch.zeros(4, 2)).shape == (4, embedding.width)
    assert embedding.width == 2 + 2 * 2 * 3
    assert not embedding.state_dict()


def test_with_neither_coordinates_nor_frequencies_a_constant_is_left():
    embedding = FourierEmbedding(FourierConfig(count=0, raw=False), coordinates=2)
    assert embedding.width == 1
    assert (
        embedding(torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))).tolist()
        == [[[1.0]] * 4] * 3
    )
