"""Programs that are killed at any moment leave nothing that is taken for whole and is not."""

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest

from vnp_core.results import Row, Stopwatch, read_results, write_results
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.making.shapes import ShapeSource, load_shape
from vnp_nerf.making.writer import WriterConfig, write_category
from vnp_nerf.readers import open_collection, open_scene

KILLS = 50


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_scenes_of_a_killed_maker_are_whole_and_a_resumed_one_makes_the_same_bytes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vnp_nerf.making.writer", "vnp_nerf.making.shapes"])
    config = WriterConfig(orbit=Orbit(views=3), size=32)
    names = [f"chair-{number}" for number in range(20)]
    splits = {"train": names[:16], "test": names[16:]}
    sources = {name: ShapeSource("chairs", 0, number) for number, name in enumerate(names)}

    def work(root: Path) -> tuple[Any, ...]:
        return root, "chairs", splits, sources, load_shape, config

    def start(root: Path) -> Any:
        """A maker that has begun with its scenes."""
        process = context.Process(target=write_category, args=work(root))
        process.start()
        while process.is_alive() and not any((root / "chairs").glob(f".*.{process.pid}.part")):
            time.sleep(0.002)
        return process

    def files(root: Path) -> dict[str, bytes]:
        named = {path.relative_to(root): path for path in sorted(root.rglob("*")) if path.is_file()}
        hidden = {name for name in named if any(part.startswith(".") for part in name.parts)}
        return {str(name): path.read_bytes() for name, path in named.items() if name not in hidden}

    process, began = start(tmp_path / "whole"), time.monotonic()
    process.join()
    unbroken, seconds = files(tmp_path / "whole"), time.monotonic() - began
    moments, kills = random.Random(0), 0
    for attempt in range(KILLS):
        root = tmp_path / f"broken{attempt // 5}"  # five kills, each of the one that went on from the last
        process = start(root)
        process.join(moments.uniform(0, 0.3 * seconds))
        kills += process.is_alive()
        process.kill()
        process.join()
        for path in (root / "chairs").glob("chair-*"):
            scene = open_scene(path)
            assert all(scene.picture(view).shape == (32, 32, 4) for view in range(3))
        if attempt % 5 == 4:
            write_category(*work(root))
            assert files(root) == unbroken
            assert len(open_collection(root).split("train")) == 16
    assert kills > KILLS / 2


def write_forever(path: Path) -> None:
    """Rewrites a file of results as fast as it can."""
    rows = [Row("m", "t", "s", "", "psnr", float(number), None, 1) for number in range(2000)]
    results = Stopwatch("b", seed=0).results(rows)
    while True:
        write_results(path, results)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_results_of_a_killed_benchmark_are_those_of_its_last_whole_write(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, Stopwatch("b", seed=0).results([Row("m", "t", "s", "", "psnr", 1.0, None, 1)]))
    moments = random.Random(0)
    context = multiprocessing.get_context("fork")
    for _ in range(KILLS):
        process = context.Process(target=write_forever, args=(path,))
        process.start()
        process.join(moments.uniform(0.05, 0.6))
        process.kill()
        process.join()
        assert read_results(path).bench == "b"
    assert len(read_results(path).rows) == 2000
