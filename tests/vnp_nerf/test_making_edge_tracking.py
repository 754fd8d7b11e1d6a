"""A drawn cube whose pose is known, found again by its edges."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vnp_core.errors import ConfigError, OutputExistsError
from vnp_nerf.console import Voice
from vnp_nerf.making.edge_tracking import BoxPose, Lens, cube_corners, outline, refine, visible_edges
from vnp_nerf.readers import open_scene

LENS = Lens(500.0, 490.0, 161.0, 117.0)
HEIGHT, WIDTH, FINER = 240, 320, 4
CORNERS = cube_corners(0.1)
FACES = {
    (0, 1, 2, 3): 60,
    (4, 5, 6, 7): 215,
    (0, 1, 5, 4): 120,
    (1, 2, 6, 5): 30,
    (2, 3, 7, 6): 90,
    (3, 0, 4, 7): 165,
}


def pose_at(azimuth: float, distance: float = 0.6) -> BoxPose:
    """Seen from an azimuth and from above, degrees and metres; the cube's middle a little off the axis."""
    turn, tilt = np.radians(azimuth), np.radians(35)
    backward = np.array([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
    right = np.array([-np.sin(turn), np.cos(turn), 0])
    rotation = np.stack([right, -np.cross(backward, right), -backward])
    camera = CORNERS.mean(0) + distance * backward
    return BoxPose(rotation, -rotation @ camera + np.array([0.01, -0.006, 0]))


def photograph(pose: BoxPose) -> np.ndarray:
    """The cube before a grey table, smoothly drawn."""
    picture = Image.new("L", (WIDTH * FINER, HEIGHT * FINER), 140)
    pen, camera = ImageDraw.Draw(picture), -pose.rotation.T @ pose.translation
    # The middle of the first pixel is 0, so its corner lies at -1/2.
    places = (pose.project(CORNERS, LENS) + 0.5) * FINER
    for face, grey in sorted(
        FACES.items(), key=lambda item: -np.linalg.norm(CORNERS[list(item[0])].mean(0) - camera)
    ):
        pen.polygon([tuple(places[corner]) for corner in face], fill=grey)
    return np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX), dtype=float)


def off(one: BoxPose, other: BoxPose) -> tuple[float, float]:
    """How far two poses lie apart: metres, and degrees."""
    turned = np.trace(one.rotation @ other.rotation.T)
    return (
        float(np.linalg.norm(one.translation - other.translation)),
        float(np.degrees(np.arccos(np.clip((turned - 1) / 2, -1, 1)))),
    )


def test_a_cube_that_turns_is_followed():
    pose = pose_at(20)
    for azimuth in np.arange(20, 61, 2.0):
        pose = refine(pose, photograph(pose_at(azimuth)), CORNERS, LENS)
        metres, degrees = off(pose, pose_at(azimuth))
        assert metres < 0.004, azimuth
        assert degrees < 0.5, azimuth


def test_a_pose_is_a_camera_that_sees_the_box_where_it_is_drawn():
    pose = pose_at(30)
    again = BoxPose.of_vector(pose.vector())
    assert off(pose, again) == pytest.approx((0, 0), abs=1e-5)
    camera = pose.camera_to_box()
    local = (CORNERS - camera[:3, 3]) @ camera[:3, :3]  # x right, y up, z towards the viewer
    drawn = np.stack(
        [LENS.fx * local[:, 0] / -local[:, 2] + LENS.cx, -LENS.fy * local[:, 1] / -local[:, 2] + LENS.cy],
        axis=1,
    )
    assert drawn == pytest.approx(pose.project(CORNERS, LENS), abs=1e-6)


def test_the_outline_is_what_is_not_the_table():
    pose = pose_at(30)
    mask = outline(pose, CORNERS, LENS, HEIGHT, WIDTH) > 0
    drawn = np.abs(photograph(pose) - 140) > 1
    assert mask.sum() > 3000
    assert (mask != drawn).sum() < 0.05 * mask.sum()  # pixels that the outline crosses


def test_three_faces_show_nine_edges_of_which_three_are_inner():
    seen = visible_edges(pose_at(30), CORNERS)
    assert sorted(seen.values()) == [1] * 6 + [2] * 3
    assert not any(corner in edge for edge in seen for corner in (1,)), "the corner that is hidden"


def test_a_capture_is_written_as_nerfstudio_has_it(load_script, tmp_path: Path):
    capture = load_script("make_capture")
    voice = Voice()
    poses = [pose_at(azimuth) for azimuth in (25, 30)]
    (tmp_path / "out").mkdir()
    paths = []
    capture.LENS, capture.SIDE = LENS, 0.1
    for number, pose in enumerate(poses):
        paths.append(tmp_path / f"image{number}.png")
        Image.fromarray(photograph(pose).round().astype(np.uint8)).save(paths[-1])
    frames = [
        capture.write_frame(path, pose, tmp_path / "out", 160)
        for path, pose in zip(paths, poses, strict=True)
    ]
    head = {"fl_x": LENS.fx, "fl_y": LENS.fy, "w": 160, "h": 160}
    (tmp_path / "out" / "transforms.json").write_text(json.dumps({**head, "frames": frames}))
    scene = open_scene(tmp_path / "out")
    rgba = scene.picture(1)
    assert rgba.shape == (160, 160, 4)
    assert 3000 < (rgba[..., 3] > 0).sum() < 160 * 160 / 2
    # The cut keeps every point where it was: the middle of the cube is seen in the middle of its mask.
    columns, rows = np.nonzero(rgba[..., 3].T)
    camera = scene.cameras
    local = np.linalg.inv(np.vstack([camera.camera_to_world[1].numpy(), [0, 0, 0, 1]])) @ [
        *CORNERS.mean(0),
        1,
    ]
    fx, fy, cx, cy = camera.intrinsics[1].tolist()
    at = (fx * local[0] / -local[2] + cx, -fy * local[1] / -local[2] + cy)
    assert at == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5), abs=4)
    with pytest.raises(OutputExistsError):
        capture.main(capture.MakeCapture(tmp_path / "out"), voice)
    with pytest.raises(ConfigError, match="16 to 480"):
        capture.main(capture.MakeCapture(tmp_path / "new", side=5), voice)
