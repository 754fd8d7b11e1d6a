"""The same picture, in each way that a notebook may hold it, is the same bytes; anything else is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import DataError, PictureError
from vnp_nerf.given_pictures import rgba_pictures


@pytest.fixture
def rgba(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 9, 4), dtype=np.uint8)


def test_every_form_of_a_picture_gives_the_same_bytes(rgba: np.ndarray, tmp_path: Path):
    Image.fromarray(rgba).save(tmp_path / "a.png")
    forms = [
        rgba,
        rgba / 255,
        torch.from_numpy(rgba),
        torch.from_numpy(rgba).permute(2, 0, 1),
        torch.from_numpy(rgba).permute(2, 0, 1).float() / 255,
        Image.fromarray(rgba),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
    ]
    for picture in rgba_pictures(forms):
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, rgba)


def test_an_array_of_pictures_is_several(rgba: np.ndarray):
    assert len(rgba_pictures(np.stack([rgba, rgba]))) == 2


def test_pictures_without_alpha_are_opaque(rgba: np.ndarray):
    (picture,) = rgba_pictures([rgba[..., :3]])
    assert (picture[..., 3] == 255).all()
    assert np.array_equal(picture[..., :3], rgba[..., :3])


def test_every_form_of_a_mask_cuts_the_same_pixels(rgba: np.ndarray, tmp_path: Path):
    on = np.zeros((6, 9), bool)
    on[2:4, 3:7] = True
    Image.fromarray(on.astype(np.uint8) * 255).save(tmp_path / "m.png")
    labels = Image.fromarray(on.astype(np.uint8), mode="P")
    labels.putpalette([0, 0, 0, 128, 0, 0])
    labels.save(tmp_path / "labels.png")
    forms = [
        on,
        on.astype(np.uint8),
        on.astype(np.uint8) * np.uint8(255),
        on.astype(np.float32),
        on[..., None],
        torch.from_numpy(on)[None],
        Image.fromarray(on),
        Image.fromarray(on.astype(np.uint16) * np.uint16(65535)),
        labels,
        tmp_path / "m.png",
        tmp_path / "labels.png",
    ]
    for picture in rgba_pictures([rgba[..., :3]] * len(forms), forms):
        assert np.array_equal(picture[..., 3], on * 255)


def test_a_mask_multiplies_an_alpha_that_is_there(rgba: np.ndarray):
    (picture,) = rgba_pictures([rgba], [np.full((6, 9), 0.5)])
    assert np.abs(picture[..., 3] - rgba[..., 3] / 2).max() <= 1


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 5), np.uint8), r"shape \[4, 5\] is no picture"),
        (np.zeros((5, 4, 2), np.uint8), "no picture"),
        (np.zeros((0, 5, 3), np.uint8), "no picture"),
        (np.full((4, 5, 3), 200.0), "from 200 to 200; they must lie between 0 and 1. Divide by 255"),
        (np.full((4, 5, 3), np.nan), "between 0 and 1"),
        (np.zeros((4, 5, 3), np.int64), "int64 have no fixed range"),
        (Image.new("F", (4, 4)), "mode 'F'"),
        (3.5, "given float 3.5"),
        ("nowhere.png", "no such picture"),
    ],
)
def test_what_is_no_picture_is_named_with_its_number(image: object, words: str, rgba: np.ndarray):
    with pytest.raises(PictureError, match=words) as raised:
        rgba_pictures([rgba, image])  # type: ignore[list-item]
    assert "picture 1" in str(raised.value) or "nowhere.png" in str(raised.value)


@pytest.mark.parametrize("single", ["folder", Path("a.png"), Image.new("RGB", (2, 2)), 7])
def test_a_single_picture_is_told_apart_from_several(single: object):
    with pytest.raises(DataError, match=r"several pictures.*\[picture\]"):
        rgba_pictures(single)  # type: ignore[arg-type]


def test_masks_must_fit_their_pictures(rgba: np.ndarray):
    with pytest.raises(DataError, match="1 pictures came with 2 masks"):
        rgba_pictures([rgba], [rgba[..., 3]] * 2)
    with pytest.raises(PictureError, match=r"mask 0 has 3 x 9.*6 x 9"):
        rgba_pictures([rgba], [rgba[:3, :, 3]])
    with pytest.raises(PictureError, match="no mask"):
        rgba_pictures([rgba], [rgba])
