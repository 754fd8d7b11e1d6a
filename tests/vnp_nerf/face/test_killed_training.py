"""A training that is killed at any moment leaves whole checkpoints, and goes on from them."""

import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vnp_nerf.face.checkpoints import read_checkpoint

KILLS = 50


@pytest.mark.nightly
@pytest.mark.timeout(5400)
def test_a_killed_training_loses_at_most_the_last_interval(
    tmp_path: Path, collection: Path, make_config: Callable[..., Any]
) -> None:
    from nerfstudio.scripts.train import train_loop

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nerfstudio.scripts.train", "vnp_nerf.face.config"])
    moments, kills, folder, best = random.Random(0), 0, None, -1
    for attempt in range(KILLS):
        config = make_config(collection, tmp_path / f"run{attempt}", steps=100_000)
        config.steps_per_save = 2
        config.load_dir = folder
        config.set_timestamp()
        config.save_config()
        own = config.get_checkpoint_dir()
        process = context.Process(target=train_loop, args=(0, 1, config))
        process.start()
        process.join(moments.uniform(2, 12))
        kills += process.is_alive()
        process.kill()
        process.join()
        found = sorted(own.glob("*")) if own.is_dir() else []
        assert len(found) <= 3  # the last two, and one more if the kill came before the third was removed
        for path in found:
            state = read_checkpoint(path)
            assert path.name == f"step-{state['step']:09d}.ckpt"
            assert all(bool(value.isfinite().all()) for value in state["pipeline"].values())
        if found:
            last = read_checkpoint(found[-1])["step"]
            assert last > best  # resumed where the one before was saved
            folder, best = own, last
    assert kills == KILLS
    assert best > 0
