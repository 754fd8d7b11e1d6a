"""The outside model behind our interface: the package's own likelihood, and our laws about sets."""

import pytest
import torch

from vnp_core.bench.outside import ConvGNP, ConvGNPConfig
from vnp_core.errors import DataError
from vnp_core.observations import Grid, PointSet

pytest.importorskip("neuralprocesses.torch")


def model(y_dim: int) -> ConvGNP:
    torch.manual_seed(0)
    return ConvGNP(ConvGNPConfig(y_dim=y_dim, points_per_unit=8, channels=8, layers=2, rank=4)).eval()


@pytest.mark.parametrize("y_dim", [1, 2])
def test_the_joint_likelihood_is_the_packages_own(y_dim: int, generator: torch.Generator) -> None:
    outside = model(y_dim)
    context = PointSet.present(
        torch.randn(3, 6, 1, generator=generator), torch.randn(3, 6, y_dim, generator=generator)
    )
    x, y = torch.randn(3, 5, 1, generator=generator), torch.randn(3, 5, y_dim, generator=generator)
    ours = outside.predict(context, x, 1, None).joint_log_probs(y)[:, 0]
    theirs = outside.answer(context, x).logpdf(y.mT)
    torch.testing.assert_close(ours, theirs.double(), atol=1e-3, rtol=1e-4)
    marginal = outside.predict(context, x, 1, None).stds[:, 0].square()
    torch.testing.assert_close(marginal, outside.answer(context, x).var.mT, atol=1e-5, rtol=1e-4)


def test_padding_is_invisible(generator: torch.Generator) -> None:
    outside = model(1)
    x, y = torch.rand(2, 6, 1, generator=generator), torch.randn(2, 6, 1, generator=generator)
    padded = PointSet(
        torch.cat([x, torch.full((2, 3, 1), torch.nan)], 1),
        torch.cat([y, torch.full((2, 3, 1), torch.nan)], 1),
        torch.tensor([[True] * 6 + [False] * 3] * 2),
    )
    asked = torch.rand(2, 4, 1, generator=generator)
    alone, beside = (outside.predict(points, asked, 1, None) for points in (PointSet.present(x, y), padded))
    torch.testing.assert_close(alone.means, beside.means, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone.stds, beside.stds, atol=1e-5, rtol=1e-5)


def test_an_empty_context_is_answered_and_a_grid_refused() -> None:
    outside = model(1)
    nothing = PointSet.present(torch.zeros(2, 0, 1), torch.zeros(2, 0, 1))
    assert bool(outside.predict(nothing, torch.zeros(2, 3, 1), 1, None).means.isfinite().all())
    grid = Grid(torch.zeros(2, 1, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool))
    with pytest.raises(DataError, match=r"points\(\)"):
        outside.predict(grid, torch.zeros(2, 3, 1), 1, None)
