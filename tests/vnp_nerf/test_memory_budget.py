"""Rays at a time fit into what is free."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vnp_nerf import memory_budget
from vnp_nerf.memory_budget import free_bytes, rays_at_once

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]
FULL_HD = """
import resource, sys
from pathlib import Path
import torch
limit = 4 * 2**30
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.culled_field import CulledField
from vnp_nerf.library import load_model
from vnp_nerf.readers import open_scene
from vnp_nerf.rendering import render_picture
from vnp_nerf.views import Views
with torch.inference_mode():
    model, _ = load_model("furniture")
    views = Views.from_scene(open_scene(Path(sys.argv[1])), [0, 1, 2])
    field = CulledField(model.infer_field(model.encode(views)))
    camera = orbit_cameras(1, 4.0, 25.0, 55.0, 1080, 1920)
    seen = render_picture(field, camera.camera_to_world[0], camera.intrinsics[0], 1080, 1920, chunk=65536)
assert seen.rgb.shape == (1080, 1920, 3) and 0.02 < seen.alpha.mean() < 0.9
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def _field(ray_bytes: int) -> Any:
    return SimpleNamespace(ray_bytes=ray_bytes)


@pytest.mark.parametrize(
    ("free", "ray_bytes", "rays"),
    [(4 * 2**30, 2**16, 16_384), (2**62, 100, 65_536), (2**20, 2**16, 1024), (0, 100, 1024)],
)
def test_a_fourth_of_the_free_memory_is_used_in_multiples_of_1024(
    free: int, ray_bytes: int, rays: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory_budget, "free_bytes", lambda device: free)
    assert rays_at_once(_field(ray_bytes), CPU) == rays


def test_a_limit_that_was_asked_for_holds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory_budget, "free_bytes", lambda device: 2**40)
    assert rays_at_once(_field(1), CPU, most=64) == 64


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory_budget, "_CONTAINER", tmp_path)
    machine = free_bytes(CPU)
    assert 0 < machine < 2**50
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert free_bytes(CPU) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(CPU) > 2**20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_picture_of_1920_by_1080_pixels_fits_into_4_gibibytes():
    scene = ROOT / "data" / "demo" / "furniture" / "blendswap-cc-0-armchair"
    command = [sys.executable, "-c", FULL_HD, str(scene)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=880, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 4 * 2**30
