"""The benchmark script on a corpus of a few pictures: from the command line to JSON, tables and sheet."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from vnp_core.errors import ConfigError, DataError, InterruptedRunError, SceneNotFoundError
from vnp_core.results import Row, read_results
from vnp_nerf.library import build_model, save_model
from vnp_nerf.radiance_config import RadianceConfig

SIZE = 16
"""Pixels a side of the corpus' pictures."""


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
    assert results.weights == {"tiny": sha256((workplace / "tiny.safetensors").read_bytes()).hexdigest()}
    assert {(row.split, row.n) for row in results.rows} == {("test", 2), ("test_author", 1)}
    assert {row.condition for row in results.rows} == {"views=1", "views=3"}
    assert Image.open(config.sheet).size[0] > 9 * SIZE
    printed = capsys.readouterr().out
    assert "noise, psnr_fg" in printed
    assert str(config.output.name) in printed


def test_an_interrupted_run_goes_on_where_it_was(
    load_script, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = load_script("bench_3d")
    monkeypatch.setattr(bench, "git_state", lambda _: ("abc", False))
    config = bench.Bench3D(
        data=(f"noise:{workplace / 'noise'}",),
        weights=(str(workplace / "tiny.safetensors"),),
        views=(1, 3),
        baselines=False,
        output=workplace / "resumed" / "results.json",
        pairs=workplace / "pairs",
        device="cpu",
    )
    score, scored = bench.score_case, list[tuple[str, int]]()

    def interrupted(predictor, case, count, **options):
        if len(scored) == 3:
            raise KeyboardInterrupt
        scored.append((case.name, count))
        return score(predictor, case, count, **options)

    monkeypatch.setattr(bench, "score_case", interrupted)
    with pytest.raises(InterruptedRunError, match=r"3 scores are kept in .*unfinished"):
        bench.main(config)
    assert [path.name for path in config.output.parent.iterdir()] == ["results.json.unfinished"]

    def rest(predictor, case, count, **options):
        scored.append((case.name, count))
        return score(predictor, case, count, **options)

    monkeypatch.setattr(bench, "score_case", rest)
    bench.main(config)
    assert "going on with 3 scores" in capsys.readouterr().out
    assert len(scored) == len(set(scored)) == 4
    assert [path.name for path in config.output.parent.iterdir()] == ["results.json"]
    found = {row.condition: row for row in read_results(config.output).rows if row.metric == "psnr"}
    monkeypatch.setattr(bench, "score_case", score)
    bench.main(config)
    assert {row.condition: row for row in read_results(config.output).rows if row.metric == "psnr"} == found


def test_several_processes_give_the_rows_of_one(load_script, workplace: Path) -> None:
    bench = load_script("bench_3d")
    config = bench.Bench3D(
        data=(f"noise:{workplace / 'noise'}",),
        weights=(str(workplace / "tiny.safetensors"),),
        splits=("test", "test_author"),
        views=(1, 3),
        output=workplace / "side" / "one.json",
        pairs=workplace / "pairs",
        device="cpu",
    )
    bench.main(config)
    several = replace(config, workers=2, output=workplace / "side" / "two.json")
    bench.main(several)
    one, two = (
        [row for row in read_results(each.output).rows if row.metric != "seconds"]
        for each in (config, several)
    )
    assert [replace(row, value=0.0, stderr=None) for row in one] == [
        replace(row, value=0.0, stderr=None) for row in two
    ]
    assert [row.value for row in two] == pytest.approx([row.value for row in one], rel=1e-4, abs=1e-5)


def test_the_shipped_table_is_of_the_scenes_that_are_there(
    load_script, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = load_script("bench_3d")
    shutil.copytree(workplace / "noise", tmp_path / "scenes" / "furniture64")
    shutil.copy(workplace / "noise_splits.json", tmp_path / "scenes" / "furniture64_splits.json")
    shutil.copytree(bench.PAIRS_FOLDER, tmp_path / "pairs")
    pairs = json.loads((workplace / "pairs" / "noise.json").read_text())
    (tmp_path / "pairs" / "furniture.json").write_text(json.dumps({**pairs, "corpus": "furniture"}))
    config = bench.Bench3D(
        eval_only=True,
        scenes=tmp_path / "scenes",
        workers=1,
        limit=1,
        output=tmp_path / "results.json",
        pairs=tmp_path / "pairs",
        device="cpu",
    )
    bench.main(config)
    results = read_results(config.output)
    assert {row.model for row in results.rows} == {"vnp-nerf-furniture-canonical", "nearest-view"}
    assert {(row.task, row.condition, row.n) for row in results.rows} == {
        ("furniture", "views=1", 1),
        ("furniture", "views=3", 1),
    }
    assert results.weights.keys() == {"vnp-nerf-furniture-canonical"}
    left_out = [line for line in capsys.readouterr().out.split("\n") if "left out" in line]
    alone = [f"shapes-{each}-large" for each in ("cars", "chairs", "lamps", "tables")]
    assert [line.split()[0] for line in left_out] == ["shapes-large", *alone]
    with pytest.raises(ConfigError, match="leave --data"):
        bench.main(replace(config, data=("furniture:there",)))
    with pytest.raises(ConfigError, match="see above"):
        bench.main(replace(config, scenes=tmp_path / "elsewhere"))


def test_tables_are_of_the_metrics_that_each_corpus_has(
    load_script, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = load_script("bench_3d")
    has = {"shapes": ("psnr", "view_depth"), "furniture": ("psnr",)}
    rows = [
        Row("model", task, "test", "views=1", metric, 0.5, 0.1, 2)
        for task, metrics in has.items()
        for metric in metrics
    ]
    bench.print_tables(rows, Console())
    titles = [line for line in capsys.readouterr().out.split("\n") if line.startswith(tuple(has))]
    assert titles == ["shapes, psnr", "shapes, view_depth", "furniture, psnr"]


def test_nothing_to_score_is_an_error_that_says_what_to_give(load_script) -> None:
    bench = load_script("bench_3d")
    with pytest.raises(ConfigError, match="--eval-only"):
        bench.main(bench.Bench3D())


def test_two_weights_of_one_name_are_refused(load_script, workplace: Path, tmp_path: Path) -> None:
    bench = load_script("bench_3d")
    for suffix in (".safetensors", ".json"):
        shutil.copy(workplace / f"tiny{suffix}", tmp_path)
    twice = tuple(str(folder / "tiny.safetensors") for folder in (workplace, tmp_path))
    with pytest.raises(ConfigError, match="'tiny' twice"):
        bench.main(bench.Bench3D(data=(f"noise:{workplace / 'noise'}",), weights=twice))


def test_nerfacto_is_a_row_like_any_other(load_script, workplace: Path) -> None:
    bench = load_script("bench_3d")
    config = bench.Bench3D(
        data=(f"noise:{workplace / 'noise'}",),
        weights=(str(workplace / "tiny.safetensors"),),
        views=(1,),
        limit=1,
        baselines=False,
        nerfacto=1,
        output=workplace / "out" / "nerfacto.json",
        pairs=workplace / "pairs",
        device="cpu",
    )
    bench.main(config)
    rows = read_results(config.output).rows
    metrics = {model: {row.metric for row in rows if row.model == model} for model in ("tiny", "nerfacto")}
    assert metrics["tiny"] == metrics["nerfacto"] >= {"psnr", "psnr_fg", "iou", "seconds"}


def test_a_corpus_that_was_made_without_a_training_split_is_scored(
    load_script, workplace: Path, tmp_path: Path
) -> None:
    shutil.copytree(workplace / "noise", tmp_path / "noise")
    splits = json.loads((workplace / "noise_splits.json").read_text())
    (tmp_path / "noise_splits.json").write_text(json.dumps({"test": splits["test"]}))
    bench = load_script("bench_3d")
    config = bench.Bench3D(
        data=(f"noise:{tmp_path / 'noise'}",),
        weights=(str(workplace / "tiny.safetensors"),),
        views=(1,),
        baselines=False,
        output=tmp_path / "results.json",
        pairs=workplace / "pairs",
        device="cpu",
    )
    bench.main(config)
    assert {row.n for row in read_results(config.output).rows} == {2}
    with pytest.raises(SceneNotFoundError, match="'train'"):
        bench.main(replace(config, baselines=True))


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
    factors = {f"{name} {word}" for name in plain for word in ("scaled", "covering")}
    assert told == plain | factors | {"constant sigma", "constant sigma fg"}
    assert {row.model for row in rows if row.metric == "sigma_factor"} == factors
    assert {"psnr", "coverage90_fg", "ause_rel_fg", "best_of_k", "epistemic_fg"} <= {
        row.metric for row in rows
    }
    names = ("draws", "errors", "reliability", "sparsification", "spread", "views")
    assert sorted(path.name for path in config.figures.iterdir()) == [f"noise-{name}.png" for name in names]


def test_factors_on_sigma_are_those_of_each_collection(load_script, workplace: Path, tmp_path: Path) -> None:
    bench = load_script("bench_3d")
    shutil.copytree(workplace / "noise", tmp_path / "dark")
    shutil.copy(workplace / "noise_splits.json", tmp_path / "dark_splits.json")
    for path in (tmp_path / "dark").rglob("*.png"):
        picture = Image.open(path)
        dark = picture.point(lambda value: value * 3 // 4)
        dark.putalpha(picture.getchannel("A"))
        dark.save(path)
    shutil.copytree(workplace / "pairs", tmp_path / "pairs")
    pairs = json.loads((tmp_path / "pairs" / "noise.json").read_text())
    (tmp_path / "pairs" / "dark.json").write_text(json.dumps({**pairs, "corpus": "dark"}))
    config = bench.Bench3D(
        data=(f"noise:{workplace / 'noise'}", f"dark:{tmp_path / 'dark'}"),
        weights=(str(workplace / "tiny.safetensors"),),
        draws=2,
        views=(1,),
        baselines=False,
        limit=1,
        calibration_objects=1,
        output=tmp_path / "results.json",
        pairs=tmp_path / "pairs",
        device="cpu",
    )
    bench.main(config)
    rows = read_results(config.output).rows
    factors = {row.task: row.value for row in rows if row.metric == "sigma_factor" and "scaled" in row.model}
    assert factors.keys() == {"noise", "dark"}
    assert factors["noise"] != pytest.approx(factors["dark"], rel=0.01)


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
