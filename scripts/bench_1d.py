"""Trains and scores neural processes on one-dimensional functions, beside the best that any model can do.

    python scripts/bench_1d.py                      # the whole table: many hours on two cores
    python scripts/bench_1d.py --resume             # goes on with it
    python scripts/bench_1d.py --eval-only          # the shipped weights: no training
    python scripts/bench_1d.py --quick              # a minute, to see that all of it works
    python scripts/bench_1d.py --csv my.csv --csv-x t --csv-y a b --csv-task who   # your own functions

Results are one JSON file, with figures beside it. Runs, weights and scores that can be resumed lie in --runs.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.markdown import Markdown

from vnp_core.bench.extra import import_extra
from vnp_core.bench.families import FAMILIES, CsvTable, Family, build_family, csv_family
from vnp_core.bench.one_dimension import Extent, Measurements
from vnp_core.bench.study import Entry, Study, weights_name
from vnp_core.bench.systems import System, find_system
from vnp_core.bench.systems_1d import ABLATIONS_1D, OURS, SYSTEMS_1D
from vnp_core.bench.trainer import TrainerConfig, build_fabric
from vnp_core.checkpoints import checkpoint_paths
from vnp_core.errors import CheckpointError, ConfigError, InterruptedRunError, exit_on_error
from vnp_core.model import ProcessConfig
from vnp_core.results import Row, Stopwatch, write_results
from vnp_core.tables import markdown_table

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


@dataclass
class Bench1D:
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
    steps: int = 10_000
    """Training steps of each system."""
    batch_size: int = 128
    """Tasks in a training batch."""
    test_tasks: int = 48_000
    """Tasks in each test."""
    ceiling_tasks: int = 48_000
    """The first tasks of each test, which the exact process is scored on: minutes a kernel."""
    draws: int = 50
    """Latent draws in scores, of systems that have latents."""
    quick: bool = False
    """A minute's run of everything that is small enough; its numbers are not the table's."""
    resume: bool = False
    """Go on with the runs that are there."""
    replace: bool = False
    """Forget the runs that are there."""
    train_only: bool = False
    """Train, and score nothing: weights are left in --runs, to be scored by a call with --resume."""
    eval_only: bool = False
    """Score the weights of --weights, and train nothing."""
    weights: Path = WEIGHTS
    """Folder of the weights that --eval-only reads."""
    half: bool = False
    """Round trained weights to bfloat16, and score those."""
    output: Path | None = None
    """Where the results go; by default outputs/bench_1d/results.json, or quick.json."""
    runs: Path | None = None
    """Where runs lie; by default a folder beside the results."""
    accelerator: str = "auto"
    """cpu, cuda, mps or auto."""
    devices: int = 1
    """Processes to train with, each with batches of its own."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of training's forward pass."""
    seed: int = 0
    """Makes weights, tasks and draws."""


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
        replace=not config.resume,
    )


def families_of(config: Bench1D) -> list[Family]:
    """What is trained on. Raises `ConfigError` for names that are none."""
    seed, batch_size, test_tasks = config.seed, config.batch_size, config.test_tasks
    if config.csv is not None:
        table = CsvTable(config.csv, config.csv_x, config.csv_y, config.csv_task)
        return [csv_family(table, seed=seed, batch_size=batch_size, test_tasks=test_tasks)]
    return [
        build_family(name, seed=seed, batch_size=batch_size, test_tasks=test_tasks, noise=config.noise)
        for name in config.kernels
    ]


def systems_of(config: Bench1D, place: int) -> list[System]:
    """The systems to train on the family at this place of the list."""
    names = config.models if place == 0 else config.models_elsewhere
    return [find_system(name, SYSTEMS_1D) for name in names if name in config.models]


def entries_of(config: Bench1D, study: Study, family: Family, place: int) -> list[Entry]:
    """The trained systems of a family, or those whose weights are there."""
    systems = systems_of(config, place)
    if config.eval_only:
        paths = [config.weights / weights_name(system.name, family.name) for system in systems]
        entries = [study.load(path) for path in paths if checkpoint_paths(path)[0].is_file()]
    else:
        entries = [study.train(system, family) for system in systems]
    return [entry.with_draws(config.draws) for entry in entries]


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


def print_tables(rows: Sequence[Row], console: Console) -> None:
    """Two tables a task and split: in distribution, out of it, and measured functions apart."""
    titles = {"test": "as in training", "ood": "never trained on", "real": "measured, after simulations"}
    tables = {
        "log-likelihood, nats a target": ("ll_joint", "ll_point", "ll_point_gaussian", "ll_context"),
        "calibration": ("coverage50", "coverage90", "crps", "sigma_floor"),
    }
    for split, title in titles.items():
        for task in dict.fromkeys(row.task for row in rows if row.split == split):
            here = [replace(row, condition="") for row in rows if (row.task, row.split) == (task, split)]
            for name, metrics in tables.items():
                kept = [row for row in here if row.metric in metrics]
                console.print(f"\n{task} ({title}), {name}: mean over tasks and its standard error")
                table = markdown_table(kept, ("model",), ("metric",), digits=3, stderr=True)
                console.print(Markdown(table))


def main(config: Bench1D) -> None:
    if config.quick:
        config = quick(config)
    if config.resume and config.replace:
        raise ConfigError("--resume goes on with the runs that --replace forgets. Give one of the two.")
    if config.train_only and config.eval_only:
        raise ConfigError("--train-only and --eval-only leave nothing to do. Give one of the two.")
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    output = config.output or Path("outputs/bench_1d") / ("quick.json" if config.quick else "results.json")
    trainer = TrainerConfig(
        steps=config.steps,
        devices=config.devices,
        precision=config.precision,
        log_every=max(1, min(100, config.steps // 20)),
    )
    families = families_of(config)
    # What is missing or misspelt is told now, and not after hours of training.
    kinds = {system.kind for place in range(len(families)) for system in systems_of(config, place)}
    for package in ("matplotlib.figure", *(["neuralprocesses.torch"] if "convgnp" in kinds else [])):
        import_extra(package)
    fabric = build_fabric(trainer, config.accelerator)
    stopwatch = Stopwatch("bench_1d", config.seed, fabric.device)
    study = Study(
        config.runs or output.with_suffix(""),
        trainer,
        fabric,
        seed=config.seed,
        start="resume" if config.resume else "replace" if config.replace else "new",
        half=config.half,
        log=console.print if fabric.is_global_zero else None,
    )
    extent = replace(QUICK_EXTENT if config.quick else Extent(), ceiling_tasks=config.ceiling_tasks)
    found = Measurements(study, extent, output.parent, output.stem)
    trained = [entries_of(config, study, family, place) for place, family in enumerate(families)]
    if not fabric.is_global_zero:
        return
    if config.train_only:
        console.print(f"weights: {study.folder / 'weights'}")
        return
    if not any(trained):
        raise CheckpointError(f"{config.weights} has no weights of these systems. Leave out --eval-only.")
    for place, (family, entries) in enumerate(zip(families, trained, strict=True)):
        if entries:
            measure(found, family, entries, place == 0)
    ours = SYSTEMS_1D[OURS].model
    if isinstance(ours, ProcessConfig) and config.csv is None:
        found.costs(ours)
    print_tables(found.rows, console)
    write_results(output, stopwatch.results(found.rows))
    console.print(f"\nresults: {output}")
    for path in found.figures:
        console.print(f"figure: {path}")
    if config.quick:
        console.print("This was --quick: hardly trained, few tasks. These are not the table's numbers.")


if __name__ == "__main__":
    try:
        with exit_on_error():
            main(tyro.cli(Bench1D, description=__doc__))
    except KeyboardInterrupt:
        print("Stopped. What is done is kept: go on with --resume.", file=sys.stderr)
        raise SystemExit(InterruptedRunError.exit_code) from None
