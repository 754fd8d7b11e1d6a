"""The released volume rendering against closed forms."""

import math

import pytest
import torch

from vnp_nerf.axial_rendering import axial_directions, axial_weights, ray_depths, render_axial, white_colours
from vnp_nerf.cameras import look_at, picture_rays


def test_a_constant_slab_absorbs_as_the_exponential_says():
    depths = torch.linspace(2, 6, 128, dtype=torch.float64)
    sigma = 0.37
    weights = axial_weights(torch.full_like(depths, sigma), depths)
    # 127 steps of 4 / 127, and the last of 0.001; each transmittance factor carries the released 1e-10.
    assert float(weights.sum()) == pytest.approx(1 - math.exp(-sigma * 4.001), abs=1e-7)


def test_weights_equal_an_explicit_loop():
    generator = torch.Generator().manual_seed(0)
    depths = torch.rand(5, 9, dtype=torch.float64, generator=generator).cumsum(-1)
    density = 3 * torch.rand(5, 9, dtype=torch.float64, generator=generator)
    weights = axial_weights(density, depths)
    for ray in range(5):
        transmittance = 1.0
        for sample in range(9):
            step = float(depths[ray, sample + 1] - depths[ray, sample]) if sample < 8 else 0.001
            alpha = 1 - math.exp(-float(density[ray, sample]) * step)
            assert float(weights[ray, sample]) == pytest.approx(transmittance * alpha, abs=1e-12)
            transmittance *= min(1 - alpha + 1e-10, 1.0)


def test_an_opaque_sample_shows_its_own_colour_at_its_own_depth():
    depths = torch.linspace(2, 6, 11)[None]
    raw = torch.full((11, 4), -1.0)
    raw[4] = torch.tensor([2.0, 0.0, -2.0, 1e6])
    lengths = torch.tensor([1.05])
    seen = render_axial(raw, depths, lengths, "black")
    torch.testing.assert_close(seen.rgb[0], torch.tensor([2.0, 0.0, -2.0]).sigmoid())
    torch.testing.assert_close(seen.depth, depths[:, 4] * lengths)


def test_empty_space_is_white_and_far():
    depths = ray_depths(2.0, 6.0, 8, None, torch.zeros(1, 3, 3))
    raw = torch.full((1, 24, 4), -5.0)
    torch.testing.assert_close(white_colours(raw, depths), torch.ones(1, 3, 3))
    seen = render_axial(raw[0], depths[0], torch.ones(3), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(seen.rgb[1], torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(seen.depth, torch.full((3,), 6.0))


def test_rendering_passes_gradcheck_and_stays_finite_at_extreme_density():
    generator = torch.Generator().manual_seed(1)
    depths = torch.rand(2, 6, dtype=torch.float64, generator=generator).cumsum(-1)
    density = torch.rand(2, 6, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: axial_weights(d, depths), density)
    huge = torch.full((2, 6), 1e30, requires_grad=True)
    weights = axial_weights(huge, depths.float())
    weights.sum().backward()
    assert weights.isfinite().all()
    assert huge.grad is not None
    assert huge.grad.isfinite().all()


def test_directions_have_length_1_along_the_axis_of_a_camera_that_looks_at_the_centre():
    pose = look_at(torch.tensor([2.0, -3.0, 1.0]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    intrinsics = torch.tensor([30.0, 40.0, 6.0, 4.0])
    origins, directions = picture_rays(pose, intrinsics, 8, 12)
    axial = axial_directions(origins, directions)
    for row, column in [(0, 0), (3, 5), (7, 11)]:
        camera = torch.tensor([(column + 0.5 - 6) / 30, -(row + 0.5 - 4) / 40, -1.0])
        torch.testing.assert_close(axial[row, column], pose[:, :3] @ camera, atol=1e-5, rtol=1e-5)


def test_depths_include_both_ends_and_jitter_moves_each_on_by_at_most_a_spacing():
    origins = torch.zeros(2, 5, 3)
    even = ray_depths(2.0, 6.0, 9, None, origins)
    assert even[0, 0].tolist() == [2.0 + 0.5 * index for index in range(9)]
    moved = ray_depths(2.0, 6.0, 9, torch.Generator().manual_seed(0), origins) - even
    assert moved.min() >= 0
    assert moved.max() <= 0.5 + 1e-6
    assert moved.std() > 0.1
