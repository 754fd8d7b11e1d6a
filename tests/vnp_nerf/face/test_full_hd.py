"""Large pictures in little memory, through nerfstudio's own tool."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vnp_nerf.infer import Infer, infer

LIMIT = 4 * 2**30
SCENE = Path(__file__).resolve().parents[3] / "data" / "demo" / "furniture" / "blendswap-cc-0-armchair"


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ns_render_makes_a_picture_of_1920_by_1080_pixels_in_4_gibibytes(tmp_path: Path):
    run = infer(Infer(SCENE, weights="furniture", num_context=3, output_dir=tmp_path / "run"))
    path = json.loads((run / "turntable.json").read_text())
    path |= {
        "render_height": 1080,
        "render_width": 1920,
        "seconds": 0.1,
        "camera_path": path["camera_path"][:1],
    }
    (tmp_path / "path.json").write_text(json.dumps(path))
    arguments = ["--load-config", str(run / "config.yml"), "--output-format", "images"]
    arguments += [
        "--camera-path-filename",
        str(tmp_path / "path.json"),
        "--output-path",
        str(tmp_path / "seen"),
    ]
    command = [sys.executable, "-m", "nerfstudio.scripts.render", "camera-path", *arguments]
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # ffmpeg lies there
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_limit_memory,
        env={**os.environ, "PATH": search, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with Image.open(tmp_path / "seen" / "00000.jpg") as picture:
        assert picture.size == (1920, 1080)
        low, high = picture.convert("L").getextrema()
    assert low < 100
    assert high > 250
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < LIMIT
