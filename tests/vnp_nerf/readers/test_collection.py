import json
import time
from pathlib import Path

import pytest

from vnp_core.errors import SceneError, SceneNotFoundError
from vnp_nerf.readers import open_collection


def scene_at(folder: Path) -> Path:
    """A folder that passes for a scene, since scanning opens none."""
    folder.mkdir(parents=True)
    (folder / "transforms.json").touch()
    return folder


def named(collection, split: str) -> list[str]:
    return [collection.name_of(path) for path in collection.scenes[split]]


@pytest.mark.parametrize(
    "place", ["car_splits.json", "cars_splits.json", "cars/car_splits.json", "cars/splits.json"]
)
def test_a_learned_init_category_follows_its_split_file(tmp_path, place):
    for name in ("a", "b", "c", "d"):
        scene_at(tmp_path / "cars" / name)
    (tmp_path / place).write_text(json.dumps({"train": ["b", "a"], "test": ["c"], "test_author": ["d"]}))
    collection = open_collection(tmp_path)
    assert {split: named(collection, split) for split in collection.scenes} == {
        "train": ["cars/b", "cars/a"],
        "val": [],
        "test": ["cars/c"],
        "test_author": ["cars/d"],
    }
    assert collection.split("val") == collection.scenes["test"]
    assert collection.find("cars/c") == tmp_path / "cars" / "c"


def test_several_categories_are_joined_or_chosen(tmp_path):
    for category in ("cars", "lamps"):
        scene_at(tmp_path / category / "a")
        scene_at(tmp_path / category / "b")
        (tmp_path / f"{category[:-1]}_splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"]}))
    (tmp_path / "notes").mkdir()
    assert named(open_collection(tmp_path), "train") == ["cars/a", "lamps/a"]
    assert named(open_collection(tmp_path, ["lamps"]), "train") == ["lamps/a"]
    with pytest.raises(SceneNotFoundError, match="boats"):
        open_collection(tmp_path, ["lamps", "boats"])
    with pytest.raises(SceneNotFoundError, match="of boats found"):
        open_collection(tmp_path, ["boats"])


def test_a_categorys_own_folder_is_a_collection_too(tmp_path):
    scene_at(tmp_path / "cars" / "a")
    (tmp_path / "car_splits.json").write_text(json.dumps({"train": ["a"], "test": []}))
    assert named(open_collection(tmp_path / "cars"), "train") == ["a"]


def srn_scene_at(folder: Path):
    (folder / "pose").mkdir(parents=True)
    (folder / "intrinsics.txt").touch()


def test_srn_splits_are_in_the_folders_names(tmp_path):
    for split in ("train", "val", "test"):
        srn_scene_at(tmp_path / f"cars_{split}" / f"{split}1")
    collection = open_collection(tmp_path)
    assert named(collection, "val") == ["cars_val/val1"]
    assert [len(collection.scenes[split]) for split in ("train", "val", "test")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "counts"),
    [("cars_test", [0, 0, 20]), ("cars_val", [0, 20, 0]), ("test", [0, 0, 20]), ("cars_train", None)],
)
def test_srns_held_out_folder_alone_is_held_out_as_a_whole(tmp_path, name, counts):
    for number in range(20):
        srn_scene_at(tmp_path / name / f"s{number:02d}")
    found = [len(open_collection(tmp_path / name).scenes[split]) for split in ("train", "val", "test")]
    assert found == counts if counts else min(found) > 0
    scene_at(tmp_path / name / "another")  # of another format: somebody's own folder, whatever its name
    mixed = open_collection(tmp_path / name)
    assert all(mixed.scenes[split] for split in ("train", "val", "test"))


def test_folders_called_train_val_and_test_are_splits(tmp_path):
    for name in ("train/a", "train/b", "val/c", "test/d", "test_author/e", "other/f"):
        scene_at(tmp_path / name)
    collection = open_collection(tmp_path)
    assert {split: len(paths) for split, paths in collection.scenes.items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
        "test_author": 1,
    }


def test_a_flat_folder_is_split_by_names_alone(tmp_path):
    for number in range(200):
        scene_at(tmp_path / f"s{number:03d}")
    before = open_collection(tmp_path)
    counts = {split: len(paths) for split, paths in before.scenes.items()}
    assert sum(counts.values()) == 200
    assert 165 <= counts["train"] <= 195
    assert min(counts.values()) >= 2
    for number in range(200, 300):
        scene_at(tmp_path / f"s{number:03d}")
    after = open_collection(tmp_path)
    for split in before.scenes:
        assert set(before.scenes[split]) <= set(after.scenes[split])


@pytest.mark.parametrize("count", range(1, 9))
def test_small_flat_folders_leave_no_split_empty(tmp_path, count):
    for number in range(count):
        scene_at(tmp_path / f"s{number}")
    scene_at(tmp_path / ".s0.part")
    scenes = open_collection(tmp_path).scenes
    assert all(scenes[split] for split in ("train", "val", "test"))
    if count >= 3:
        everything = [path for split in scenes.values() for path in split]
        assert len(everything) == len(set(everything)) == count


@pytest.mark.parametrize("as_file", [False, True])
def test_a_single_scene_is_in_every_split_that_is_asked_for(tmp_path, as_file):
    root = scene_at(tmp_path / "chair")
    collection = open_collection(root / "transforms.json" if as_file else root)
    for split in ("train", "val", "test", "test_author"):
        (path,) = collection.split(split)
        assert collection.name_of(path) == "chair"


def test_nothing_found_says_where_and_what_was_expected(tmp_path):
    with pytest.raises(SceneNotFoundError, match="no such folder"):
        open_collection(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneNotFoundError, match=r"No scene found in .*1 folders.*transforms\.json"):
        open_collection(tmp_path)


def test_an_unknown_or_empty_split_says_what_there_is(tmp_path):
    scene_at(tmp_path / "train" / "a")
    collection = open_collection(tmp_path)
    with pytest.raises(SceneNotFoundError, match=r"'test_author'.*train \(1\)"):
        collection.split("test_author")
    with pytest.raises(SceneNotFoundError):
        collection.split("test")
    with pytest.raises(SceneNotFoundError, match="train/a"):
        collection.find("train/b")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"train": "a"}', '{"train": [1]}', '{"train": ["missing"]}', '{"train": ["../a"]}'],
)
def test_a_split_file_that_makes_no_sense_is_refused(tmp_path, text):
    scene_at(tmp_path / "cars" / "a")
    scene_at(tmp_path / "a")
    (tmp_path / "car_splits.json").write_text(text)
    with pytest.raises(SceneError, match=r"car_splits\.json"):
        open_collection(tmp_path)


def test_scenes_that_are_listed_and_not_there_are_left_out_and_reported(tmp_path, capsys):
    scene_at(tmp_path / "cars" / "a")
    (tmp_path / "cars" / "empty").mkdir()
    (tmp_path / "car_splits.json").write_text(json.dumps({"train": ["a", "empty", "gone", "../cars/a"]}))
    assert named(open_collection(tmp_path), "train") == ["cars/a"]
    reported = " ".join(capsys.readouterr().err.split())
    assert "of 4 scenes listed under 'train', 3 are not" in reported.replace("- ", "-")


def test_a_thousand_scenes_are_scanned_in_a_moment(tmp_path):
    for number in range(1000):
        scene_at(tmp_path / "cars" / f"s{number}")
    names = [f"s{number}" for number in range(1000)]
    (tmp_path / "car_splits.json").write_text(json.dumps({"train": names[:900], "test": names[900:]}))
    start = time.perf_counter()
    open_collection(tmp_path)
    open_collection(tmp_path / "cars")
    assert time.perf_counter() - start < 3.0
