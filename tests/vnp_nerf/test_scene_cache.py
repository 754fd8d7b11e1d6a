import numpy as np
import pytest

from vnp_core.errors import PictureError
from vnp_nerf.readers import open_scene
from vnp_nerf.scene_cache import SceneCache, foreground_box

PICTURE_BYTES = 16 * 20 * 4


def counting_cache(tmp_path, write_scene, monkeypatch, pictures_held: float) -> tuple[SceneCache, list]:
    """A cache of two scenes of six pictures with room for some of them, and a log of the pictures read."""
    folders = [write_scene(tmp_path / name) for name in "ab"]
    cache = SceneCache(folders, pictures_held * PICTURE_BYTES / 2**20)
    reads = []
    original = type(open_scene(folders[0])).picture

    def picture(scene, index):
        reads.append((scene.name, index))
        return original(scene, index)

    monkeypatch.setattr("vnp_nerf.scene.Scene.picture", picture)
    return cache, reads


def test_a_picture_is_read_once_while_there_is_room(tmp_path, write_scene, monkeypatch):
    cache, reads = counting_cache(tmp_path, write_scene, monkeypatch, 12)
    first = cache.view(0, 3)
    assert cache.view(0, 3) is first
    np.testing.assert_array_equal(first.rgba, cache.opened(0).scene.picture(3))
    assert reads == [("a", 3), ("a", 3)]  # the second one is this test's own


def test_the_picture_longest_unused_goes_first_and_the_bound_holds(tmp_path, write_scene, monkeypatch):
    cache, reads = counting_cache(tmp_path, write_scene, monkeypatch, 3)
    for index in (0, 1, 2, 0, 3):  # 1 is now the longest unused of three, and goes
        cache.view(0, index)
        assert cache.held_bytes <= 3 * PICTURE_BYTES
    reads.clear()
    for index in (0, 2, 3):
        cache.view(0, index)
    assert reads == []
    cache.view(0, 1)
    assert reads == [("a", 1)]


def test_a_cache_without_room_still_serves(tmp_path, write_scene, monkeypatch):
    cache, reads = counting_cache(tmp_path, write_scene, monkeypatch, 0)
    assert cache.view(1, 2).rgba.shape == (16, 20, 4)
    assert cache.view(1, 2).rgba.shape == (16, 20, 4)
    assert (cache.held_bytes, len(reads)) == (0, 2)


def test_preloading_reads_each_picture_once_and_stops_when_full(tmp_path, write_scene, monkeypatch):
    cache, reads = counting_cache(tmp_path, write_scene, monkeypatch, 20)
    cache.preload(progress=False)
    assert sorted(reads) == [(name, index) for name in "ab" for index in range(6)]
    reads.clear()
    cache.view(1, 5)
    assert reads == []
    full, _ = counting_cache(tmp_path, write_scene, monkeypatch, 5)
    full.preload(progress=True)
    assert full.held_bytes == 5 * PICTURE_BYTES


def test_preloading_finds_broken_pictures(tmp_path, write_scene):
    folder = write_scene(tmp_path / "a")
    (folder / "r_4.png").write_bytes(b"\x89PNG")
    with pytest.raises(PictureError, match=r"r_4\.png"):
        SceneCache([folder], 10).preload(progress=False)


def test_only_train_views_are_usable(tmp_path, write_scene):
    lists = {"train_filenames": ["r_5.png", "r_1.png"], "test_filenames": ["r_2.png"]}
    cache = SceneCache([write_scene(tmp_path / "a", nerfstudio=True, **lists)], 10)
    assert cache.opened(0).usable.tolist() == [5, 1]


def test_the_foreground_box_holds_all_of_the_object_and_a_margin():
    rgba = np.zeros((32, 48, 4), np.uint8)
    rgba[10:20, 5:30, 3] = 200
    assert foreground_box(rgba) == (2, 7, 33, 23)
    rgba[..., 3] = 0
    assert foreground_box(rgba) == (0, 0, 48, 32)
    rgba[0, 47, 3] = 1
    assert foreground_box(rgba) == (44, 0, 48, 4)
