"""Each diagnosis on a demo scene that is spoilt in that way, and none on those that are not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vnp_core.errors import SceneNotFoundError
from vnp_nerf.checking.capture import Capture
from vnp_nerf.checking.diagnoses import Diagnosis, diagnose, exit_code
from vnp_nerf.outlines import object_points, outline_reach
from vnp_nerf.readers import ReadOptions

DEMO = Path(__file__).parents[3] / "data/demo/furniture"


def diagnosed(folder: Path, options: ReadOptions | None = None) -> list[Diagnosis]:
    return diagnose(Capture.read(folder, options or ReadOptions()))


def only(folder: Path, options: ReadOptions | None = None) -> Diagnosis:
    (diagnosis,) = diagnosed(folder, options)
    return diagnosis


@pytest.mark.parametrize("name", sorted(path.name for path in DEMO.iterdir() if path.is_dir()))
def test_demo_scenes_look_right(name: str):
    assert diagnosed(DEMO / name) == []


@pytest.mark.parametrize("keys", [{"nerfstudio": True}, {"bounding_radius": 1.0}, {"near": 2.5, "far": 5.5}])
def test_so_do_captures_and_stated_boxes_and_depths(keys: dict, spoilt: Callable[..., Path]):
    assert diagnosed(spoilt(**keys)) == []


def opencv(poses: np.ndarray) -> np.ndarray:
    return poses * np.array([1, -1, -1, 1])


@pytest.mark.parametrize("nerfstudio", [False, True])
@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (opencv, "OpenCV's camera axes"),
        (np.linalg.inv, "matrices from world to camera: invert"),
        (lambda poses: np.linalg.inv(opencv(poses)), "world to camera with OpenCV's axes"),
        (lambda poses: poses * np.array([-1, -1, 1, 1]), "upside down"),
    ],
)
def test_a_flipped_convention_is_named_with_its_cure(
    change: Callable, advice: str, nerfstudio: bool, spoilt: Callable[..., Path]
):
    diagnosis = only(spoilt(poses=change, nerfstudio=nerfstudio))
    assert (diagnosis.subject, diagnosis.state, diagnosis.exit_code) == ("convention", "wrong", 16)
    assert advice in diagnosis.advice


def test_it_is_named_without_masks_as_well(spoilt: Callable[..., Path]):
    folder = spoilt(poses=opencv)
    opaque(folder, 24)
    masks, convention = diagnosed(folder)
    assert masks.subject == "masks"
    assert "OpenCV" in convention.advice


def test_poses_of_other_pictures_are_told(spoilt: Callable[..., Path]):
    diagnosis = only(spoilt(poses=lambda poses: np.roll(poses, 7, axis=0)))
    assert (diagnosis.subject, diagnosis.exit_code) == ("poses", 16)
    assert "epipolar lines" in diagnosis.finding


def test_one_wrong_pose_is_named(spoilt: Callable[..., Path]):
    def swap(poses: np.ndarray) -> np.ndarray:
        poses[8] = poses[3]
        return poses

    diagnosis = only(spoilt(poses=swap))
    assert diagnosis.subject == "poses"
    assert "r_008.png (view 8)" in diagnosis.finding


@pytest.mark.parametrize(
    ("radius", "words"),
    [(0.1, "too small: the object reaches 8"), (10, "too large: the object reaches 0.08")],
)
def test_a_scale_that_is_off_is_told_with_the_right_one(
    radius: float, words: str, spoilt: Callable[..., Path]
):
    diagnosis = only(spoilt(bounding_radius=radius))
    assert (diagnosis.subject, diagnosis.state, diagnosis.exit_code) == ("scale", "wrong", 13)
    assert words in diagnosis.finding
    assert diagnosed(spoilt_again(spoilt, diagnosis)) == []


def spoilt_again(spoilt: Callable[..., Path], diagnosis: Diagnosis) -> Path:
    """The scene with what the advice says to state."""
    centre, radius = diagnosis.advice.split("bounding_centre ")[1].split(", or read")[0].split(" and ")
    numbers = [float(text) for text in centre.strip("[]").split(",")]
    return spoilt(bounding_centre=numbers, bounding_radius=float(radius.split()[-1]))


def shifted(poses: np.ndarray) -> np.ndarray:
    poses[:, :3, 3] += [3, 0, 1]
    return poses


def test_an_object_outside_of_its_box_is_told(spoilt: Callable[..., Path]):
    folder = spoilt(poses=shifted)
    diagnosis = only(folder)
    assert (diagnosis.subject, diagnosis.state, diagnosis.exit_code) == ("box", "wrong", 13)
    assert diagnosed(folder, ReadOptions(frame="capture")) == []


def from_one_side(folder: Path, degrees: float) -> Path:
    """Leaves the views whose heading is no further than that from the first one's."""
    meta = json.loads((folder / "transforms.json").read_text())
    places = np.array([frame["transform_matrix"] for frame in meta["frames"]])[:, :2, 3]
    headings = np.degrees(np.arctan2(places[:, 1], places[:, 0]))
    near = np.abs((headings - headings[0] + 180) % 360 - 180) <= degrees
    meta["frames"] = [frame for frame, kept in zip(meta["frames"], near, strict=True) if kept]
    assert 3 <= len(meta["frames"]) < len(near) / 2
    (folder / "transforms.json").write_text(json.dumps(meta))
    return folder


def test_views_from_one_side_are_not_held_against_the_box(spoilt: Callable[..., Path]):
    folder = from_one_side(spoilt(), 30)
    capture = Capture.read(folder, ReadOptions())
    points = capture.scene.frame.apply(object_points(capture.cameras, capture.masks))
    assert points.norm(dim=-1).quantile(0.98) > 1.2  # as deep as the masks allow
    assert outline_reach(capture.scene.model_cameras()[list(capture.views)], capture.masks) < 1.1
    assert diagnosed(folder) == []
    small = diagnosed(from_one_side(spoilt(bounding_radius=0.5), 30))
    assert [diagnosis.subject for diagnosis in small] == ["scale"]


def test_depths_that_cut_the_object_are_told(spoilt: Callable[..., Path]):
    diagnosis = only(spoilt(near=3.9, far=9.0))
    assert (diagnosis.subject, diagnosis.exit_code) == ("depths", 13)


def test_a_world_with_another_axis_up_is_told(spoilt: Callable[..., Path]):
    y_up = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    folder = spoilt(poses=lambda poses: y_up @ poses)
    diagnosis = only(folder)
    assert (diagnosis.subject, diagnosis.exit_code) == ("up", 16)
    assert "+y" in diagnosis.finding
    assert diagnosed(folder, ReadOptions(frame="capture")) == []


def opaque(folder: Path, count: int) -> None:
    """The first pictures lose their alpha, over white."""
    for file in sorted((folder / "train").glob("*.png"))[:count]:
        picture = Image.open(file)
        flat = Image.new("RGBA", picture.size, "white")
        flat.alpha_composite(picture)
        flat.convert("RGB").save(file)


@pytest.mark.parametrize(("count", "words"), [(24, "no picture has"), (5, "3 of 12 pictures lack")])
def test_missing_masks_are_told(count: int, words: str, spoilt: Callable[..., Path]):
    folder = spoilt()
    opaque(folder, count)
    diagnosis = only(folder)
    assert (diagnosis.subject, diagnosis.state, diagnosis.exit_code) == ("masks", "wrong", 15)
    assert words in diagnosis.finding
    assert diagnosed(folder, ReadOptions(white_is_empty=True)) == []


def test_empty_and_inverted_masks_are_told(spoilt: Callable[..., Path]):
    folder = spoilt()
    files = sorted((folder / "train").glob("*.png"))
    Image.new("RGBA", (128, 128)).save(files[0])
    diagnosis = only(folder)
    assert "1 of" in diagnosis.finding
    assert "r_000.png" in diagnosis.finding
    for file in files:
        picture = np.array(Image.open(file))
        picture[..., 3] = 255 - picture[..., 3]
        Image.fromarray(picture).save(file)
    assert any("inverted" in diagnosis.advice for diagnosis in diagnosed(folder))


@pytest.mark.parametrize("views", [1, 2])
def test_too_few_views_are_told(views: int, spoilt: Callable[..., Path]):
    diagnosis = only(spoilt(views=views))
    assert (diagnosis.subject, diagnosis.state, diagnosis.exit_code) == ("views", "wrong", 17)


def test_the_first_wrong_thing_decides_the_exit_code():
    note = Diagnosis("masks", "note", "a", "b")
    wrong = [Diagnosis("masks", "wrong", "a", "b", 15), Diagnosis("poses", "wrong", "a", "b", 16)]
    assert [exit_code(found) for found in ([], [note], [note, *wrong])] == [0, 0, 15]


def test_no_scene_is_the_readers_error(tmp_path: Path):
    with pytest.raises(SceneNotFoundError):
        Capture.read(tmp_path, ReadOptions())
