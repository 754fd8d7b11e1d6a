"""Sheets: every picture lands in its cell with its own pixels, and depth reads from near to far."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import DataError
from vnp_nerf.contact_sheets import (
    CELL,
    DEPTH_COLOURS,
    GAP,
    TEXT,
    Panel,
    colour_depth,
    contact_sheet,
    write_png,
)


def test_nearer_is_brighter_and_the_ends_are_the_ends_of_the_map() -> None:
    depth = torch.linspace(2, 4, 9)[None]
    colours = colour_depth(depth, torch.ones_like(depth), 2.0, 4.0)[0]
    assert colours[0].tolist() == pytest.approx(DEPTH_COLOURS[0])
    assert colours[4].tolist() == pytest.approx(DEPTH_COLOURS[2])
    assert colours[-1].tolist() == pytest.approx(DEPTH_COLOURS[-1])
    assert bool((colours.mean(-1).diff() < 0).all())


def test_depths_beyond_the_ends_are_clamped_and_empty_pixels_are_white() -> None:
    depth = torch.tensor([[0.0, 9.0, 3.0]])
    colours = colour_depth(depth, torch.tensor([[1.0, 1.0, 0.4]]), 2.0, 4.0)[0]
    assert colours[0].tolist() == pytest.approx(DEPTH_COLOURS[0])
    assert colours[1].tolist() == pytest.approx(DEPTH_COLOURS[-1])
    assert colours[2].tolist() == [1, 1, 1]
    with pytest.raises(DataError, match="far"):
        colour_depth(depth, depth, 4.0, 4.0)


def test_every_panel_is_in_its_cell_with_its_proportions() -> None:
    square, wide = torch.zeros(8, 8, 3), torch.zeros(10, 40, 3)
    square[..., 0], wide[..., 2] = 1.0, 1.0
    sheet = contact_sheet([("first", [Panel(square, "a"), Panel(wide, "b")]), ("second", [Panel(wide)])])
    line = TEXT + 6
    tops = [GAP + 2 * line, GAP + 2 * line + 2 * line + CELL + GAP]

    def middle(row: int, column: int, dy: int = 0) -> list[int]:
        y, x = tops[row] + CELL // 2 + dy, GAP + column * (CELL + GAP) + CELL // 2
        return sheet[y, x].tolist()

    assert middle(0, 0) == [255, 0, 0]
    assert middle(0, 0, CELL // 2 - 3) == [255, 0, 0]
    assert middle(0, 1) == middle(1, 0) == [0, 0, 255]
    assert middle(0, 1, CELL // 8 + 2) == [255, 255, 255]
    assert middle(1, 1) == [255, 255, 255]


def test_labels_leave_ink_and_pixels_stay_sharp() -> None:
    checks = torch.zeros(4, 4, 3)
    checks[::2, ::2] = 1
    sheet = contact_sheet([("a label", [Panel(checks, "caption")])], "a title")
    line = TEXT + 6
    assert (sheet[:line] < 128).any()
    assert (sheet[2 * line : 3 * line] < 128).any()
    cell = sheet[4 * line + 1 : 4 * line + CELL - 1, GAP + 1 : GAP + CELL - 1]
    assert set(np.unique(cell).tolist()) == {0, 255}


def test_a_png_appears_whole_and_alone(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    write_png(tmp_path / "deep" / "sheet.png", pixels)
    assert np.array_equal(np.array(Image.open(tmp_path / "deep" / "sheet.png")), pixels)
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["sheet.png"]
