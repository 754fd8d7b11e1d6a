"""Points and grids: what is legal, and what is refused by name."""

import pytest
import torch

from vnp_core.errors import DataError
from vnp_core.observations import Grid, PointSet, grid_coordinates


def points(batch: int = 2, count: int = 4) -> PointSet:
    generator = torch.Generator().manual_seed(0)
    return PointSet.present(
        torch.randn(batch, count, 1, generator=generator), torch.randn(batch, count, 2, generator=generator)
    )


def test_good_points_pass_and_so_do_none_and_duplicates():
    points().validate()
    points(2, 0).validate()
    points().cat(points()).validate()
    assert points(2, 3).cat(points(2, 1)).mask.shape == (2, 4)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_number_is_refused_naming_its_row_unless_it_is_padding(bad):
    given = points()
    given.y[1, 2, 0] = bad
    with pytest.raises(DataError, match="y of row 2 of task 1"):
        given.validate()
    given.mask[1, 2] = False
    given.validate()
    assert given.cleared().y.isfinite().all()


def test_shapes_that_disagree_are_refused():
    with pytest.raises(DataError, match=r"x \(2, 4, 1\), y \(2, 3, 2\)"):
        PointSet(torch.zeros(2, 4, 1), torch.zeros(2, 3, 2), torch.ones(2, 4, dtype=torch.bool)).validate()
    with pytest.raises(DataError, match=r"values \(1, 3, 4, 5\) and mask \(1, 5, 4\)"):
        Grid(torch.zeros(1, 3, 4, 5), torch.ones(1, 5, 4, dtype=torch.bool)).validate()


def test_a_bad_pixel_is_refused_unless_it_was_not_observed():
    grid = Grid(torch.zeros(2, 3, 4, 5), torch.ones(2, 4, 5, dtype=torch.bool))
    grid.values[1, 0, 2, 3] = torch.nan
    with pytest.raises(DataError, match=r"Pixel \(2, 3\) of picture 1"):
        grid.validate()
    grid.mask[1, 2, 3] = False
    grid.validate()


def test_pixel_centres_cover_the_same_square_at_any_resolution():
    coarse, fine = grid_coordinates(2, 3), grid_coordinates(4, 6)
    torch.testing.assert_close(coarse[:, 0, 0], torch.tensor([-0.5, 0.5]))
    torch.testing.assert_close(coarse[0, :, 1], torch.tensor([-2 / 3, 0.0, 2 / 3]))
    block_means = fine.reshape(2, 2, 3, 2, 2).mean(dim=(1, 3))
    torch.testing.assert_close(block_means, coarse)


def test_a_grid_as_points_keeps_every_value_at_its_place():
    generator = torch.Generator().manual_seed(0)
    grid = Grid(torch.rand(2, 3, 4, 5, generator=generator), torch.rand(2, 4, 5, generator=generator) > 0.5)
    flat = grid.points()
    index = 2 * 5 + 3
    assert torch.equal(flat.y[1, index], grid.values[1, :, 2, 3])
    assert torch.equal(flat.mask[1, index], grid.mask[1, 2, 3])
    assert torch.equal(flat.x[1, index], grid_coordinates(4, 5)[2, 3])
