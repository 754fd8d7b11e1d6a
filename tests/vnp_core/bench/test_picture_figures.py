"""Figures of pictures, looked at pixel by pixel."""

from pathlib import Path

import matplotlib.image
import pytest
import torch

from vnp_core.bench.completion import Completion
from vnp_core.bench.encoding_cost import Cost
from vnp_core.bench.picture_costs import PictureCost
from vnp_core.bench.picture_figures import (
    draw_completions,
    draw_picture_costs,
    draw_super_resolution,
    known_pixels,
)


@pytest.fixture(params=[1, 3])
def found(request: pytest.FixtureRequest) -> Completion:
    pictures = torch.rand(3, 2, request.param, 6, 6, generator=torch.Generator().manual_seed(0))
    given = torch.zeros(2, 6, 6, dtype=torch.bool)
    given[:, :2] = True
    return Completion(
        pictures[0],
        given,
        pictures[1],
        0.1 * pictures[2],
        pictures[:, None, 0].mT.expand(-1, 4, -1, -1, -1)[:2],
    )


def test_known_pixels_keep_their_colours_and_others_get_one_that_no_grey_has(found: Completion) -> None:
    shown = known_pixels(found, 1)
    assert torch.equal(shown[:2], found.truth[1].permute(1, 2, 0)[:2].expand(-1, -1, 3))
    rest = shown[2:].reshape(-1, 3)
    assert (rest == rest[0]).all()
    assert rest[0].std() > 0.1


def test_figures_are_drawn_with_a_row_each(found: Completion, tmp_path: Path) -> None:
    heights = []
    for count in (1, 3):
        draw_completions(tmp_path / "c.png", [found] * count)
        heights.append(matplotlib.image.imread(tmp_path / "c.png").shape[0])
    assert heights[1] > 2 * heights[0]
    draw_super_resolution(tmp_path / "s.png", [{"nearest": found, "ours": found}])
    cost = PictureCost(8, Cost(64, 0.1, 1000), Cost(64, 0.2, 3000))
    draw_picture_costs(tmp_path / "k.png", {"points": [cost], "patches": [cost]})
    for name in ("s", "k"):
        assert matplotlib.image.imread(tmp_path / f"{name}.png")[..., :3].std() > 0.02
