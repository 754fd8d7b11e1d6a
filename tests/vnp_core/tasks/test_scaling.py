"""Scaling: into the model's numbers and back, and what that does to densities."""

import math

import torch

from vnp_core.observations import PointSet
from vnp_core.tasks.scaling import Scaling


def some_points() -> PointSet:
    generator = torch.Generator().manual_seed(0)
    x = 1900 + 20 * torch.rand(2, 30, 2, generator=generator, dtype=torch.float64)
    y = 5 + 3 * torch.randn(2, 30, 2, generator=generator, dtype=torch.float64)
    return PointSet(x, y, torch.arange(30).expand(2, -1) < torch.tensor([[30], [12]]))


def test_present_points_fill_the_range_and_have_mean_0_and_deviation_1():
    points = some_points()
    scaling = Scaling.of(points, (-1.0, 3.0))
    scaled = scaling.apply(points)
    x, y = scaled.x[scaled.mask].double(), scaled.y[scaled.mask].double()
    torch.testing.assert_close(x.amin(0), -torch.ones(2, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.amax(0), 3 * torch.ones(2, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.std(0, correction=0), torch.ones(2, dtype=torch.float64))
    assert scaled.x.dtype == torch.float32
    torch.testing.assert_close(scaling.y_back(y), points.y[points.mask], rtol=1e-5, atol=1e-5)


def test_a_channel_that_never_changes_is_shifted_only():
    points = PointSet.present(torch.full((1, 4, 1), 7.0), torch.full((1, 4, 1), 3.0))
    scaled = Scaling.of(points, (-2.0, 2.0)).apply(points)
    assert (scaled.x == 0).all()
    assert (scaled.y == 0).all()


def test_log_volume_turns_a_density_into_that_of_the_tables_units():
    scaling = Scaling((0.0,), (1.0,), (2.0, -1.0), (4.0, 0.5))
    scaled = torch.distributions.Normal(torch.zeros(2), torch.ones(2)).log_prob(torch.tensor([0.5, -1.0]))
    own = torch.distributions.Normal(torch.tensor([2.0, -1.0]), torch.tensor([4.0, 0.5]))
    y = scaling.y_back(torch.tensor([0.5, -1.0]))
    assert math.isclose(float(scaled.sum()) - scaling.log_volume, float(own.log_prob(y).sum()), rel_tol=1e-5)
