"""Every way in which a scene can be broken has one error, of the right class, that says what and where."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vnp_core.errors import (
    CameraError,
    ConfigError,
    PictureError,
    SceneError,
    SceneNotFoundError,
    ViewCountError,
)
from vnp_nerf.readers import ReadOptions, open_scene

pytestmark = pytest.mark.fault("a broken or hostile scene")


def test_a_folder_without_a_scene_is_not_found(tmp_path):
    with pytest.raises(SceneNotFoundError, match=r"transforms\.json"):
        open_scene(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"frames": 3}', '{"frames": [4]}', "\xff\xfe"])
def test_a_file_that_is_no_scene_is_refused(tmp_path, text):
    (tmp_path / "transforms.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SceneError, match=r"transforms\.json"):
        open_scene(tmp_path)


def test_a_scene_without_pictures_is_refused(tmp_path, write_scene, edit_scene):
    folder = edit_scene(write_scene(tmp_path / "s"), lambda meta: meta["frames"].clear())
    with pytest.raises(PictureError, match="no pictures"):
        open_scene(folder)


@pytest.mark.parametrize("nerfstudio", [False, True])
@pytest.mark.parametrize("view", [0, 3])
def test_a_missing_picture_is_named_when_the_scene_is_opened(tmp_path, write_scene, nerfstudio, view):
    folder = write_scene(tmp_path / "s", nerfstudio=nerfstudio)
    (folder / f"r_{view}.png").unlink()
    with pytest.raises(PictureError, match=rf"r_{view}\.png.*no such picture"):
        open_scene(folder)


def test_a_truncated_picture_is_named_when_it_is_read(tmp_path, write_scene):
    folder = write_scene(tmp_path / "s")
    data = (folder / "r_2.png").read_bytes()
    (folder / "r_2.png").write_bytes(data[:60])
    scene = open_scene(folder)
    with pytest.raises(PictureError, match=r"r_2\.png"):
        scene.picture(2)


def test_a_picture_of_another_size_is_named_when_it_is_read(tmp_path, write_scene):
    folder = write_scene(tmp_path / "s")
    Image.fromarray(np.zeros((8, 10, 4), np.uint8)).save(folder / "r_2.png")
    with pytest.raises(PictureError, match=r"r_2\.png.*10 x 8.*20 x 16"):
        open_scene(folder).picture(2)


def set_pose(row: int, column: int, value):
    def change(meta):
        meta["frames"][1]["transform_matrix"][row][column] = value

    return change


def set_frame(**values):
    return lambda meta: meta["frames"][1].update(values)


def mirror(meta):
    for row in meta["frames"][1]["transform_matrix"][:3]:
        row[0] = -row[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_pose(0, 3, math.nan), "NaN"),
        (set_pose(2, 3, math.inf), "NaN or infinity"),
        (mirror, "reflection"),
        (set_pose(2, 1, 0.2), "no rotation"),
        (set_pose(3, 3, 2.0), "0 0 0 1"),
        (set_pose(0, 0, "one"), "numbers"),
        (set_pose(0, 0, 10**400), "numbers"),
        (set_frame(transform_matrix=[[1, 0], [0, 1]]), "shape"),
        (set_frame(transform_matrix=None), "transform_matrix"),
        (set_frame(fl_x=0.0), "not positive"),
        (set_frame(fl_x=-20.0), "not positive"),
        (set_frame(fl_y=0.0), "not positive"),
        (set_frame(fl_x=math.nan), "NaN"),
        (set_frame(fl_x="20"), "fl_x must be a number"),
        (set_frame(fl_x=True), "fl_x must be a number"),
        (set_frame(cx=10**400), "cx must be a number"),
        (set_frame(w=0), "positive whole"),
        (set_frame(h=15.5), "positive whole"),
        (set_frame(camera_model="OPENCV_FISHEYE"), "OPENCV_FISHEYE.*undistort"),
        (set_frame(camera_model=["PINHOLE"]), "camera_model"),
        (set_frame(is_fisheye=True), "fisheye"),
        (set_frame(k1=0.1, k4=0.01), "fisheye"),
        (set_frame(k1=math.nan), "no lens"),
        (set_frame(k1=0.1, fl_x=0.0), "no lens"),
        (set_frame(k1=-50.0), "too strong"),
        (set_frame(distortion_params=[0.1, 0.2]), "distortion_params"),
    ],
)
def test_a_camera_that_is_none_is_refused(tmp_path, write_scene, edit_scene, change, message):
    folder = edit_scene(write_scene(tmp_path / "s", nerfstudio=True), change)
    with pytest.raises(CameraError, match=message) as caught:
        open_scene(folder)
    assert "frame 1" in str(caught.value) or "r_1.png" in str(caught.value) or "k1" in str(caught.value)


@pytest.mark.parametrize("angle", [0.0, -1.0, math.pi, math.nan, "wide", None])
def test_a_field_of_view_that_is_none_is_refused(tmp_path, write_scene, angle):
    with pytest.raises(CameraError, match="camera_angle_x"):
        open_scene(write_scene(tmp_path / "s", camera_angle_x=angle))


@pytest.mark.parametrize(
    "values",
    [
        {"near": 0.0},
        {"near": -1},
        {"far": "far"},
        {"near": 5.0, "far": 4.0},
        {"bounding_radius": 0},
        {"bounding_radius": math.inf},
        {"bounding_radius": 10**400},
        {"bounding_centre": [0, 0]},
        {"bounding_centre": [0, 0, math.nan]},
        {"bounding_centre": "middle"},
    ],
)
def test_geometry_that_makes_no_sense_is_refused(tmp_path, write_scene, values):
    with pytest.raises(SceneError, match="|".join(values)):
        open_scene(write_scene(tmp_path / "s", **values))


@pytest.mark.parametrize(
    "text", ["../../secret.png", "/etc/passwd", "..\\..\\secret.png", "../../deep/s/../../secret.png", ".."]
)
def test_a_path_that_leads_out_of_the_dataset_is_refused(tmp_path, write_scene, edit_scene, text):
    Image.fromarray(np.zeros((16, 20, 4), np.uint8)).save(tmp_path / "secret.png")
    folder = write_scene(tmp_path / "deep" / "s")
    with pytest.raises(SceneError, match="leads out"):
        open_scene(edit_scene(folder, set_frame(file_path=text)))
    with pytest.raises(SceneError, match="leads out"):
        open_scene(edit_scene(folder, set_frame(file_path="r_1.png", mask_path=text)))


def test_a_scene_called_like_the_start_of_another_folder_does_not_reach_it(tmp_path, write_scene, edit_scene):
    (tmp_path / "data_private").mkdir()
    Image.fromarray(np.zeros((16, 20, 4), np.uint8)).save(tmp_path / "data_private" / "a.png")
    folder = write_scene(tmp_path / "data" / "s")
    with pytest.raises(SceneError, match="leads out"):
        open_scene(edit_scene(folder, set_frame(file_path="../../data_private/a.png")))


@pytest.mark.parametrize("value", [None, 3, "", ["r_1.png"]])
def test_a_frame_without_a_path_is_refused(tmp_path, write_scene, edit_scene, value):
    with pytest.raises(SceneError, match="frame 1: file_path"):
        open_scene(edit_scene(write_scene(tmp_path / "s"), set_frame(file_path=value)))


@pytest.mark.parametrize(
    ("listed", "error"), [(["r_9.png"], PictureError), ("r_1.png", SceneError), ([3], SceneError)]
)
def test_a_list_of_filenames_that_makes_no_sense_is_refused(tmp_path, write_scene, listed, error):
    with pytest.raises(error, match="train_filenames"):
        open_scene(write_scene(tmp_path / "s", nerfstudio=True, train_filenames=listed))


def test_a_capture_of_one_view_needs_a_ball(tmp_path, write_scene):
    with pytest.raises(ViewCountError, match="bounding_centre"):
        open_scene(write_scene(tmp_path / "a", views=1, nerfstudio=True))
    scene = open_scene(
        write_scene(tmp_path / "b", views=1, nerfstudio=True, bounding_centre=[0, 0, 0], bounding_radius=1.0)
    )
    assert scene.frame.scale == 1.0


def test_a_missing_focal_length_says_what_to_give(tmp_path, write_scene):
    folder: Path = write_scene(tmp_path / "s")
    meta = json.loads((folder / "transforms.json").read_text())
    del meta["camera_angle_x"]
    (folder / "transforms.json").write_text(json.dumps(meta))
    with pytest.raises(CameraError, match=r"fl_x .* camera_angle_x"):
        open_scene(folder)


@pytest.mark.parametrize("options", [{"frame": "world"}, {"max_size": 0}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError):
        ReadOptions(**options)


def test_a_link_that_leads_out_of_the_dataset_is_refused_unless_links_are_followed(tmp_path, write_scene):
    secret = tmp_path / "secret.png"
    Image.fromarray(np.zeros((16, 20, 4), np.uint8)).save(secret)
    folder = write_scene(tmp_path / "deep" / "s")
    (folder / "r_1.png").unlink()
    (folder / "r_1.png").symlink_to(secret)
    with pytest.raises(SceneError, match=r"r_1\.png: it is a link to .*secret\.png.*follow_links"):
        open_scene(folder)
    assert open_scene(folder, ReadOptions(follow_links=True)).picture(1).shape == (16, 20, 4)


def test_a_folder_that_is_a_link_out_of_the_dataset_is_refused(tmp_path, write_scene, edit_scene):
    (tmp_path / "elsewhere").mkdir()
    folder = write_scene(tmp_path / "deep" / "s")
    (folder / "r_1.png").rename(tmp_path / "elsewhere" / "r_1.png")
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SceneError, match="outside of"):
        open_scene(edit_scene(folder, set_frame(file_path="more/r_1.png")))


def test_scenes_and_pictures_linked_within_a_dataset_are_read(tmp_path, write_scene):
    store = write_scene(tmp_path / "store" / "s")
    (store / "r_1.png").rename(store.parent / "r_1.png")
    (store / "r_1.png").symlink_to(store.parent / "r_1.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "s").symlink_to(store)
    assert len(open_scene(store)) == len(open_scene(tmp_path / "data" / "s")) == 6


def test_a_pose_that_is_a_link_to_another_place_is_refused(tmp_path):
    folder = tmp_path / "deep" / "car"
    for name in ("rgb", "pose"):
        (folder / name).mkdir(parents=True)
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(folder / "rgb" / "0.png")
    (folder / "intrinsics.txt").write_text("6 2.5 2 0.\n4 5\n")
    (folder / "pose" / "0.txt").symlink_to("/etc/hostname")
    with pytest.raises(SceneError, match=r"0\.txt: it is a link to"):
        open_scene(folder)


@pytest.mark.parametrize("size", [{"w": 1e300, "h": 1e300}, {"w": 9000, "h": 9000}, {"w": 2**63, "h": 1}])
def test_a_picture_size_beyond_all_pictures_is_refused(tmp_path, write_scene, edit_scene, size):
    folder = write_scene(tmp_path / "s", nerfstudio=True)
    with pytest.raises(CameraError, match="64 Mi pixels at most"):
        open_scene(edit_scene(folder, set_frame(**size)))


def test_a_transforms_file_of_unreasonable_size_is_refused(tmp_path):
    with (tmp_path / "transforms.json").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(SceneError, match="more than 64 MiB"):
        open_scene(tmp_path)


@pytest.mark.parametrize("text", ["x" * 5000, "x/" * 3000, "a\0b", "\ud800"])
def test_a_path_that_no_file_can_have_is_one_that_is_not_there(tmp_path, write_scene, edit_scene, text):
    with pytest.raises(PictureError, match="no such picture"):
        open_scene(edit_scene(write_scene(tmp_path / "s"), set_frame(file_path=text, w=20, h=16)))


@pytest.mark.parametrize("radius", [1e-320, 1e-300, 1e-38])
def test_a_ball_that_puts_the_cameras_beyond_all_numbers_is_refused(tmp_path, write_scene, radius):
    with pytest.raises(SceneError, match="too far away for a ball"):
        open_scene(write_scene(tmp_path / "s", bounding_radius=radius, near=1.0, far=9.0))
