"""Trains, scores and writes results as bench_1d does, in FOLDER; the step being made is told in AT.

test_kill.py runs this file in processes of its own, with those two names set, and kills them.
"""

from functools import partial
from pathlib import Path
from typing import Any

from vnp_core.bench import score_store, study
from vnp_core.bench.families import build_family
from vnp_core.bench.systems import System
from vnp_core.bench.trainer import TrainerConfig, build_fabric
from vnp_core.optimisers import OptimiserConfig
from vnp_core.peers import CNPConfig
from vnp_core.process_objectives import ObjectiveConfig, process_loss
from vnp_core.results import Stopwatch, mean_row, write_results

FOLDER: Path
AT: Any
INTERVAL = 0.05
"""Seconds between the states that are written."""


def told(model: Any, batch: Any, objective: Any, step: int, generator: Any) -> Any:
    """The loss, once it is told of which step."""
    AT.value = step
    return process_loss(model, batch, objective, step, generator)


score_store.SAVE_SECONDS = INTERVAL
study.process_loss = told
study.Trainer = partial(study.Trainer, checkpoint_seconds=INTERVAL)
config = TrainerConfig(steps=150, optimiser=OptimiserConfig(lr=1e-2), log_every=10)
system = System("cnp", "cnp", CNPConfig(width=8, layers=2), ObjectiveConfig(kind="mixture"))
family = build_family("rbf", seed=0, batch_size=4, test_tasks=16 * 400)
work = study.Study(FOLDER, config, build_fabric(config, "cpu"), seed=0, start="resume")
scores = work.scores(work.train(system, family), family.tests[0], draws=1)
rows = [mean_row("cnp", "rbf", "test", "", name, scores[name].tolist()) for name in ("ll_joint", "ll_point")]
write_results(FOLDER / "results.json", Stopwatch("b", seed=0).results(rows))
