"""The demo, from a scene and weights to a run, a video and a picture; twice, since it must be repeatable."""

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import MissingDependencyError
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.library import build_model, save_model
from vnp_nerf.radiance_config import RadianceConfig


@pytest.fixture(scope="module")
def demo(load_script):
    return load_script("demo")


@pytest.fixture
def options(demo, smallest_model: RadianceConfig, tmp_path: Path):
    """A demo of a tiny untrained model and a scene of flat pictures."""
    folder = tmp_path / "scene"
    folder.mkdir()
    frames = []
    for view, pose in enumerate(orbit_cameras(4, 4.0, 20.0, 30.0, 16, 16).camera_to_world.tolist()):
        Image.fromarray(np.full((16, 16, 4), 200, dtype=np.uint8)).save(folder / f"{view}.png")
        frames.append({"file_path": f"{view}.png", "transform_matrix": [*pose, [0, 0, 0, 1]]})
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.5, "frames": frames}))
    torch.manual_seed(0)
    save_model(tmp_path / "tiny.safetensors", build_model(smallest_model), {})
    return demo.Demo(
        data=folder,
        weights=str(tmp_path / "tiny.safetensors"),
        context=(0, 2),
        query=(1, 3),
        output=tmp_path / "out",
        frames=3,
        size=16,
    )


def test_the_demo_leaves_a_run_a_video_and_a_picture_and_may_be_repeated(
    demo, options, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        demo.main(options)
        assert (options.output / "run" / "config.yml").is_file()
        film = iio.imread(options.output / "turntable.mp4")
        assert film.shape == (3, 16, 32, 3)
        assert Image.open(options.output / "novel_views.png").size[1] > 4 * 160
    printed = capsys.readouterr().out
    assert "$ vnp-infer --weights" in printed
    assert "$ ns-render camera-path --load-config" in printed
    assert "nearest given view: PSNR" in printed


def test_without_ffmpeg_it_says_so_before_it_writes_anything(
    demo, options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match="ffmpeg"):
        demo.main(options)
    assert not options.output.exists()


def test_a_thinned_path_keeps_the_first_frame_the_seconds_and_an_even_spacing(demo, tmp_path: Path) -> None:
    pose = [1, 0, 0, 2, 0, 1, 0, 3, 0, 0, 1, 6, 0, 0, 0, 1]
    frames = [{"camera_to_world": pose, "fov": number} for number in range(72)]
    whole = {"seconds": 3.0, "fps": 24, "camera_path": frames}
    (tmp_path / "all.json").write_text(json.dumps(whole))
    assert demo.thin_path(tmp_path / "all.json", tmp_path / "few.json", 6) == 7.0
    path = json.loads((tmp_path / "few.json").read_text())
    assert (path["seconds"], path["fps"]) == (3.0, 2.0)
    assert [frame["fov"] for frame in path["camera_path"]] == [0, 12, 24, 36, 48, 60]
    demo.thin_path(tmp_path / "all.json", tmp_path / "more.json", 100)
    assert len(json.loads((tmp_path / "more.json").read_text())["camera_path"]) == 72
