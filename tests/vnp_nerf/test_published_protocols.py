"""Published protocols on scenes in exactly their layouts: which views are known, and which asked for."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import ConfigError, SceneNotFoundError, ViewCountError
from vnp_nerf.cameras import opencv_from_opengl, orbit_cameras
from vnp_nerf.published_protocols import published_pairs
from vnp_nerf.readers import open_collection

SRN_VIEWS, LEARNIT_VIEWS = 251, 25


def write_srn(folder: Path, views: int) -> None:
    """One object as SRN's renderings have it; pictures are not read here, and have one pixel."""
    cameras = orbit_cameras(views, 1.3, 20.0, 52.0, 1, 1)
    for name in ("rgb", "pose"):
        (folder / name).mkdir(parents=True)
    (folder / "intrinsics.txt").write_text("1.025 0.5 0.5 0.\n0. 0. 0.\n1.\n1 1\n")
    picture = Image.new("RGB", (1, 1))
    for view, pose in enumerate(opencv_from_opengl(cameras.camera_to_world)):
        matrix = torch.cat([pose, torch.tensor([[0.0, 0, 0, 1]])])
        (folder / "pose" / f"{view:06d}.txt").write_text(" ".join(map(str, matrix.flatten().tolist())))
        picture.save(folder / "rgb" / f"{view:06d}.png")


def write_learnit(root: Path, category: str, names: dict[str, list[str]], views: int) -> None:
    """A category as in Learned-Init's renderings: RGBA over nothing, Blender's cameras."""
    poses = orbit_cameras(views, 4.0, 20.0, 50.0, 2, 2).camera_to_world.tolist()
    for name in itertools.chain(*names.values()):
        folder = root / category / name / "train"
        folder.mkdir(parents=True)
        frames = []
        for view, pose in enumerate(poses):
            Image.fromarray(np.zeros((2, 2, 4), np.uint8)).save(folder / f"r_{view}.png")
            frames.append(
                {"file_path": f"./train/r_{view}", "transform_matrix": [*pose, [0.0, 0.0, 0.0, 1.0]]}
            )
        values = {"camera_angle_x": 0.8575560450553894, "frames": frames}
        (root / category / name / "transforms.json").write_text(json.dumps(values))
    (root / f"{category.removesuffix('s')}_splits.json").write_text(json.dumps(names))


def test_srn_knows_view_64_and_then_104_and_asks_for_all_others(tmp_path: Path) -> None:
    write_srn(tmp_path / "cars_test" / "a1", SRN_VIEWS)
    write_srn(tmp_path / "cars_train" / "b2", 2)
    one, two = published_pairs("srn", open_collection(tmp_path, ["cars"]), "cars")
    assert (one.context_count, two.context_count) == (1, 2)
    [first], [second] = (list(each.pairs.scenes["test"].values()) for each in (one, two))
    assert (first.context, second.context) == ((64,), (64, 104))
    assert first.query == (*range(64), *range(65, SRN_VIEWS))
    assert second.query == tuple(view for view in first.query if view != 104)
    assert {each.pairs.corpus for each in (one, two)} == {"srn-cars"}


def test_learned_inits_objects_have_one_random_view_known_the_same_at_every_call(tmp_path: Path) -> None:
    tests = [f"t{number}" for number in range(8)]
    write_learnit(tmp_path, "cars", {"train": ["a"], "test": tests}, LEARNIT_VIEWS)
    write_learnit(tmp_path, "lamps", {"train": ["a"], "test": ["z"]}, 2)
    collection = open_collection(tmp_path, ["cars"])
    [found] = published_pairs("learnit", collection, "cars")
    assert found.context_count == 1
    scenes = found.pairs.scenes["test"]
    assert list(scenes) == tests
    for each in scenes.values():
        assert sorted([*each.context, *each.query]) == list(range(LEARNIT_VIEWS))
        assert len(each.context) == 1
    assert len({each.context for each in scenes.values()}) > 3
    assert [found] == published_pairs("learnit", collection, "cars")
    [other] = published_pairs("learnit", collection, "cars", seed=1)
    assert other.pairs.scenes != found.pairs.scenes
    [fewer] = published_pairs("learnit", collection, "cars", limit=2)
    assert fewer.pairs.scenes["test"] == {name: scenes[name] for name in tests[:2]}


def test_what_a_protocol_cannot_be_followed_on_is_refused(tmp_path: Path) -> None:
    write_srn(tmp_path / "srn" / "cars_test" / "a1", 66)
    collection = open_collection(tmp_path / "srn", ["cars"])
    with pytest.raises(ViewCountError, match=r"66 views.*\[64, 104\]"):
        published_pairs("srn", collection, "cars")
    with pytest.raises(ConfigError, match="Did you mean 'learnit'"):
        published_pairs("learnt", collection, "cars")  # pyright: ignore[reportArgumentType]
    write_learnit(tmp_path / "learnit", "cars", {"train": ["a"]}, 2)
    with pytest.raises(SceneNotFoundError, match="test"):
        published_pairs("learnit", open_collection(tmp_path / "learnit", ["cars"]), "cars")
