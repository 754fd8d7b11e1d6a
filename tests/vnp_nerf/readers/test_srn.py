from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import CameraError, PictureError
from vnp_nerf.cameras import opencv_from_opengl, orbit_cameras
from vnp_nerf.readers import ReadOptions, open_scene

CAMERAS = orbit_cameras(3, 1.3, 20.0, 52.0, 12, 16)


def write_srn(folder: Path, last_lines: str = "12 16\n", world_to_camera: bool = False) -> Path:
    for name in ("rgb", "pose"):
        (folder / name).mkdir(parents=True)
    focal = float(CAMERAS.intrinsics[0, 0])
    (folder / "intrinsics.txt").write_text(f"{focal} 8.0 6.0 0.\n0. 0. 0.\n1.\n{last_lines}")
    for view, pose in enumerate(opencv_from_opengl(CAMERAS.camera_to_world)):
        matrix = torch.cat([pose, torch.tensor([[0.0, 0, 0, 1]])])
        matrix = torch.linalg.inv(matrix) if world_to_camera else matrix
        (folder / "pose" / f"{view:06d}.txt").write_text(" ".join(map(str, matrix.flatten().tolist())))
        picture = np.full((12, 16, 3), 255, np.uint8)
        picture[3:9, 4:12] = 40 * view
        Image.fromarray(picture).save(folder / "rgb" / f"{view:06d}.png")
    return folder


@pytest.mark.parametrize(
    ("last_lines", "world_to_camera"), [("12 16\n", False), ("12 16\n0\n", False), ("12 16\n1\n\n", True)]
)
def test_an_srn_scene_has_the_cameras_that_were_written(tmp_path, last_lines, world_to_camera):
    scene = open_scene(write_srn(tmp_path / "car", last_lines, world_to_camera))
    torch.testing.assert_close(scene.cameras.camera_to_world, CAMERAS.camera_to_world, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scene.cameras.intrinsics, CAMERAS.intrinsics)
    assert scene.cameras.sizes.tolist() == [[12, 16]] * 3
    assert (scene.picture(2)[4, 5] == [80, 80, 80, 255]).all()


def test_an_srn_scenes_depths_follow_from_its_cameras(tmp_path):
    scene = open_scene(write_srn(tmp_path / "car"))
    radius = 1 / scene.frame.scale
    assert (scene.near, scene.far) == (pytest.approx(1.3 - radius), pytest.approx(1.3 + radius))
    assert scene.frame.translation.abs().max() == 0


def test_the_white_behind_an_srn_object_is_empty_on_demand_only(tmp_path):
    folder = write_srn(tmp_path / "car")
    assert (open_scene(folder).picture(1)[..., 3] == 255).all()
    alpha = open_scene(folder, ReadOptions(white_is_empty=True)).picture(1)[..., 3]
    assert (alpha[3:9, 4:12] == 255).all()
    assert alpha.astype(int).sum() == 255 * 6 * 8


def test_a_broken_srn_scene_is_refused_with_the_file_that_broke_it(tmp_path):
    folder = write_srn(tmp_path / "a")
    (folder / "pose" / "000001.txt").write_text("1 0 0")
    with pytest.raises(CameraError, match=r"000001\.txt.*16 numbers"):
        open_scene(folder)
    (folder / "pose" / "000001.txt").unlink()
    with pytest.raises(CameraError, match="no pose"):
        open_scene(folder)
    for text in ("", "131.25 64 64 0.\n1.\n", "f cx cy 0.\n12 16\n"):
        (folder / "intrinsics.txt").write_text(text)
        with pytest.raises(CameraError, match=r"intrinsics\.txt"):
            open_scene(folder)
    for picture in (folder / "rgb").iterdir():
        picture.unlink()
    write_srn(tmp_path / "b")
    (folder / "intrinsics.txt").write_text((tmp_path / "b" / "intrinsics.txt").read_text())
    with pytest.raises(PictureError, match="no pictures"):
        open_scene(folder)
