"""The benchmark script on a corpus of a few pictures: from the command line to JSON, tables and sheet."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import ConfigError, DataError
from vnp_core.results import read_results
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.library import build_model, save_model
from vnp_nerf.pairs import make_pairs, write_pairs
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.readers import open_collection

SIZE, VIEWS = 16, 6


@pytest.fixture(scope="module")
def workplace(smallest_model: RadianceConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of random pictures, its pairs, and tiny untrained weights."""
    root = tmp_path_factory.mktemp("bench")
    generator = np.random.default_rng(0)
    cameras = orbit_cameras(VIEWS, 4.0, 20.0, 30.0, SIZE, SIZE)
    names = {"train": ["a", "b"], "val": ["f"], "test": ["c", "d"], "test_author": ["e"]}
    for name in "abcdef":
        folder = root / "noise" / name
        folder.mkdir(parents=True)
        frames = []
        for view, pose in enumerate(cameras.camera_to_world.tolist()):
            pixels = generator.integers(0, 256, (SIZE, SIZE, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{view}.png")
            frames.append({"file_path": f"{view}.png", "transform_matrix": [*pose, [0, 0, 0, 1]]})
        (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.5, "frames": frames}))
    (root / "noise_splits.json").write_text(json.dumps(names))
    pairs = make_pairs(
        open_collection(root / "noise"), "noise", "-", ["test", "test_author"], contexts=3, queries=2
    )
    write_pairs(root / "pairs" / "noise.json", pairs)
    torch.manual_seed(0)
    save_model(root / "tiny.safetensors", build_model(smallest_model), {})
    return root


def test_the_script_writes_results_tables_and_a_sheet(
    load_script, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = load_script("bench_3d")
    config = bench.Bench3D(
        data=(f"noise:{workplace / 'noise'}",),
        weights=(str(workplace / "tiny.safetensors"),),
        splits=("test", "test_author", "elsewhere"),
        views=(1, 3),
        lookup=True,
        output=workplace / "out" / "results.json",
        sheet=workplace / "out" / "sheet.png",
        sheet_objects=1,
        pairs=workplace / "pairs",
        device="cpu",
    )
    bench.main(config)
    results = read_results(config.output)
    assert {row.model for row in results.rows} == {
        "tiny",
        "white",
        "mean-picture",
        "nearest-view",
        "nearest-object",
    }
    assert {(row.split, row.n) for row in results.rows} == {("test", 2), ("test_author", 1)}
    assert {row.condition for row in results.rows} == {"views=1", "views=3"}
    assert Image.open(config.sheet).size[0] > 9 * SIZE
    printed = capsys.readouterr().out
    assert "noise, psnr_fg" in printed
    assert str(config.output.name) in printed


def test_uncertainty_is_scored_beside_rivals_and_rescaled(load_script, workplace: Path) -> None:
    bench = load_script("bench_3d")
    weights = str(workplace / "tiny.safetensors")
    config = bench.Bench3D(
        data=(f"noise:{workplace / 'noise'}",),
        weights=(weights,),
        draws=2,
        ensemble=(weights, weights),
        views=(1, 2),
        baselines=False,
        limit=1,
        calibration_objects=1,
        output=workplace / "out" / "uncertainty.json",
        figures=workplace / "figures",
        pairs=workplace / "pairs",
        device="cpu",
    )
    bench.main(config)
    rows = read_results(config.output).rows
    told = {row.model for row in rows if row.metric == "nll_fg"}
    plain = {"tiny", "ensemble"}
    assert told == plain | {f"{name} scaled" for name in plain} | {"constant sigma", "constant sigma fg"}
    assert {row.model for row in rows if row.metric == "sigma_factor"} == plain
    assert {"psnr", "coverage90_fg", "ause_rel_fg", "best_of_k", "epistemic_fg"} <= {
        row.metric for row in rows
    }
    names = ("draws", "errors", "reliability", "sparsification", "spread", "views")
    assert sorted(path.name for path in config.figures.iterdir()) == [f"noise-{name}.png" for name in names]


def test_uncertainty_that_nobody_can_tell_is_refused_before_anything_is_scored(
    load_script, workplace: Path, smallest_model: RadianceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = load_script("bench_3d")
    silent = replace(smallest_model, noise=False, train_draws=0)
    path = workplace / "silent.safetensors"
    save_model(path, build_model(silent), {})
    monkeypatch.setattr(bench, "evaluate", lambda *_, **__: pytest.fail("scored"))
    given = {"data": (f"noise:{workplace / 'noise'}",), "pairs": workplace / "pairs", "device": "cpu"}
    with pytest.raises(ConfigError, match="no noise"):
        bench.main(bench.Bench3D(**given, weights=(str(path),), draws=2))
    with pytest.raises(ConfigError, match="--weights"):
        bench.main(bench.Bench3D(**given, draws=2))
    with pytest.raises(ConfigError, match="--draws"):
        bench.main(bench.Bench3D(**given, figures=workplace / "nothing"))


def test_a_corpus_without_a_name_pairs_or_wanted_split_is_refused(load_script, workplace: Path) -> None:
    bench = load_script("bench_3d")
    folder = str(workplace / "noise")
    config = bench.Bench3D(data=(), pairs=workplace / "pairs", splits=("val",))
    with pytest.raises(ConfigError, match="NAME:FOLDER"):
        bench.open_corpora(folder, config)
    with pytest.raises(DataError, match="no pairs"):
        bench.open_corpora(f"other:{folder}", config)
    with pytest.raises(ConfigError, match="none of"):
        bench.open_corpora(f"noise:{folder}", config)
    with pytest.raises(ConfigError, match="--category cars"):
        bench.open_corpora(f"srn:{folder}", config)


def test_a_published_protocol_is_scored_at_its_own_numbers_of_views(load_script, workplace: Path) -> None:
    bench = load_script("bench_3d")
    config = bench.Bench3D(
        data=(f"learnit:{workplace}",),
        category="noise",
        weights=(str(workplace / "tiny.safetensors"),),
        baselines=False,
        output=workplace / "out" / "learnit.json",
        device="cpu",
    )
    bench.main(config)
    rows = read_results(config.output).rows
    assert {(row.task, row.split, row.condition, row.n) for row in rows} == {
        ("learnit-noise", "test", "views=1", 2)
    }
