import json

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from vnp_core.errors import ConfigError, DataError, OutputExistsError
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.making.meshes import load_source
from vnp_nerf.making.shapes import ShapeSource, load_shape
from vnp_nerf.making.writer import WriterConfig, write_category
from vnp_nerf.readers import open_scene

CONFIG = WriterConfig(orbit=Orbit(views=3), size=16)
SPLITS = {"train": ["chair-a", "chair-b"], "test": ["chair-c"]}
SOURCES = {
    name: ShapeSource("chairs", 0, index) for index, name in enumerate(("chair-a", "chair-b", "chair-c"))
}


def write(root, config=CONFIG, **options):
    return write_category(root, "chairs", SPLITS, SOURCES, load_shape, config, **options)


def contents(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_layout_is_that_of_learned_init(tmp_path):
    report = write(tmp_path)
    assert report.written == ("chair-a", "chair-b", "chair-c")
    assert json.loads((tmp_path / "chair_splits.json").read_text()) == SPLITS
    scene = tmp_path / "chairs" / "chair-b"
    head = json.loads((scene / "transforms.json").read_text())
    assert head["camera_angle_x"] == pytest.approx(np.pi / 6)
    assert (head["w"], head["h"], len(head["frames"])) == (16, 16, 3)
    for frame in head["frames"]:
        pose = np.array(frame["transform_matrix"])
        assert np.linalg.norm(pose[:3, 3]) == pytest.approx(4)
        with Image.open(scene / frame["file_path"]) as picture:
            assert (picture.mode, picture.size) == ("RGBA", (16, 16))
            assert 10 < np.asarray(picture)[..., 3].sum() / 255 < 240


def test_scenes_of_any_framing_have_one_frame(tmp_path):
    """The ball that just fits into the usual views is stated where the cameras are others."""
    write(tmp_path / "usual")
    orbit = Orbit(views=3, field_of_view=50, distance=6, aside=10, roll=20)
    write(tmp_path / "other", WriterConfig(orbit=orbit, size=16))
    usual, other = (open_scene(tmp_path / name / "chairs" / "chair-a") for name in ("usual", "other"))
    assert "bounding_radius" not in json.loads((usual.path / "transforms.json").read_text())
    assert other.frame.scale == pytest.approx(usual.frame.scale, rel=1e-6)
    torch.testing.assert_close(other.frame.translation, usual.frame.translation)
    with pytest.raises(OutputExistsError, match=r"bounding_radius: 1\.03\d+ there, None now"):
        write(tmp_path / "other")


def test_collections_of_before_cameras_could_look_aside_are_resumed(tmp_path):
    write(tmp_path)
    told = json.loads((tmp_path / "chair_making.json").read_text())
    assert not {"aside", "roll"} & set(told["orbit"])
    assert write(tmp_path).present == ("chair-a", "chair-b", "chair-c")


def test_same_seed_gives_the_same_bytes_whatever_the_number_of_processes(tmp_path):
    write(tmp_path / "one", processes=1)
    write(tmp_path / "two", processes=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    write(tmp_path / "other", WriterConfig(orbit=Orbit(views=3), size=16, seed=1))
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_resuming_makes_only_what_is_missing(tmp_path):
    write(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "chairs" / "chair-b" / "transforms.json").unlink()
    untouched = tmp_path / "chairs" / "chair-a" / "train" / "r_000.png"
    stamp = untouched.stat().st_mtime_ns
    report = write(tmp_path)
    assert (report.written, report.present) == (("chair-b",), ("chair-a", "chair-c"))
    assert untouched.stat().st_mtime_ns == stamp
    assert contents(tmp_path) == before


def test_resuming_with_other_settings_is_refused(tmp_path):
    write(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match="size: 16 there, 32 now"):
        write(tmp_path, WriterConfig(orbit=Orbit(views=3), size=32))
    assert contents(tmp_path) == before


def test_resuming_with_another_way_up_is_refused(tmp_path):
    write(tmp_path, making={"up": None})
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match="up: None there, z now"):
        write(tmp_path, making={"up": "z"})
    assert contents(tmp_path) == before
    write(tmp_path)  # begun before there was such a setting: as without it


def test_scenes_that_are_not_asked_for_any_more_stay_listed(tmp_path):
    write(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match="1 scenes of chairs that are not asked for now"):
        write_category(tmp_path, "chairs", {"train": SPLITS["train"]}, SOURCES, load_shape, CONFIG)
    assert contents(tmp_path) == before


def write_meshes(tmp_path, **options):
    trimesh.creation.box().export(tmp_path / "good.ply")
    (tmp_path / "bad.ply").write_text("ply\nnothing")
    sources = {name: (tmp_path / f"{name}.ply", None) for name in ("good", "bad")}
    return write_category(
        tmp_path / "out", "objects", {"train": ["bad", "good"]}, sources, load_source, CONFIG, **options
    )


def test_a_broken_object_is_named_and_left_out(tmp_path):
    report = write_meshes(tmp_path)
    assert "bad.ply" in report.failed["bad"]
    assert json.loads((tmp_path / "out" / "object_splits.json").read_text()) == {"train": ["good"]}
    assert [path.name for path in (tmp_path / "out" / "objects").iterdir()] == ["good"]


def test_a_broken_object_is_an_error_when_strict(tmp_path):
    with pytest.raises(DataError, match="bad can't be rendered"):
        write_meshes(tmp_path, strict=True)
    assert not (tmp_path / "out" / "object_splits.json").exists()


def test_a_failure_in_the_middle_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(DataError, match="no space left"):
        write(tmp_path)
    assert list((tmp_path / "chairs").iterdir()) == []


def test_depth_pictures_hold_distances(tmp_path):
    write(tmp_path, WriterConfig(orbit=Orbit(views=2), size=16, depth=True))
    scene = tmp_path / "chairs" / "chair-a"
    head = json.loads((scene / "transforms.json").read_text())
    for frame in head["frames"]:
        distance = np.asarray(Image.open(scene / frame["depth_path"])) * head["depth_scale"]
        alpha = np.asarray(Image.open(scene / frame["file_path"]))[..., 3]
        there = distance > 0
        # A pixel's own ray may miss a rod that the four rays of its colour hit, and the other way round.
        assert there[alpha == 255].mean() > 0.9
        assert ((distance[there] > 3) & (distance[there] < 5)).all()
        assert there[alpha == 0].mean() < 0.05


def test_impossible_sizes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="size is 0"):
        write(tmp_path / "out", WriterConfig(size=0))
    assert not (tmp_path / "out").exists()
