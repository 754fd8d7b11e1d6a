"""Pairs: disjoint, nested, seeded, a scene's own whatever else the corpus holds; misfits are refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from vnp_core.errors import DataError, SceneError, SceneNotFoundError, ViewCountError
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.pairs import Pairs, make_pairs, paired_scenes, read_pairs, write_pairs
from vnp_nerf.readers import open_collection
from vnp_nerf.unseen_side import sees_unseen_side

VIEWS = 12
STORED = Path(__file__).resolve().parents[2] / "data" / "pairs"


def write_scene(folder: Path, views: int = VIEWS, distance: float = 4.0) -> None:
    (folder / "train").mkdir(parents=True)
    cameras = orbit_cameras(views, distance, 20.0, 30.0, 4, 4)
    frames = []
    for view, pose in enumerate(cameras.camera_to_world.tolist()):
        Image.fromarray(np.zeros((4, 4, 4), dtype=np.uint8)).save(folder / "train" / f"r_{view}.png")
        frames.append({"file_path": f"train/r_{view}", "transform_matrix": [*pose, [0, 0, 0, 1]]})
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.5, "frames": frames}))


def write_corpus(root: Path, test: int = 4, views: int = VIEWS) -> Path:
    names = {"train": ["a"], "test": [f"object{n}" for n in range(test)]}
    for name in [*names["train"], *names["test"]]:
        write_scene(root / "things" / name, views)
    (root / "thing_splits.json").write_text(json.dumps(names))
    return root / "things"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_corpus(tmp_path)


def _pairs(root: Path, **options: int) -> Pairs:
    return make_pairs(open_collection(root), "things", "make things", ["test"], **options)


def test_context_and_query_views_are_disjoint_and_exist(root: Path) -> None:
    scenes = _pairs(root, contexts=8, queries=3).scenes["test"]
    assert len(scenes) == 4
    for scene in scenes.values():
        both = [*scene.context, *scene.query]
        assert (len(scene.context), len(scene.query), scene.views) == (8, 3, VIEWS)
        assert len(set(both)) == 11
        assert set(both) <= set(range(VIEWS))
    assert len({scene.context for scene in scenes.values()}) > 1


def test_every_query_of_the_unseen_side_is_unseen_from_every_context_view(tmp_path: Path) -> None:
    root = write_corpus(tmp_path, views=30)
    pairs = _pairs(root, contexts=8, queries=3, unseen_side=True)
    assert pairs == _pairs(root, contexts=8, queries=3, unseen_side=True)
    asked: set[tuple[int, ...]] = set()
    for scene, stored in paired_scenes(open_collection(root), pairs, "test"):
        assert (len(stored.context), len(stored.query)) == (8, 3)
        where = scene.model_cameras().positions
        for count in (1, 2, 3, 5, 8):
            assert sees_unseen_side(where[list(stored.context[:count])], where[list(stored.query)]).all()
        asked.add(stored.query)
    assert len(asked) > 1
    usual = _pairs(root, contexts=8, queries=3).scenes["test"]
    assert {stored.query for stored in usual.values()} != asked
    with pytest.raises(ViewCountError, match="30 views.*on opposite sides"):
        _pairs(root, contexts=20, queries=3, unseen_side=True)


def test_the_same_seed_gives_the_same_pairs_and_another_gives_others(root: Path) -> None:
    assert _pairs(root, seed=3) == _pairs(root, seed=3)
    assert _pairs(root, seed=3).scenes != _pairs(root, seed=4).scenes


def test_a_scene_keeps_its_pairs_when_the_corpus_grows_or_is_cut(root: Path, tmp_path: Path) -> None:
    few = _pairs(root, limit=2).scenes["test"]
    assert len(few) == 2
    assert few.items() <= _pairs(root).scenes["test"].items()
    grown = _pairs(write_corpus(tmp_path / "grown", test=6)).scenes["test"]
    assert _pairs(root).scenes["test"].items() <= grown.items()


def test_fewer_contexts_are_a_prefix_of_more(root: Path) -> None:
    few, more = (_pairs(root, contexts=n).scenes["test"] for n in (3, 8))
    for name in few:
        assert more[name].context[:3] == few[name].context
        assert more[name].query == few[name].query


def test_pairs_survive_the_round_trip_one_scene_a_line(root: Path, tmp_path: Path) -> None:
    pairs, path = _pairs(root), tmp_path / "pairs" / "things.json"
    write_pairs(path, pairs)
    assert read_pairs(path) == pairs
    assert sum('"object' in line for line in path.read_text().splitlines()) == 4
    assert [entry.name for entry in path.parent.iterdir()] == ["things.json"]


def test_categories_are_kept_where_they_are_told(root: Path, tmp_path: Path) -> None:
    plain = make_pairs(open_collection(root), "c", "", ["test"])
    name = next(iter(plain.scenes["test"]))
    told = make_pairs(open_collection(root), "c", "", ["test"], categories={name: "chairs", "other": "x"})
    write_pairs(tmp_path / "told.json", told)
    assert read_pairs(tmp_path / "told.json") == told
    assert [each.category for each in told.scenes["test"].values()] == [
        "chairs" if other == name else "" for other in plain.scenes["test"]
    ]
    assert {key: replace(each, category="") for key, each in told.scenes["test"].items()} == plain.scenes[
        "test"
    ]


def test_folders_of_a_root_with_several_categories_are_its_categories(
    root: Path, tmp_path: Path, load_script: Callable[[str], ModuleType]
) -> None:
    script = load_script("make_pairs")
    for name in ("vase0", "vase1"):
        write_scene(tmp_path / "vases" / name)
    (tmp_path / "vase_splits.json").write_text(json.dumps({"train": [], "test": ["vase0", "vase1"]}))
    for corpus, folder in (("all", tmp_path), ("one", root)):
        script.main(script.MakePairs(corpus, folder, "", folder=tmp_path / "pairs"))
    both, one = (read_pairs(tmp_path / "pairs" / f"{name}.json").scenes["test"] for name in ("all", "one"))
    assert {name: each.category for name, each in both.items()} == {
        **{f"object{n}": "things" for n in range(4)},
        **{f"vase{n}": "vases" for n in range(2)},
    }
    assert {name: replace(both[name], category="") for name in one} == one


def test_pairs_that_fit_open_their_scenes_in_the_order_of_the_pairs(root: Path) -> None:
    pairs = _pairs(root)
    opened = paired_scenes(open_collection(root), pairs, "test")
    assert {scene.name: stored for scene, stored in opened} == pairs.scenes["test"]
    assert [scene.name for scene, _ in opened] == list(pairs.scenes["test"])
    assert sorted(pairs.scenes["test"]) == [f"object{n}" for n in range(4)]


def test_the_root_above_the_category_serves_as_well(root: Path) -> None:
    assert len(paired_scenes(open_collection(root.parent), _pairs(root), "test")) == 4


def test_a_missing_scene_or_split_is_named_with_the_command_that_makes_it(root: Path) -> None:
    pairs = _pairs(root)
    shutil.rmtree(root / "object1")
    (root.parent / "thing_splits.json").write_text(json.dumps({"train": ["a"], "test": ["object0"]}))
    with pytest.raises(SceneNotFoundError, match=r"object[123].*make things"):
        paired_scenes(open_collection(root), pairs, "test")
    with pytest.raises(SceneNotFoundError, match="'extra'"):
        paired_scenes(open_collection(root), pairs, "extra")


@pytest.mark.parametrize("change", [{"views": VIEWS - 1}, {"distance": 4.1}])
def test_a_scene_of_other_views_or_cameras_is_refused(root: Path, change: dict) -> None:
    pairs = _pairs(root)
    shutil.rmtree(root / "object2")
    write_scene(root / "object2", **change)
    with pytest.raises(SceneError, match=r"object2 is not the scene.*make things"):
        paired_scenes(open_collection(root), pairs, "test")


def test_too_few_views_and_names_that_two_categories_share_are_refused(root: Path) -> None:
    with pytest.raises(ViewCountError, match="12 views"):
        _pairs(root, contexts=10, queries=3)
    shutil.copytree(root, root.parent / "others")
    shutil.copy(root.parent / "thing_splits.json", root.parent / "other_splits.json")
    with pytest.raises(SceneError, match="share names"):
        _pairs(root.parent)


def test_a_damaged_file_is_a_data_error(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "things.json"
    with pytest.raises(DataError, match="no pairs"):
        read_pairs(path)
    pairs = _pairs(root)
    one = pairs.scenes["test"]["object0"]
    doubled = replace(one, query=one.context[:1])
    write_pairs(path, replace(pairs, scenes={"test": {"object0": doubled}}))
    with pytest.raises(DataError, match="repeat"):
        read_pairs(path)
    for text in (
        "",
        "[]",
        '{"corpus": 1}',
        '{"corpus": "a", "make": "b", "seed": 0, "scenes": {"test": []}}',
    ):
        path.write_text(text)
        with pytest.raises(DataError, match="no file of pairs"):
            read_pairs(path)


@pytest.mark.parametrize("corpus", ["furniture", "shapes", "shapes-cars"])
def test_the_stored_pairs_of_the_unseen_side_are_of_the_same_objects_and_cameras(corpus: str) -> None:
    usual, unseen = (read_pairs(STORED / f"{name}.json") for name in (corpus, f"{corpus}-unseen"))
    assert list(usual.scenes) == list(unseen.scenes)
    assert usual.make == unseen.make
    for split, scenes in usual.scenes.items():
        assert list(scenes) == list(unseen.scenes[split])
        for name, stored in scenes.items():
            other = unseen.scenes[split][name]
            assert (other.views, other.centre) == (stored.views, stored.centre)
            assert (len(other.context), len(other.query)) == (8, 3)
