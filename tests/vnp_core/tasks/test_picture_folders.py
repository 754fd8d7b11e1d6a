"""Picture files of every size and mode become one set; bad ones are named and counted, or fatal."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import DataError
from vnp_core.tasks.picture_folders import Preparation, picture_files, prepared, read_pictures, shrunk
from vnp_nerf.pictures import read_rgba

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)


def save(folder: Path, name: str, picture: Image.Image) -> Path:
    path = folder / name
    picture.save(path)
    return path


def read(files: list[Path], preparation: Preparation) -> tuple[torch.Tensor, list[str]]:
    lines: list[str] = []
    return read_pictures(files, [0] * len(files), preparation, read_rgba, lines.append).pixels, lines


def test_grey_palette_alpha_and_16_bit_files_of_one_grey_picture_agree(tmp_path: Path):
    grey = COLOURS[..., 0]
    whole = Image.fromarray(grey)
    alpha = Image.merge("RGBA", (whole, whole, whole, Image.new("L", whole.size, 255)))
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    files = [
        save(tmp_path, "a.png", whole),
        save(tmp_path, "b.png", whole.convert("RGB")),
        save(tmp_path, "c.png", whole.convert("P")),
        save(tmp_path, "d.png", alpha),
        save(tmp_path, "e.png", sixteen),
    ]
    found, lines = read(picture_files(tmp_path), Preparation(size=12, channels=1))
    assert files == picture_files(tmp_path)
    assert not lines
    assert torch.equal(found, torch.from_numpy(grey[:, 2:14])[None, None].expand(5, -1, -1, -1))


def test_what_is_transparent_comes_over_white(tmp_path: Path):
    empty = np.zeros((4, 4, 4), np.uint8)
    half = np.full((4, 4, 4), 128, np.uint8)
    assert (prepared(empty, Preparation(4), "x") == 255).all()
    assert (prepared(half, Preparation(4), "x") == round(128 * 128 / 255 + 127)).all()


def test_shrinking_is_the_mean_over_what_a_pixel_covers():
    picture = torch.rand(2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shrunk(picture, 3)[1, 0, 2], picture[1, :2, 4:].mean())
    # Not a divisor: each pixel covers 1.5 x 1.5 of the old ones.
    weights = torch.tensor([1.0, 0.5], dtype=torch.float64) / 1.5
    torch.testing.assert_close(shrunk(picture, 4)[0, 0, 0], weights @ picture[0, :2, :2] @ weights)
    torch.testing.assert_close(shrunk(picture, 4).mean(), picture.mean())
    assert shrunk(picture, 6) is picture


def test_bad_files_are_skipped_named_and_counted_or_fatal(tmp_path: Path):
    save(tmp_path, "good.png", Image.fromarray(COLOURS))
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "notes.txt").write_text("passed over")
    save(tmp_path, "tiny.png", Image.fromarray(COLOURS[:5, :5]))
    files = [*picture_files(tmp_path), tmp_path / "absent.png"]
    found, lines = read(files, Preparation(size=8))
    assert found.shape == (1, 3, 8, 8)
    assert len(lines) == 1
    assert lines[0].startswith("4 of 5 files were skipped. The first: ")
    assert "text.jpg" in lines[0]
    with pytest.raises(DataError, match="text.jpg.*--strict"):
        read(files, Preparation(size=8, strict=True))
    with pytest.raises(DataError, match="5 x 5 .* is less than 8 pixels a side"):
        prepared(np.zeros((5, 5, 4), np.uint8), Preparation(size=8), "tiny.png")
    with pytest.raises(DataError, match="None of 2 files"):
        read([tmp_path / "text.jpg", tmp_path / "absent.png"], Preparation(size=8))


def test_folders_without_pictures_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no pictures"):
        picture_files(tmp_path)
    with pytest.raises(DataError, match="There is no folder"):
        picture_files(tmp_path / "absent")
