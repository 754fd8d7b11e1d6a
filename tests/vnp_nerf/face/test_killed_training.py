"""A training that is killed at any moment leaves whole checkpoints, and goes on from them."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from vnp_nerf.face.checkpoints import read_checkpoint

KILLS = 50
INTERVAL = 3
"""Steps between checkpoints."""
TRAINING = str(Path(__file__).with_name("told_training.py"))


@pytest.mark.nightly
@pytest.mark.timeout(5400)
def test_a_killed_training_loses_at_most_the_last_interval(
    tmp_path: Path,
    collection: Path,
    make_config: Callable[..., Any],
    forkserver: Any,
    tally,
    timer: Callable[[], float],
) -> None:
    done = forkserver.Value("i", -1)

    def start(folder: Path, load: Path | None) -> tuple[Any, Path]:
        config = make_config(collection, folder, steps=100_000)
        config.steps_per_save, config.load_dir = INTERVAL, load
        config.set_timestamp()
        config.save_config()
        process = forkserver.Process(target=run_path, args=(TRAINING, {"CONFIG": config, "DONE": done}))
        process.start()
        return process, config.get_checkpoint_dir()

    # How long it takes to come to the second checkpoint, once all is imported.
    seconds = 0.0
    for name in ("imports", "clocked"):
        done.value, began = -1, time.monotonic()
        process, _ = start(tmp_path / name, None)
        while done.value < INTERVAL + 1:
            assert process.is_alive()
            time.sleep(0.01)
        seconds = time.monotonic() - began
        process.kill()
        process.join()

    moments, kills, losses, most = random.Random(0), 0, 0, 0
    folder, best = None, -1
    for attempt in range(KILLS):
        done.value = best
        process, own = start(tmp_path / f"run{attempt}", folder)
        process.join(moments.uniform(0.3, 2.5) * seconds)
        kills += process.is_alive()
        process.kill()
        process.join()
        found = sorted(own.glob("*")) if own.is_dir() else []
        losses += len(found) > 3  # the last two, and one more if the kill came before the third was removed
        for path in found:
            state = read_checkpoint(path)
            losses += path.name != f"step-{state['step']:09d}.ckpt"
            losses += not all(bool(value.isfinite().all()) for value in state["pipeline"].values())
        if found:
            last = read_checkpoint(found[-1])["step"]
            losses += last < best  # it went on from where the one before was saved
            folder, best = own, max(best, last)
        most = max(most, done.value - best)
    tally.add("faults", "SIGKILL in training", timer(), faults=kills, losses=losses, steps_redone=most)
    assert kills == KILLS
    assert losses == 0
    assert best > 0
    # A step may be done, and its checkpoint not yet.
    assert most <= INTERVAL
