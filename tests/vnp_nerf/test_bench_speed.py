"""The benchmark of speed, on a model and a scene that cost next to nothing."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.bench.progress import Report
from vnp_core.errors import ConfigError
from vnp_core.precision import quick_in_bfloat16
from vnp_core.results import read_results
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.console import Voice
from vnp_nerf.library import build_model, save_model
from vnp_nerf.paper import PaperConfig
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.readers import open_scene
from vnp_nerf.speed.ledger import Ledger
from vnp_nerf.speed.reference import reference_rows
from vnp_nerf.views import Views

SIZE, VIEWS = 16, 5


@pytest.fixture(scope="module")
def workplace(smallest_model: RadianceConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of random pictures, and tiny untrained weights."""
    root = tmp_path_factory.mktemp("speed")
    generator = np.random.default_rng(0)
    frames = []
    (root / "scene").mkdir()
    for view, pose in enumerate(orbit_cameras(VIEWS, 4.0, 20.0, 30.0, SIZE, SIZE).camera_to_world.tolist()):
        pixels = generator.integers(0, 256, (SIZE, SIZE, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "scene" / f"{view}.png")
        frames.append({"file_path": f"{view}.png", "transform_matrix": [*pose, [0, 0, 0, 1]]})
    (root / "scene" / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.5, "frames": frames}))
    torch.manual_seed(0)
    save_model(root / "tiny.safetensors", build_model(smallest_model), {})
    return root


def _config(bench, workplace: Path, **changes):
    options = {
        "weights": str(workplace / "tiny.safetensors"),
        "data": workplace / "scene",
        "views": (1, 2),
        "context": 2,
        "sizes": (8, 16),
        "size": 8,
        "bakes": (8, 16),
        "orbit_bake": 16,
        "draws": (1, 2),
        "scenes": 2,
        "pictures": 2,
        "parts": ("encode", "bake", "frames", "losses", "draws", "orbit", "training", "throughput"),
        "loss_scenes": 2,
        "orbit": 2,
        "queries": 2,
        "device": "cpu",
        "output": workplace / "out" / "results.json",
    }
    return bench.BenchSpeed(**{**options, **changes})


def test_the_script_times_every_step_from_views_to_frames_and_foresees_how_many(
    load_script, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    bench = load_script("bench_speed")
    told: list[tuple[int, int]] = []

    @contextmanager
    def progress(voice: Voice, label: str, unit: str, total: int = 0) -> Generator[Report, None, None]:
        yield lambda done, note="", _=None: told.append((done, total))

    monkeypatch.setattr(Voice, "progress", progress)
    config = _config(bench, workplace, figure=workplace / "out" / "speed.png")
    bench.main(config)
    rows = read_results(config.output).rows
    timed = {(row.task, row.condition) for row in rows if row.metric == "seconds"}
    fast = ("culled", "culled bfloat16", "baked 8", "baked 16")
    assert timed == {
        *[(task, f"views={count}") for task in ("encode", "ready field", "next frame") for count in (1, 2)],
        ("encode", "views=2,again"),
        *[("bake", f"views=2,resolution={resolution}") for resolution in (8, 16)],
        *[("frame", f"size={size},way={way}") for size in (8, 16) for way in ("slow", *fast)],
        ("decode", "size=8,draws=1"),
        *[("draw", f"size=8,draws={draws}") for draws in (1, 2)],
        ("orbit", "size=8,frames=2,way=baked 16"),
        *[
            ("training step", f"scenes=1,rays=128,samples=24,views=1,execution={name}")
            for name in ("float32", "bfloat16")[: 1 + quick_in_bfloat16("cpu")]
        ],
        *[("pictures", f"size=8,pictures=2,way={way}") for way in fast],
        *[("encode batch", f"scenes=2,views=2,execution={name}") for name in ("float32", "bfloat16")],
    }
    assert all(row.value > 0 for row in rows if row.metric in ("seconds", "peak_bytes"))
    lost = {row.condition.split(",")[0]: row.value for row in rows if row.metric == "psnr_lost"}
    assert lost["way=slow"] == 0
    assert abs(lost["way=culled"]) < 0.05
    assert Image.open(config.figure).size[0] > 500
    assert told[-1][0] == told[-1][1] == max(done for done, _ in told)


def test_the_reference_is_one_chunk_times_their_number(workplace: Path) -> None:
    paper = PaperConfig(
        width=16,
        encoder_layers=1,
        encoder_heads=2,
        encoder_hidden=16,
        attention_layers=1,
        samples=4,
        chunk_rays=16,
    )
    ledger = Ledger("tiny", torch.device("cpu"), lambda done, note="", total=None: None)
    views = Views.from_scene(open_scene(workplace / "scene"), [0, 1])
    seconds = reference_rows(ledger, paper, views, 8, 0)
    assert ledger.done == 4
    rows = {(row.metric, row.condition): row.value for row in ledger.rows if row.task == "frame"}
    assert rows["seconds", "size=8,views=1,samples=4,timed=1 chunk of 4,manner=paper"] == seconds > 0
    for precision, most in (("float32", 1e-5), ("bfloat16", 1e-2)):
        condition = f"size=8,manner=encoded once {precision}"
        assert rows["ratio_reference", condition] > 0
        assert rows["ratio_peak_bytes", condition] > 0
        assert rows["largest_difference", condition] < most


def test_a_size_that_is_not_timed_is_refused(load_script, workplace: Path) -> None:
    bench = load_script("bench_speed")
    with pytest.raises(ConfigError, match="--size 99"):
        _config(bench, workplace, size=99)


def test_it_runs_where_nerfstudio_is_not_installed(workplace: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "bench_speed.py"
    blocked = (
        "import runpy, sys\n"
        "sys.modules['nerfstudio'] = None\n"
        f"sys.argv = ['bench_speed.py', *{_arguments(workplace)!r}]\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    subprocess.run([sys.executable, "-c", blocked], check=True, capture_output=True)
    rows = read_results(workplace / "alone" / "results.json").rows
    assert {row.task for row in rows} == {"pictures", "encode batch"}


def _arguments(workplace: Path) -> list[str]:
    words = "--parts throughput --context 2 --sizes 8 --size 8 --bakes 8 --orbit-bake 8"
    return [
        *words.split(),
        *("--scenes", "2", "--pictures", "2", "--device", "cpu"),
        *("--weights", str(workplace / "tiny.safetensors"), "--data", str(workplace / "scene")),
        *("--output", str(workplace / "alone" / "results.json")),
    ]
