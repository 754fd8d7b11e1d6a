"""Tasks on pictures: which pixels are known, which are asked for, and that all is a function of the step."""

from dataclasses import replace

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.observations import Grid, PointSet, grid_coordinates
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks
from vnp_core.tasks.picture_tasks import PictureTasks, PictureTasksConfig, chosen_pixels, coarse_tasks
from vnp_core.tasks.pictures import ROUNDING_STD, STEP, Pictures, levels_to_values
from vnp_core.tasks.task import as_grids

COUNT, SIDE = 5, 8
PIXELS = torch.randint(
    0, 256, (COUNT, 2, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
CONFIG = PictureTasksConfig(batch_size=6, contexts=(3, 16), targets=(3, 16), total=20)


def source(**changes) -> PictureTasks:
    pictures = Pictures(PIXELS, torch.zeros(COUNT, dtype=torch.long))
    return PictureTasks("noise", pictures, replace(CONFIG, **changes), seed=4)


def pixel_places(points: PointSet) -> torch.Tensor:
    """Flat indices [B, N] of points that lie on pixel centres."""
    places = grid_coordinates(SIDE, SIDE).reshape(-1, 2)
    matches = (points.x[:, :, None] - places).abs().amax(-1) < 1e-6
    assert (matches.sum(-1) == 1).all()
    return matches.int().argmax(-1)


def true_values(points: PointSet) -> torch.Tensor:
    """For each task, whether some picture has these very values at these places."""
    flat = levels_to_values(PIXELS).flatten(2).permute(0, 2, 1)  # [P, pixels, C]
    at = flat[:, pixel_places(points)]  # [P, B, N, C]
    return (at == points.y).flatten(2).all(-1).any(0)


def test_a_batch_is_a_function_of_seed_and_step_alone():
    tasks = source()
    first, again = tasks.batch(3), source().batch(3)
    assert torch.equal(first.context.x, again.context.x)
    assert torch.equal(first.targets.y, again.targets.y)
    others = [tasks.batch(4), replace(tasks, seed=5).batch(3)]
    assert all(
        other.context.x.shape != first.context.x.shape or not torch.equal(other.context.x, first.context.x)
        for other in others
    )


def test_known_and_asked_pixels_are_different_pixels_of_one_picture_within_the_ranges():
    counts = set()
    for step in range(40):
        batch = source().batch(step)
        contexts, targets = batch.context.x.shape[1], batch.targets.x.shape[1]
        assert 3 <= contexts <= 16
        assert 3 <= targets <= 20 - contexts
        together = pixel_places(batch.everything)
        assert all(len(set(row.tolist())) == contexts + targets for row in together)
        assert true_values(batch.everything).all()
        counts.add((contexts, targets))
    assert len(counts) > 15


def test_a_missing_block_and_a_missing_half_are_asked_for_and_all_else_is_known():
    half = source(kinds=("half",)).batch(0)
    assert pixel_places(half.targets)[0].tolist() == list(range(32, 64))
    assert pixel_places(half.context)[0].tolist() == list(range(32))
    block = source(kinds=("block",)).batch(1)
    corners = set()
    for row in pixel_places(block.targets):
        rows, columns = row // SIDE, row % SIDE
        assert len(set(row.tolist())) == 16
        assert (int(rows.max() - rows.min()), int(columns.max() - columns.min())) == (3, 3)
        corners.add((int(rows.min()), int(columns.min())))
    assert len(corners) > 2
    assert block.context.x.shape[1] == 48
    assert true_values(half.everything).all()
    assert true_values(block.everything).all()


@pytest.mark.parametrize("factor", [2, 4])
def test_a_coarse_grid_holds_the_means_of_the_pixels_around_it(factor):
    values = levels_to_values(PIXELS)
    batch = coarse_tasks(values, factor)
    assert batch.context.x.shape[1] == (SIDE // factor) ** 2
    # The second coarse pixel of the first row: columns factor to 2 factor - 1.
    torch.testing.assert_close(batch.context.y[2, 1], values[2, :, :factor, factor : 2 * factor].mean((1, 2)))
    covered = grid_coordinates(SIDE, SIDE)[:factor, factor : 2 * factor].reshape(-1, 2).mean(0)
    torch.testing.assert_close(batch.context.x[2, 1], covered)
    assert torch.equal(batch.targets.y[2], values[2].flatten(1).mT)


def test_grids_hold_the_same_pixels_as_points_and_the_targets_are_the_same():
    for kind in ("random", "block", "half"):
        tasks = source(kinds=(kind,))
        points, grids = tasks.batch(2), as_grids(tasks).batch(2)
        assert isinstance(grids.context, Grid)
        assert isinstance(grids.everything, Grid)
        assert torch.equal(points.targets.x, grids.targets.x)
        for point_set, grid in ((points.context, grids.context), (points.everything, grids.everything)):
            places = pixel_places(point_set)
            assert torch.equal(grid.mask.flatten(1).sum(1), torch.full((6,), places.shape[1]))
            found = grid.values.flatten(2).permute(0, 2, 1).gather(1, places[..., None].expand(-1, -1, 2))
            assert torch.equal(found, point_set.y)
            assert grid.values.masked_select(~grid.mask[:, None]).abs().sum() == 0


@pytest.mark.parametrize("kind", ["random", "block", "half", "coarse2"])
def test_what_is_asked_for_can_be_spread_over_its_grey_level_and_what_is_known_stays(kind):
    levels = source(kinds=(kind,), spread=True, batch_size=400)
    batch, again = levels.batch(2), levels.batch(2)
    assert torch.equal(batch.targets.y, again.targets.y)
    assert not torch.equal(batch.targets.y, levels.batch(3).targets.y[:, : batch.targets.y.shape[1]])
    off = (batch.targets.y + 0.5) / STEP
    off = off - off.round()
    assert off.abs().max() <= 0.5
    assert off.mean().abs() < 0.01
    assert off.std().item() * STEP == pytest.approx(ROUNDING_STD, rel=0.02)
    if kind != "coarse2":
        whole = (batch.context.y + 0.5) / STEP
        torch.testing.assert_close(whole, whole.round(), atol=1e-4, rtol=0)
        grids = levels.gridded().batch(2)
        assert torch.equal(grids.targets.y, batch.targets.y)
        seen = chosen_pixels(grids.everything.values, pixel_places(batch.everything))
        assert torch.equal(seen.y, batch.everything.y)


def test_several_kinds_take_turns_by_chance():
    tasks = source(kinds=("random", "half", "coarse2"))
    sizes = [tasks.batch(step).targets.x.shape[1] for step in range(60)]
    halves, coarse = sizes.count(32), sizes.count(64)
    assert min(halves, coarse, 60 - halves - coarse) > 8


def test_published_ranges_and_those_of_small_pictures():
    assert PictureTasksConfig.for_size(28, 28) == PictureTasksConfig()
    assert PictureTasksConfig.for_size(64, 64) == PictureTasksConfig()
    assert PictureTasksConfig.for_size(8, 8).contexts == (3, 16)
    sized = replace(CONFIG, kinds=("half",)).sized(10, 54)
    batch = PictureTasks("noise", source().pictures, sized).batch(0)
    assert (batch.context.x.shape[1], batch.targets.x.shape[1]) == (10, 54)


def test_impossible_tasks_are_refused():
    with pytest.raises(ConfigError, match="64 pixels, fewer than a task's 199"):
        PictureTasks("noise", source().pictures, PictureTasksConfig())
    odd = Pictures(PIXELS[..., :7], torch.zeros(COUNT, dtype=torch.long))
    with pytest.raises(ConfigError, match="sides that 2 divides"):
        PictureTasks("noise", odd, replace(CONFIG, kinds=("coarse2",)))
    with pytest.raises(ConfigError, match="patches cannot read it"):
        source(kinds=("coarse4",)).gridded()
    with pytest.raises(ConfigError, match="Kinds of tasks"):
        source(kinds=("stripes",))
    with pytest.raises(ConfigError, match="must fit into a total"):
        source(contexts=(3, 18))
    with pytest.raises(ConfigError, match="targets is a range of counts from 1"):
        source(targets=(0, 4))
    with pytest.raises(ConfigError, match="lie on no grid"):
        as_grids(GaussianProcessTasks(GaussianProcessConfig(), 0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_batches_are_drawn_there_and_are_functions_of_the_step():
    tasks = source()
    there = replace(tasks, pictures=tasks.pictures.to("cuda"))
    first, again = there.batch(3), there.batch(3)
    assert first.context.x.is_cuda
    assert torch.equal(first.context.x, again.context.x)
    assert first.context.x.shape == tasks.batch(3).context.x.shape
