"""Trains and scores neural processes on one-dimensional functions, beside the best that any model can do.

    python scripts/bench_1d.py                      # the whole table: many hours on two cores
    python scripts/bench_1d.py --resume             # goes on with it
    python scripts/bench_1d.py --eval-only          # the shipped weights: no training
    python scripts/bench_1d.py --quick              # a minute, to see that all of it works
    python scripts/bench_1d.py --csv my.csv --csv-x t --csv-y a b --csv-task who   # your own functions

Results are one JSON file, with figures beside it. Runs, weights and scores that can be resumed lie in --runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from vnp_core.bench.extra import import_extra
from vnp_core.bench.families import FAMILIES, CsvTable, Family, build_family, csv_family
from vnp_core.bench.one_dimension import Extent, Measurements
from vnp_core.bench.program import (
    Options,
    build_console,
    build_study,
    entries_of,
    exit_in_one_line,
    finish,
    no_weights,
    print_tables,
)
from vnp_core.bench.published import PUBLISHED_1D, SPLIT, read_published
from vnp_core.bench.study import Entry
from vnp_core.bench.systems import System, find_system
from vnp_core.bench.systems_1d import ABLATIONS_1D, OURS, SYSTEMS_1D
from vnp_core.errors import with_exit_codes
from vnp_core.model import ProcessConfig
from vnp_core.results import Stopwatch

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights" / "1d"

QUICK_EXTENT = Extent(
    draws=(1, 8),
    draw_tasks=64,
    autoregressive_tasks=16,
    contexts=(3, 8, 20, 40),
    targets=8,
    curve_tasks=64,
    encoded=(64, 256, 1024),
)


TITLES = {
    "test": "as in training",
    "ood": "never trained on",
    "real": "measured, after simulations",
    SPLIT: "published by others, not run here",
}
TABLES = {
    "log-likelihood, nats a target": ("ll_joint", "ll_point", "ll_point_gaussian", "ll_context"),
    "calibration": ("coverage50", "coverage90", "crps", "sigma_floor"),
}


@dataclass
class Bench1D(Options):
    """One-dimensional neural processes, side by side."""

    kernels: tuple[str, ...] = FAMILIES
    """What to train on: rbf, matern52, periodic, lotka-volterra."""
    models: tuple[str, ...] = tuple(SYSTEMS_1D)
    """Systems to train on the first kernel."""
    models_elsewhere: tuple[str, ...] = (OURS, "tnp")
    """Which of them to train on the other kernels as well."""
    csv: Path | None = None
    """A table to train and test on in place of the kernels."""
    csv_x: tuple[str, ...] = ("x",)
    """Its columns of coordinates."""
    csv_y: tuple[str, ...] = ("y",)
    """Its columns of values."""
    csv_task: str = "task"
    """Its column that says which function a row is of."""
    noise: float = 0.02
    """Standard deviation of the noise on the Gaussian processes; other values are no published protocol."""
    steps: int = 8_000
    """Training steps of each system."""
    batch_size: int = 128
    """Tasks in a training batch."""
    test_tasks: int = 48_000
    """Tasks in each test."""
    ceiling_tasks: int = 48_000
    """The first tasks of each test, which the exact process is scored on: minutes a kernel."""
    weights: Path = WEIGHTS
    """Folder of the weights that --eval-only reads."""


def quick(config: Bench1D) -> Bench1D:
    """The same in a minute."""
    kept = tuple(name for name in config.models if name in (OURS, "tnp", "convgnp"))
    return replace(
        config,
        kernels=config.kernels[:1],
        models=kept or config.models[:1],
        steps=min(config.steps, 100),
        batch_size=min(config.batch_size, 16),
        test_tasks=min(config.test_tasks, 128),
        draws=min(config.draws, 8),
        # Over what an earlier --quick left, and never over runs in a folder that the user names.
        replace=config.replace or not (config.resume or config.runs or config.output),
    )


def families_of(config: Bench1D, device: torch.device) -> list[Family]:
    """What is trained on. Raises `ConfigError` for names that are none."""
    drawn_on = device if device.type == "cuda" else torch.device("cpu")
    seed, batch_size, test_tasks = config.seed, config.batch_size, config.test_tasks
    if config.csv is not None:
        table = CsvTable(config.csv, config.csv_x, config.csv_y, config.csv_task)
        return [csv_family(table, seed=seed, batch_size=batch_size, test_tasks=test_tasks)]
    return [
        build_family(
            name,
            seed=seed,
            batch_size=batch_size,
            test_tasks=test_tasks,
            noise=config.noise,
            device=drawn_on,
        )
        for name in config.kernels
    ]


def systems_of(config: Bench1D, place: int) -> list[System]:
    """The systems to train on the family at this place of the list."""
    names = config.models if place == 0 else config.models_elsewhere
    return [find_system(name, SYSTEMS_1D) for name in names if name in config.models]


def measure(found: Measurements, family: Family, entries: Sequence[Entry], first: bool) -> None:
    """All that is measured of one family's systems."""
    plain = [entry for entry in entries if entry.system.name not in ABLATIONS_1D]
    found.training(family, entries)
    found.tests(family, entries)
    found.predictions(family, entries)
    found.context_curves(family, plain)
    found.speed(family, entries)
    for entry in entries:
        if first and entry.system.name == OURS:
            found.draws(entry, family.tests[0])
            found.autoregressive(entry, family.tests[0])


def main(config: Bench1D) -> None:
    config.check()
    if config.quick:
        config = quick(config)
    console = build_console()
    output = config.results_file("bench_1d")
    study = build_study(config, output, console)
    families = families_of(config, study.device)
    # What is missing or misspelt is told now, and not after hours of training.
    kinds = {system.kind for place in range(len(families)) for system in systems_of(config, place)}
    for package in ("matplotlib.figure", *(["neuralprocesses.torch"] if "convgnp" in kinds else [])):
        import_extra(package)
    stopwatch = Stopwatch("bench_1d", config.seed, study.device)
    extent = replace(QUICK_EXTENT if config.quick else Extent(), ceiling_tasks=config.ceiling_tasks)
    found = Measurements(study, extent, output.parent, output.stem)
    trained = [
        entries_of(config, study, family, systems_of(config, place)) for place, family in enumerate(families)
    ]
    if not study.fabric.is_global_zero:
        return
    if config.train_only:
        console.print(f"weights: {study.folder / 'weights'}")
        return
    if not any(trained):
        raise no_weights(config)
    for place, (family, entries) in enumerate(zip(families, trained, strict=True)):
        if entries:
            measure(found, family, entries, place == 0)
    ours = SYSTEMS_1D[OURS].model
    if isinstance(ours, ProcessConfig) and config.csv is None:
        found.costs(ours)
        found.rows += read_published(PUBLISHED_1D)
    print_tables(found.rows, console, TITLES, TABLES)
    finish(config, output, stopwatch, found, console)


if __name__ == "__main__":
    with exit_in_one_line():
        main(tyro.cli(Bench1D, description=with_exit_codes(__doc__)))
