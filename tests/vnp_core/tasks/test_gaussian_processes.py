"""Tasks drawn from Gaussian processes: the kernels, the sizes, and the distribution of what is drawn."""

import math

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.tasks.gaussian_processes import (
    GaussianProcessConfig,
    GaussianProcessTasks,
    correlation,
    draw_counts,
    noisy_covariance,
)

KERNELS = ("rbf", "matern52", "periodic")


def written_out(kernel: str, a: float, b: float, l: float, p: float) -> float:  # noqa: E741
    d = abs(a - b)
    if kernel == "rbf":
        return math.exp(-(d**2) / (2 * l**2))
    if kernel == "matern52":
        return (1 + math.sqrt(5) * d / l + 5 * d**2 / (3 * l**2)) * math.exp(-math.sqrt(5) * d / l)
    return math.exp(-2 * math.sin(math.pi * d / p) ** 2 / l**2)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_their_formulas(kernel):
    x, other = torch.tensor([[-1.0], [0.25], [1.5]]), torch.tensor([[0.25], [2.0]])
    found = correlation(kernel, x, other, torch.tensor(0.5), torch.tensor(0.375))
    expected = [[written_out(kernel, float(a), float(b), 0.5, 0.375) for b in other[:, 0]] for a in x[:, 0]]
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_a_periodic_function_repeats():
    x = torch.tensor([[0.0], [0.5], [1.5]])
    again = correlation("periodic", x, x, torch.tensor(0.3), torch.tensor(0.5))
    torch.testing.assert_close(again, torch.ones(3, 3, dtype=torch.float64))


@pytest.mark.parametrize("kernel", KERNELS)
def test_whitened_by_the_written_out_covariance_draws_are_standard_normal(kernel):
    config = GaussianProcessConfig(kernel=kernel, batch_size=500).sized(5, 7)
    whitened = []
    for step in range(2):
        batch = GaussianProcessTasks(config, seed=3).batch(step)
        x, y = batch.everything.x.double(), batch.everything.y.double()
        for task in range(0, 500, 2):
            l, s, p = (  # noqa: E741
                float(getattr(batch.hyperparameters, name)[task])
                for name in ("lengthscale", "scale", "period")
            )
            rows = [
                [s**2 * written_out(kernel, float(a), float(b), l, p) + 0.02**2 * (i == j)
                 for j, b in enumerate(x[task, :, 0])]
                for i, a in enumerate(x[task, :, 0])
            ]  # fmt: skip
            factor = torch.linalg.cholesky(torch.tensor(rows, dtype=torch.float64))
            whitened.append(torch.linalg.solve_triangular(factor, y[task], upper=False)[:, 0])
    z = torch.stack(whitened)
    count = z.numel()
    assert abs(z.mean()) < 4 / math.sqrt(count)
    assert abs(z.square().mean() - 1) < 4 * math.sqrt(2 / count)
    assert abs(z.pow(4).mean() - 3) < 4 * math.sqrt(96 / count)
    cross = z.T @ z / len(z) - torch.eye(12, dtype=z.dtype)
    assert cross.abs().max() < 5 * math.sqrt(2 / len(z))


def test_sizes_are_uniform_and_fill_their_ranges():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_counts((3, 46), (3, 46), 49, generator) for _ in range(8800)]
    contexts = torch.bincount(torch.tensor([n for n, _ in drawn]), minlength=47)
    assert contexts[:3].sum() == 0
    expected = 8800 / 44
    chi_square = ((contexts[3:] - expected) ** 2 / expected).sum()
    assert chi_square < 43 + 5 * math.sqrt(2 * 43)
    assert all(3 <= m <= 49 - n for n, m in drawn)
    at_40 = {m for n, m in drawn if n == 40}
    assert at_40 == set(range(3, 10))


def test_a_batch_keeps_to_its_ranges():
    config = GaussianProcessConfig(
        batch_size=400, lengthscale=(0.2, 0.3), scale=(0.5, 2.0), x_range=(1.0, 3.0)
    )
    batch = GaussianProcessTasks(config, seed=0).batch(0)
    for name in ("lengthscale", "scale", "period"):
        low, high = getattr(config, name)
        values = getattr(batch.hyperparameters, name)
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high >= values.max() > high - 0.1 * (high - low)
    x = batch.everything.x
    assert 1 <= x.min() < 1.1
    assert 3 >= x.max() > 2.9
    assert x.dtype == batch.everything.y.dtype == torch.float32
    assert batch.everything.mask.all()
    assert torch.equal(batch.context.cat(batch.targets).y, batch.everything.y)


def test_a_step_gives_the_same_bytes_in_any_order_and_other_steps_and_seeds_other_ones():
    config = GaussianProcessConfig()
    source, again = GaussianProcessTasks(config, seed=5), GaussianProcessTasks(config, seed=5)
    late = source.batch(7)
    again.batch(2)
    assert torch.equal(late.everything.y, again.batch(7).everything.y)
    sized = GaussianProcessTasks(config.sized(3, 3), seed=5)
    other = GaussianProcessTasks(config.sized(3, 3), seed=6)
    assert not torch.equal(sized.batch(0).context.y, sized.batch(1).context.y)
    assert not torch.equal(sized.batch(0).context.y, other.batch(0).context.y)


def test_a_sized_config_gives_exactly_so_many_points_and_none_is_legal_as_context():
    config = GaussianProcessConfig()
    batch = GaussianProcessTasks(config.sized(30, 100), seed=0).batch(0)
    assert batch.context.x.shape == (16, 30, 1)
    assert batch.targets.x.shape == (16, 100, 1)
    assert GaussianProcessTasks(config.sized(0, 4), seed=0).batch(0).context.x.shape == (16, 0, 1)


def test_more_noise_is_on_the_diagonal_alone():
    quiet, loud = GaussianProcessConfig(), GaussianProcessConfig(noise_std=0.3)
    batch = GaussianProcessTasks(quiet.sized(4, 4), seed=0).batch(0)
    x, known = batch.everything.x, batch.hyperparameters
    difference = noisy_covariance(loud, x, known) - noisy_covariance(quiet, x, known)
    torch.testing.assert_close(
        difference, (0.3**2 - 0.02**2) * torch.eye(8, dtype=torch.float64).expand(16, 8, 8)
    )


def test_moving_takes_the_hyperparameters_along():
    moved = GaussianProcessTasks(GaussianProcessConfig(), seed=0).batch(0).to("meta")
    assert moved.hyperparameters.scale.device.type == moved.context.x.device.type == "meta"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"lengthscale": (0.0, 1.0)}, "lengthscale is a range"),
        ({"scale": (2.0, 1.0)}, "scale is a range"),
        ({"noise_std": 0.0}, "noise_std is 0.0001 or more"),
        ({"noise_std": math.nan}, "noise_std"),
        ({"x_range": (1.0, 1.0)}, "x_range"),
        ({"contexts": (5, 4)}, "contexts is a range"),
        ({"targets": (0, 4)}, "targets is a range of counts from 1"),
        ({"contexts": (3, 47)}, "47 contexts and 3 targets exceed a total of 49"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_settings_that_make_no_sense_are_refused(bad, said):
    with pytest.raises(ConfigError, match=said):
        GaussianProcessConfig(**bad)
