import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import ConfigError, SceneError
from vnp_nerf.cameras import Cameras, look_at, orbit_cameras, picture_rays, project
from vnp_nerf.frames import BALL_ROOM, Similarity
from vnp_nerf.pictures import PictureSource
from vnp_nerf.readers import ReadOptions, open_scene


def assert_coordinates(picture: np.ndarray, view: int) -> None:
    """The pictures of the `write_scene` fixture say where each pixel is."""
    height, width = picture.shape[:2]
    assert (picture[..., 0] == np.arange(width)[None]).all()
    assert (picture[..., 1] == np.arange(height)[:, None]).all()
    assert (picture[..., 2] == view).all()


def test_a_blender_scene_has_the_cameras_that_were_written(tmp_path, write_scene):
    cameras = orbit_cameras(6, 4.0, 25.0, 40.0, 16, 20)
    scene = open_scene(write_scene(tmp_path / "chair", cameras=cameras))
    assert (scene.name, scene.path, len(scene)) == ("chair", tmp_path / "chair", 6)
    torch.testing.assert_close(scene.cameras.camera_to_world, cameras.camera_to_world)
    torch.testing.assert_close(scene.cameras.intrinsics, cameras.intrinsics)
    assert torch.equal(scene.cameras.sizes, cameras.sizes)
    for view in range(6):
        assert_coordinates(scene.picture(view), view)
    assert scene.splits == {}
    assert scene.views_in("train") == tuple(range(6))


def test_a_blender_scenes_frame_is_the_inscribed_ball_about_the_origin(tmp_path, write_scene):
    scene = open_scene(write_scene(tmp_path / "s"))
    radius = 4 * math.sin(math.atan(0.8 * math.tan(math.radians(20))))
    assert 1 / scene.frame.scale == pytest.approx(radius, rel=1e-5)
    assert torch.equal(scene.frame.rotation, torch.eye(3).double())
    assert scene.frame.translation.abs().max() == 0
    torch.testing.assert_close(scene.model_cameras().positions, scene.cameras.positions / radius)


def test_near_and_far_are_those_of_learned_init_where_its_cameras_stand(tmp_path, write_scene):
    assert (open_scene(write_scene(tmp_path / "a")).near, open_scene(tmp_path / "a").far) == (2.0, 6.0)
    far_away = open_scene(write_scene(tmp_path / "b", cameras=orbit_cameras(6, 40.0, 25.0, 40.0, 16, 20)))
    radius = 1 / far_away.frame.scale
    assert (far_away.near, far_away.far) == (pytest.approx(40 - radius), pytest.approx(40 + radius))
    stated = open_scene(write_scene(tmp_path / "c", near=1.5, far=9.0, bounding_radius=1.25))
    assert (stated.near, stated.far, stated.frame.scale) == (1.5, 9.0, 0.8)


def test_a_relative_path_is_read_from_where_the_program_is_now(tmp_path, write_scene, monkeypatch):
    for place in ("here", "there"):
        write_scene(tmp_path / place / "s")
        monkeypatch.chdir(tmp_path / place)
        assert open_scene("s").pictures[0].path.is_relative_to(tmp_path / place)


def test_file_paths_need_no_suffix_and_may_lie_beside_the_scene(tmp_path, write_scene, edit_scene):
    write_scene(tmp_path / "s")

    def move(meta):
        for view, frame in enumerate(meta["frames"]):
            frame["file_path"] = f"r_{view}" if view else "../pictures/first"

    (tmp_path / "pictures").mkdir()
    (tmp_path / "s" / "r_0.png").rename(tmp_path / "pictures" / "first.png")
    scene = open_scene(edit_scene(tmp_path / "s", move))
    assert_coordinates(scene.picture(0), 0)
    assert_coordinates(scene.picture(5), 5)


@pytest.mark.parametrize("prefix", ["/somebody/elses/disk/s/", "../../../other/", "train/", "C:\\renders\\"])
def test_pictures_are_found_by_name_where_the_path_is_that_of_another_machine(
    tmp_path, write_scene, edit_scene, prefix
):
    def change(meta):
        for view, frame in enumerate(meta["frames"]):
            frame["file_path"] = f"{prefix}r_{view}"

    scene = open_scene(edit_scene(write_scene(tmp_path / "s"), change))
    for view in range(6):
        assert_coordinates(scene.picture(view), view)


def test_blender_splits_become_view_splits(tmp_path, write_scene):
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        write_scene(tmp_path / split, views=count)
        meta = json.loads((tmp_path / split / "transforms.json").read_text())
        for frame in meta["frames"]:
            frame["file_path"] = f"./{split}/" + frame["file_path"].removeprefix("./").removesuffix(".png")
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(meta))
    scene = open_scene(tmp_path)
    assert scene.splits == {"train": (0, 1, 2), "val": (3,), "test": (4, 5)}
    assert scene.views_in("test") == (4, 5)
    assert_coordinates(scene.picture(5), 1)
    assert len(open_scene(tmp_path / "transforms_test.json")) == 2


def test_nerfstudios_lists_of_filenames_become_view_splits(tmp_path, write_scene):
    lists = {"train_filenames": ["r_4.png", "./r_0.png"], "test_filenames": ["r_2.png"]}
    scene = open_scene(write_scene(tmp_path / "s", nerfstudio=True, **lists))
    assert scene.splits == {"train": (4, 0), "test": (2,)}


def test_numbers_of_a_frame_win_over_those_of_the_file(tmp_path, write_scene, edit_scene):
    def change(meta):
        meta["frames"][1] |= {"fl_x": 33.0, "fl_y": 34.0, "cx": 9.0, "cy": 7.0}

    scene = open_scene(edit_scene(write_scene(tmp_path / "s", nerfstudio=True), change))
    assert scene.cameras.intrinsics[1].tolist() == [33, 34, 9, 7]
    assert scene.cameras.intrinsics[0].tolist() != [33, 34, 9, 7]


def test_masks_become_alpha(tmp_path, write_scene, edit_scene):
    mask = np.zeros((16, 20), np.uint8)
    mask[3:9, 5:11] = 255
    write_scene(tmp_path / "s", nerfstudio=True, margin=0)
    Image.fromarray(mask).save(tmp_path / "s" / "mask.png")
    scene = open_scene(
        edit_scene(tmp_path / "s", lambda meta: meta["frames"][2].update(mask_path="mask.png"))
    )
    np.testing.assert_array_equal(scene.picture(2)[..., 3], mask)
    assert (scene.picture(0)[..., 3] == 255).all()


def test_masks_may_lie_beside_under_the_pictures_names(tmp_path, write_scene, edit_scene):
    folder = write_scene(tmp_path / "s", nerfstudio=True, margin=0)
    (folder / "masks").mkdir()
    for size, name in ((3, "r_0"), (5, "r_2")):
        mask = np.zeros((16, 20), np.uint8)
        mask[2 : 2 + size] = 255
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    Image.fromarray(np.full((16, 20), 255, np.uint8)).save(folder / "whole.png")
    scene = open_scene(folder)
    rows = [int((scene.picture(view)[..., 3] > 0).any(axis=1).sum()) for view in range(3)]
    assert rows == [3, 16, 5]
    named = edit_scene(folder, lambda meta: meta["frames"][2].update(mask_path="whole.png"))
    assert (open_scene(named).picture(2)[..., 3] == 255).all()


def test_what_ns_process_data_writes_is_read(tmp_path, write_scene, edit_scene):
    folder = write_scene(
        tmp_path / "s",
        nerfstudio=True,
        margin=0,
        k1=-0.05,
        k2=0.01,
        p1=0.001,
        p2=-0.001,
        **{
            "applied_transform": [[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]],
            "ply_file_path": "sparse_pc.ply",
        },
    )
    (folder / "images").mkdir()
    (folder / "images_2").mkdir()

    def change(meta):
        for view, frame in enumerate(meta["frames"]):
            (folder / f"r_{view}.png").rename(folder / "images" / f"frame_{view + 1:05d}.png")
            frame |= {"file_path": f"images/frame_{view + 1:05d}.png", "colmap_im_id": view + 1}

    scene = open_scene(edit_scene(folder, change))
    lens = scene.pictures[0].lens
    assert lens is not None
    torch.testing.assert_close(scene.cameras.intrinsics[0], torch.tensor(lens.pinhole()))
    assert scene.picture(0).shape == (16, 20, 4)
    # Red is the column it came from: straightening moves columns a little and swaps none.
    columns = scene.picture(0)[8, :, 0].astype(int)
    assert np.abs(columns - np.arange(20)).max() <= 2
    assert np.diff(columns).min() >= 0


@pytest.mark.parametrize("seed", range(5))
def test_a_similarity_of_a_captures_cameras_only_turns_them_about_z_in_the_models_frame(
    tmp_path, write_scene, seed
):
    generator = torch.Generator().manual_seed(seed)
    positions = torch.tensor([2.0, 0, 1]) + torch.randn(7, 3, generator=generator)
    poses = look_at(positions, 0.1 * torch.randn(7, 3, generator=generator))
    cameras = orbit_cameras(7, 1.0, 0.0, 40.0, 16, 20)
    cameras = type(cameras)(poses, cameras.intrinsics, cameras.sizes)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    similarity = Similarity(rotation * torch.linalg.det(rotation), torch.tensor([5.0, -3, 2]).double(), 3.7)

    plain = open_scene(write_scene(tmp_path / "a", cameras=cameras, nerfstudio=True)).model_cameras()
    moved_scene = open_scene(
        write_scene(tmp_path / "b", cameras=similarity.apply_cameras(cameras), nerfstudio=True)
    )
    moved = moved_scene.model_cameras()
    # The turn that takes one to the other is found from the first camera, and must fit all, and keep z.
    turn = moved.camera_to_world[0, :, :3] @ plain.camera_to_world[0, :, :3].T
    torch.testing.assert_close(turn[2], torch.tensor([0.0, 0, 1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(turn @ plain.camera_to_world, moved.camera_to_world, atol=1e-3, rtol=0)
    # And what the model makes comes back to the world that the user gave.
    points = 0.3 * torch.randn(5, 3, generator=generator)
    world, _ = project(
        moved_scene.frame.inverse().apply(points),
        moved_scene.cameras.camera_to_world[0],
        cameras.intrinsics[0],
    )
    model, _ = project(points, moved.camera_to_world[0], cameras.intrinsics[0])
    torch.testing.assert_close(world, model, atol=1e-2, rtol=0)


def test_a_captures_axes_stay_if_the_file_says_so(tmp_path, write_scene):
    tilted = orbit_cameras(5, 4.0, 10.0, 40.0, 16, 20)
    turn = Similarity(
        torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).double(), torch.zeros(3).double(), 1.0
    )
    cameras = turn.apply_cameras(tilted)
    upright = open_scene(write_scene(tmp_path / "a", cameras=cameras, nerfstudio=True))
    assert not torch.allclose(upright.frame.rotation, torch.eye(3).double(), atol=1e-2)
    kept = open_scene(
        write_scene(tmp_path / "b", cameras=cameras, nerfstudio=True, orientation_override="none")
    )
    assert torch.equal(kept.frame.rotation, torch.eye(3).double())


def test_the_frame_option_decides_what_the_format_would(tmp_path, write_scene):
    folder = write_scene(tmp_path / "s", cameras=orbit_cameras(1, 4.0, 20.0, 40.0, 16, 20), nerfstudio=True)
    scene = open_scene(folder, ReadOptions(frame="canonical"))
    assert scene.frame.translation.abs().max() == 0
    blender = open_scene(write_scene(tmp_path / "b"), ReadOptions(frame="capture"))
    torch.testing.assert_close(blender.frame.translation, torch.zeros(3).double(), atol=1e-6, rtol=0)


def test_shrunk_scenes_have_shrunk_cameras(tmp_path, write_scene):
    folder = write_scene(tmp_path / "s", height=24, width=40, margin=0)
    whole, half = open_scene(folder), open_scene(folder, ReadOptions(max_size=20))
    assert half.cameras.sizes[0].tolist() == [12, 20]
    torch.testing.assert_close(half.cameras.intrinsics, whole.cameras.intrinsics / 2)
    means = whole.picture(3).reshape(12, 2, 20, 2, 4).astype(float).mean((1, 3))
    np.testing.assert_allclose(half.picture(3), means, atol=1)
    assert open_scene(folder, ReadOptions(max_size=99)).cameras.sizes[0].tolist() == [24, 40]
    assert half.frame.scale == whole.frame.scale


def test_opening_a_scene_decodes_no_picture(tmp_path, write_scene, monkeypatch):
    """But those of a capture whose outlines are to tell where the object is."""
    own_frame = write_scene(tmp_path / "own", w=20, h=16)
    capture = write_scene(tmp_path / "capture", nerfstudio=True)
    stated = write_scene(tmp_path / "stated", nerfstudio=True, bounding_centre=[0, 0, 0], bounding_radius=1.0)

    def refuse(path, **options):
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(Image, "open", refuse)
    assert len(open_scene(own_frame)) == 6
    assert len(open_scene(stated)) == 6
    assert len(open_scene(capture, ReadOptions(ball="cameras"))) == 6
    with pytest.raises(AssertionError, match=r"r_0\.png was opened"):
        open_scene(capture)


def framed_aside(folder, write_scene, **extra):
    """A capture of a ball of radius .4 about (1, 2, 3), by cameras that look past it: 14 views of 64 x 64."""
    centre = torch.tensor([1.0, 2.0, 3.0])
    poses = orbit_cameras(14, 3.0, 20.0, 40.0, 64, 64).camera_to_world.clone()
    turn = torch.linalg.matrix_exp(torch.tensor([[0, 0, 0.12], [0, 0, -0.08], [-0.12, 0.08, 0]]))
    poses = torch.cat([poses[:, :, :3] @ turn, poses[:, :, 3:] + centre[:, None]], dim=-1)
    lens = torch.tensor([80.0, 80.0, 32.0, 32.0]).repeat(14, 1)
    cameras = Cameras(poses, lens, torch.full((14, 2), 64))
    write_scene(folder, height=64, width=64, cameras=cameras, nerfstudio=True, **extra)
    for view in range(14):
        origins, directions = picture_rays(poses[view], lens[view], 64, 64)
        meets = torch.linalg.cross(origins - centre, directions).norm(dim=-1) < 0.4
        rgba = np.full((64, 64, 4), 200, np.uint8)
        rgba[..., 3] = 255 * meets.numpy()
        Image.fromarray(rgba).save(folder / f"r_{view}.png")
    return folder


def ball_of(scene):
    middle = scene.frame.inverse().apply(torch.zeros(3, dtype=torch.float64))
    return middle, 1 / scene.frame.scale


def test_outlines_tell_a_captures_ball_and_cameras_another(tmp_path, write_scene):
    folder = framed_aside(tmp_path / "s", write_scene)
    wanted = torch.tensor([1.0, 2, 3]).double()
    for options in (ReadOptions(), ReadOptions(frame="canonical", ball="outlines")):
        middle, radius = ball_of(open_scene(folder, options))
        assert (middle - wanted).norm() < 0.02
        assert radius == pytest.approx(0.4 * BALL_ROOM, rel=0.03)
    middle, radius = ball_of(open_scene(folder, ReadOptions(ball="cameras")))
    assert (middle - wanted).norm() > 0.1
    assert radius > 2 * 0.4
    by_origin, _ = ball_of(open_scene(folder, ReadOptions(frame="canonical")))
    assert by_origin.norm() < 1e-9


def test_what_a_file_states_of_the_ball_is_kept_and_outlines_tell_the_rest(tmp_path, write_scene):
    for number, stated in enumerate([{"bounding_centre": [1.1, 2, 3]}, {"bounding_radius": 0.7}]):
        middle, radius = ball_of(open_scene(framed_aside(tmp_path / str(number), write_scene, **stated)))
        if "bounding_centre" in stated:
            torch.testing.assert_close(middle, torch.tensor([1.1, 2, 3]).double())
            assert radius == pytest.approx(0.5 * BALL_ROOM, rel=0.03)
        else:
            assert (middle - torch.tensor([1.0, 2, 3])).norm() < 0.02
            assert radius == pytest.approx(0.7)


def test_pictures_that_show_no_outline_are_passed_over(tmp_path, write_scene):
    folder = framed_aside(tmp_path / "s", write_scene)
    wanted = ball_of(open_scene(folder))
    (folder / "r_0.png").write_bytes((folder / "r_0.png").read_bytes()[:60])  # damaged
    Image.new("RGB", (64, 64)).save(folder / "r_3.png")  # without alpha
    middle, radius = ball_of(open_scene(folder))
    assert (middle - wanted[0]).norm() < 0.02
    assert radius == pytest.approx(wanted[1], rel=0.03)
    for view in range(14):
        Image.new("RGB", (64, 64)).save(folder / f"r_{view}.png")
    by_cameras = ball_of(open_scene(folder, ReadOptions(ball="cameras")))
    assert ball_of(open_scene(folder))[1] == by_cameras[1]
    with pytest.raises(SceneError, match=r"two or more pictures must have a mask"):
        open_scene(folder, ReadOptions(ball="outlines"))
    with pytest.raises(ConfigError, match=r"ball is 'masks'; it must be auto, cameras or outlines"):
        ReadOptions(ball="masks")


def test_few_pictures_of_many_are_decoded_for_outlines(tmp_path, write_scene, monkeypatch):
    folder = write_scene(tmp_path / "s", views=40, nerfstudio=True)
    decoded = []
    load = PictureSource.load
    monkeypatch.setattr(PictureSource, "load", lambda *given: decoded.append(given[0].path) or load(*given))
    open_scene(folder)
    assert len({*decoded}) == len(decoded) == 12
