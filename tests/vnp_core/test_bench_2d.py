"""The benchmark of pictures from its flags to results, figures and tables, on tiny models and pictures."""

import contextlib
import io
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tyro
from PIL import Image

from vnp_core.bench.gp_regression import NAME as GP
from vnp_core.bench.one_dimension import Extent
from vnp_core.bench.systems import System
from vnp_core.bench.two_dimensions import PictureExtent
from vnp_core.errors import CheckpointError, ConfigError, DataError, OutputExistsError
from vnp_core.model import ProcessConfig
from vnp_core.results import Results, read_results
from vnp_core.tokenizers import PatchTokenizerConfig

TINY = PictureExtent(
    contexts=(5,), curve_tasks=4, samples=3, sides={"points": (8,), "patches": (8, 12)}, timed=(4, 1, 1)
)
SIDE = 12


Values = Callable[..., dict[tuple[str, str, str], float]]


@pytest.fixture(scope="module")
def bench(
    load_script: Callable[[str], ModuleType], once: Callable[..., float], tiny_vnp: System, tiny_cnp: System
) -> Generator[Any, None, None]:
    """The program, with tiny systems under the names that it knows."""
    module = load_script("bench_2d")
    assert isinstance(tiny_vnp.model, ProcessConfig)
    in_patches = replace(tiny_vnp.model, x_dim=2, tokenizer=PatchTokenizerConfig(patch=4))
    systems = {
        "vnp": tiny_vnp,
        "tnp": replace(tiny_cnp, name="tnp"),
        "vnp-patches": replace(tiny_vnp, name="vnp-patches", model=in_patches),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SYSTEMS_2D", systems)
        patch.setattr(module, "QUICK_EXTENT", Extent(draws=(1, 2), draw_tasks=16))
        patch.setattr(module, "QUICK_PICTURES", TINY)
        patch.setattr(module, "EXTENT", Extent(draws=(1, 2), draw_tasks=16))
        patch.setattr(module, "PICTURES", TINY)
        for home in ("encoding_cost", "picture_costs"):
            patch.setattr(f"vnp_core.bench.{home}.fastest", once)
        yield module


def write_idx(path: Path, values: np.ndarray) -> None:
    head = b"".join(int(word).to_bytes(4, "big") for word in (0x800 + values.ndim, *values.shape))
    path.write_bytes(head + values.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def emnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as EMNIST's balanced split comes, with small pictures."""
    folder, rng = tmp_path_factory.mktemp("emnist"), np.random.default_rng(0)
    for part, labels in (("train", [0, 1, 2, 11]), ("test", [0, 9, 10, 46])):
        name = f"emnist-balanced-{part}"
        write_idx(folder / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (4, SIDE, SIDE)))
        write_idx(folder / f"{name}-labels-idx1-ubyte", np.array(labels))
    return folder


def run(bench: Any, folder: Path, data: str, **flags: Any) -> Results:
    output = folder / "results.json"
    given = {"quick": True, "models": ("vnp", "tnp", "vnp-patches"), "steps": 2, "test_tasks": 16}
    bench.main(bench.Bench2D(data=data, output=output, accelerator="cpu", **{**given, **flags}))
    return read_results(output)


@pytest.fixture(scope="module")
def first(bench: Any, emnist: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results, str]:
    """A quick run: where it wrote, what it measured, and what it printed."""
    folder = tmp_path_factory.mktemp("first")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        results = run(bench, folder, f"emnist:{emnist}")
    return folder, results, printed.getvalue()


def test_a_quick_run_measures_everything_on_files_of_emnists_layout(
    first: tuple[Path, Results, str], values: Values
) -> None:
    folder, results, printed = first
    splits = {"test", "unseen", "block", "half", "curve", "super-resolution", "draws", "speed", "training"}
    assert {row.split for row in results.rows} == splits
    for split in ("test", "unseen", "block", "half"):
        found = values(results, split=split, task="emnist")
        for model in ("vnp", "tnp", "vnp-patches"):
            scores = {"ll_point", "ll_joint", "bits_point", "bits_joint", "coverage90"}
            assert scores <= {metric for name, _, metric in found if name == model}
        assert found["vnp", "", "sigma_floor"] == pytest.approx(1 / 255 / 12**0.5, rel=0.01)
    curve = values(results, split="curve")
    assert {condition for _, condition, _ in curve} == {"contexts=5", "contexts=72"}
    for model in ("vnp", "vnp-patches", GP):
        assert {"psnr", "ssim", "psnr_best", "spread_unseen", "ll_joint"} <= {
            metric for name, _, metric in curve if name == model
        }
    assert curve["vnp", "contexts=5", "psnr_best"] >= curve["vnp", "contexts=5", "psnr_sample"]
    assert (GP, "contexts=72", "psnr") not in curve  # regression on small contexts only
    enlarged = values(results, split="super-resolution", metric="psnr")
    assert {name for name, _, _ in enlarged} == {"vnp", "tnp", "bicubic", "nearest"}
    assert {condition for _, condition, _ in enlarged} == {"factor=2", "factor=4"}
    assert {name[1] for name in values(results, split="draws")} == {"draws=1", "draws=2"}
    figures = {path.name for path in folder.glob("*.png")}
    kinds = ["", "-unseen", "-block", "-half"]
    assert figures == {
        *(f"results-calibration-emnist{kind}.png" for kind in kinds),
        "results-completion-emnist.png",
        "results-contexts-emnist.png",
        "results-costs.png",
        "results-enlarged-emnist.png",
        "results-training-emnist.png",
    }
    assert "emnist (classes never seen), bits a channel" in printed
    assert "not the table's numbers" in printed


def test_training_here_and_scoring_there_gives_the_same_scores(
    bench: Any, first: tuple[Path, Results, str], emnist: Path, tmp_path: Path, values: Values
) -> None:
    _, trained, _ = first
    flags = {"runs": tmp_path / "runs", "output": tmp_path / "results.json", "quick": True, "steps": 2}
    config = bench.Bench2D(
        data=f"emnist:{emnist}",
        models=("vnp", "vnp-patches"),
        test_tasks=16,
        train_only=True,
        accelerator="cpu",
        **flags,
    )
    bench.main(config)
    assert not (tmp_path / "results.json").exists()
    weights = tmp_path / "runs" / "weights"
    scored = run(bench, tmp_path / "second", f"emnist:{emnist}", eval_only=True, weights=weights)
    for split in ("test", "unseen", "curve", "super-resolution"):
        here, there = (
            {key: value for key, value in values(found, split=split).items() if key[0].startswith("vnp")}
            for found in (trained, scored)
        )
        assert here == there
    assert not (tmp_path / "second" / "results" / "runs").exists()
    with pytest.raises(CheckpointError, match="no weights of these systems"):
        run(bench, tmp_path / "third", f"emnist:{emnist}", eval_only=True, weights=tmp_path)


def test_celebas_layout_in_colour_with_a_bad_file(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], values: Values
) -> None:
    folder, rng = tmp_path / "celeba", np.random.default_rng(0)
    (folder / "img_align_celeba").mkdir(parents=True)
    for number in range(4):
        pixels = rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "img_align_celeba" / f"{number}.jpg")
    (folder / "img_align_celeba" / "4.jpg").write_bytes(b"torn")
    listing = "".join(f"{number}.jpg {2 if number == 3 else 0}\n" for number in range(5))
    (folder / "list_eval_partition.txt").write_text(listing)
    results = run(bench, tmp_path, f"celeba:{folder}", models=("vnp",), size=SIDE)
    found = values(results, split="test", task="celeba")
    # Summed over three channels in nats, and a channel's in bits.
    assert found["vnp", "", "ll_point"] / 3 == pytest.approx(
        (np.log2(255) - found["vnp", "", "bits_point"]) * np.log(2), rel=1e-6
    )
    assert "1 of 4 files were skipped" in capsys.readouterr().out
    assert "unseen" not in {row.split for row in results.rows}
    with pytest.raises(DataError, match=r"4\.jpg.*--strict"):
        run(bench, tmp_path, f"celeba:{folder}", size=SIDE, strict=True)


def test_a_run_that_is_there_is_gone_on_with_or_left_alone(bench: Any, emnist: Path, tmp_path: Path) -> None:
    flags = {"data": f"emnist:{emnist}", "quick": False, "models": ("tnp",), "train_only": True}
    config = bench.Bench2D(output=tmp_path / "r.json", accelerator="cpu", steps=2, batch_size=4, **flags)
    bench.main(config)
    with pytest.raises(OutputExistsError, match="--resume"):
        bench.main(config)
    bench.main(replace(config, resume=True))
    with pytest.raises(ConfigError, match="tasks.kinds"):
        bench.main(replace(config, resume=True, train_on=("half",)))
    with pytest.raises(ConfigError, match="sigma_floor was 0.00113, given is 0.1"):
        bench.main(replace(config, resume=True, sigma_floor=0.1))


def test_mistakes_are_told_before_any_training(bench: Any, emnist: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'fashion-mnist'"):
        run(bench, tmp_path, "fashion-mist")
    with pytest.raises(ConfigError, match="'vpn'.*'vnp'"):
        run(bench, tmp_path, f"emnist:{emnist}", models=("vpn",), quick=False)
    for flags in ({"resume": True, "replace": True}, {"train_only": True, "eval_only": True}):
        with pytest.raises(ConfigError, match="Give one"):
            run(bench, tmp_path, f"emnist:{emnist}", **flags)
    assert list(tmp_path.iterdir()) == []


def test_flags_are_read_and_defaults_are_the_tables(bench: Any) -> None:
    default = tyro.cli(bench.Bench2D, args=[])
    assert (default.data, default.sigma_floor, default.draws) == ("fashion-mnist", 0.00113, 50)
    assert default.train_on == ("random",)
    args = ["--data", "celeba:faces", "--size", "64", "--models", "vnp", "--train-only", "--runs", "here"]
    given = tyro.cli(bench.Bench2D, args=args)
    assert (given.data, given.size, given.models) == ("celeba:faces", 64, ("vnp",))
    assert (given.train_only, given.runs) == (True, Path("here"))
