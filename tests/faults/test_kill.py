"""Programs that are killed at any moment leave nothing that is taken for whole and is not, and go on."""

import random
import shutil
import time
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from vnp_core.bench.training_state import read_state
from vnp_core.checkpoints import load_weights
from vnp_core.results import Stopwatch, mean_row, read_results, write_results
from vnp_nerf.baked_file import open_baked
from vnp_nerf.infer import Infer, infer
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.making.shapes import ShapeSource, load_shape
from vnp_nerf.making.writer import WriterConfig, write_category
from vnp_nerf.readers import open_collection, open_scene

KILLS = 50
DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
BENCHMARK, WRITER = (
    str(Path(__file__).with_name(f"{name}.py")) for name in ("small_benchmark", "write_forever")
)


class Killer:
    """Ends processes at random shares of the time that one takes, by the quickest so far."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.moments = random.Random(0)
        self.kills = 0

    def end(self, process: Any, least: float, most: float, *, fresh: bool = False) -> None:
        """After a share between `least` and `most`; what is done by then was not killed.

        fresh: it does not go on with what another one began, so that its time counts.
        """
        began = time.monotonic()
        process.join(self.moments.uniform(least, most) * self.seconds)
        if process.is_alive():
            self.kills += 1
        elif fresh:
            self.seconds = min(self.seconds, time.monotonic() - began)
        process.kill()
        process.join()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_scenes_of_a_killed_maker_are_whole_and_a_resumed_one_makes_the_same_bytes(
    tmp_path: Path, forkserver: Any, tally, timer
) -> None:
    config = WriterConfig(orbit=Orbit(views=3), size=32)
    names = [f"chair-{number}" for number in range(20)]
    splits = {"train": names[:16], "test": names[16:]}
    sources = {name: ShapeSource("chairs", 0, number) for number, name in enumerate(names)}

    def work(root: Path) -> tuple[Any, ...]:
        return root, "chairs", splits, sources, load_shape, config

    def start(root: Path) -> Any:
        """A maker that has begun with its scenes."""
        process = forkserver.Process(target=write_category, args=work(root))
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
    killer, losses = Killer(seconds), 0
    for attempt in range(4 * KILLS):
        root = tmp_path / f"broken{attempt // 5}"  # five attempts, each of the one that went on from the last
        before = set((root / "chairs").glob("chair-*"))
        process, goal = start(root), len(before) + killer.moments.randint(0, 3)
        while process.is_alive() and len(list((root / "chairs").glob("chair-*"))) < goal:
            time.sleep(0.002)
        killer.end(process, 0, 1 / len(names))  # somewhere in the next scene
        scenes = set((root / "chairs").glob("chair-*"))
        losses += len(before - scenes)
        for path in scenes:
            scene = open_scene(path)
            losses += any(scene.picture(view).shape != (32, 32, 4) for view in range(3))
        if attempt % 5 == 4:
            write_category(*work(root))
            losses += files(root) != unbroken
            assert len(open_collection(root).split("train")) == 16
            if killer.kills >= KILLS:
                break
    tally.add("faults", "SIGKILL while making scenes", timer(), faults=killer.kills, losses=losses)
    assert killer.kills >= KILLS
    assert losses == 0


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_baked_run_is_there_whole_or_not_at_all(tmp_path: Path, forkserver: Any, tally, timer) -> None:
    scene = next(path.parent for path in sorted(DEMO.rglob("transforms.json")))

    def options(folder: Path) -> Infer:
        return Infer(
            scene, weights="furniture", context=(0,), output_dir=folder / "run", bake=64, orbit_size=32
        )

    def start(folder: Path) -> Any:
        process = forkserver.Process(target=infer, args=(options(folder),))
        process.start()
        return process

    process, began = start(tmp_path / "whole"), time.monotonic()
    process.join()
    seconds = time.monotonic() - began
    unbroken = (tmp_path / "whole" / "run" / "baked.safetensors").read_bytes()
    names = {path.name for path in (tmp_path / "whole" / "run").rglob("*")}
    killer, losses, attempts = Killer(seconds), 0, 0
    while killer.kills < KILLS and attempts < 4 * KILLS:
        folder, attempts = tmp_path / str(attempts), attempts + 1
        # The last tenth is where files are written.
        killer.end(start(folder), *killer.moments.choice(((0, 1), (0.9, 1.05))), fresh=True)
        run = folder / "run"
        if run.exists():
            losses += {path.name for path in run.rglob("*")} != names
            losses += (run / "baked.safetensors").read_bytes() != unbroken
            open_baked(run / "baked.safetensors")
        else:  # and what a killed one left behind stands in nobody's way
            assert all(path.name.startswith(".") for path in folder.glob("*"))
            if attempts % 10 == 0:
                losses += (infer(options(folder)) / "baked.safetensors").read_bytes() != unbroken
        shutil.rmtree(folder, ignore_errors=True)
    tally.add("faults", "SIGKILL while baking", timer(), faults=killer.kills, losses=losses)
    assert killer.kills >= KILLS
    assert losses == 0


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_killed_benchmark_goes_on_from_its_last_state_and_ends_with_the_same_numbers(
    tmp_path: Path, forkserver: Any, tally, timer
) -> None:
    at = forkserver.Value("i", 0)

    def start(folder: Path) -> Any:
        process = forkserver.Process(target=run_path, args=(BENCHMARK, {"FOLDER": folder, "AT": at}))
        process.start()
        return process

    def weights(folder: Path) -> bytes:
        return (folder / "weights" / "cnp-rbf.safetensors").read_bytes()

    process, began = start(tmp_path / "whole"), time.monotonic()
    process.join()
    seconds = time.monotonic() - began
    rows, trained = read_results(tmp_path / "whole" / "results.json").rows, weights(tmp_path / "whole")
    killer, losses, most = Killer(seconds), 0, 0
    folder, attempts = tmp_path / "0", 0
    while killer.kills < KILLS and attempts < 6 * KILLS:
        attempts += 1
        fresh = not folder.exists()
        killer.end(start(folder), 0.2, 0.9, fresh=fresh)
        states = folder / "runs" / "cnp-rbf"
        cards = sorted(states.glob("step-*.json"))
        if cards:
            state = read_state(states, load_weights(cards[-1]).config)
            assert state is not None
            most = max(most, at.value + 1 - state.step)
        if (folder / "results.json").exists():
            losses += read_results(folder / "results.json").rows != rows
            losses += weights(folder) != trained
            folder = tmp_path / str(attempts)
    while not (folder / "results.json").exists():
        start(folder).join()
    losses += read_results(folder / "results.json").rows != rows
    tally.add(
        "faults", "SIGKILL in a benchmark", timer(), faults=killer.kills, losses=losses, steps_redone=most
    )
    assert killer.kills >= KILLS
    assert losses == 0


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_results_are_those_of_the_last_whole_write(tmp_path: Path, forkserver: Any, tally, timer) -> None:
    path = tmp_path / "results.json"
    write_results(path, Stopwatch("b", seed=0).results([mean_row("m", "t", "s", "", "psnr", [1.0])]))
    killer, losses = Killer(1.0), 0
    for _ in range(KILLS):
        process = forkserver.Process(target=run_path, args=(WRITER, {"PATH": path}))
        process.start()
        killer.end(process, 0.1, 0.6)
        losses += read_results(path).bench != "b"
    tally.add("faults", "SIGKILL while writing results", timer(), faults=killer.kills, losses=losses)
    assert killer.kills == KILLS
    assert losses == 0
    assert len(read_results(path).rows) == 2000
