"""What the programs of the benchmarks have in common: flags, the study that they ask for, printed tables."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vnp_core.bench.extra import import_extra
from vnp_core.bench.families import Family
from vnp_core.bench.one_dimension import Measurements
from vnp_core.bench.study import Entry, Study, weights_name
from vnp_core.bench.systems import System
from vnp_core.bench.trainer import OnDivergence, Start, TrainerConfig, build_fabric
from vnp_core.checkpoints import checkpoint_paths
from vnp_core.errors import CheckpointError, ConfigError, InterruptedRunError, exit_on_error
from vnp_core.results import Row, Stopwatch, write_results
from vnp_core.tables import markdown_table


@dataclass
class Options:
    """Flags of every benchmark that trains systems."""

    steps: int = 10_000
    """Training steps of each system."""
    batch_size: int = 64
    """Tasks in a training batch."""
    test_tasks: int = 48_000
    """Tasks in each test."""
    draws: int = 50
    """Latent draws in scores, of systems that have latents."""
    quick: bool = False
    """A minute's run of everything that is small enough; its numbers are not the table's."""
    resume: bool = False
    """Go on with the runs that are there."""
    replace: bool = False
    """Forget the runs that are there."""
    train_only: bool = False
    """Train, leave the weights in --runs, and score nothing."""
    eval_only: bool = False
    """Score the weights of --weights, and train nothing."""
    weights: Path = Path("data/weights")
    """Folder of the weights that --eval-only reads."""
    initial: Path | None = None
    """Folder of weights that training begins from, such as those that ship; by default from random ones."""
    half: bool = False
    """Round trained weights to bfloat16, and score those."""
    output: Path | None = None
    """Where the results go; by default outputs/BENCH/results.json, or quick.json."""
    runs: Path | None = None
    """Where runs lie; by default a folder beside the results."""
    accelerator: str = "auto"
    """cpu, cuda, mps or auto."""
    devices: int = 1
    """Processes to train with, each with batches of its own."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of training's forward pass."""
    on_divergence: OnDivergence = "stop"
    """What to do at a loss or gradient that is NaN or infinite: `stop`, keeping the weights before it, or
    `skip` that step; ten in a row stop the run."""
    seed: int = 0
    """Makes weights, tasks and draws."""

    def check(self) -> None:
        """Raises `ConfigError` for flags that contradict each other."""
        if self.resume and self.replace:
            raise ConfigError("--resume goes on with the runs that --replace forgets. Give one of the two.")
        if self.train_only and self.eval_only:
            raise ConfigError("--train-only scores nothing and --eval-only trains nothing. Give one.")
        if self.initial is not None and self.eval_only:
            raise ConfigError("--initial is where training begins, and --eval-only trains nothing. Give one.")

    def results_file(self, bench: str) -> Path:
        """Where the results go."""
        return self.output or Path("outputs") / bench / ("quick.json" if self.quick else "results.json")

    @property
    def start(self) -> Start:
        """What is done with runs that are there."""
        return "resume" if self.resume else "replace" if self.replace else "new"

    @property
    def trainer(self) -> TrainerConfig:
        """The budget of each training."""
        return TrainerConfig(
            steps=self.steps,
            devices=self.devices,
            precision=self.precision,
            log_every=max(1, min(100, self.steps // 20)),
        )


@contextmanager
def exit_in_one_line() -> Generator[None, None, None]:
    """Ends the program with one line and an exit code that says why, on an error of ours or on Ctrl-C."""
    try:
        with exit_on_error():
            yield
    except KeyboardInterrupt:
        print("Stopped. What is done is kept: go on with --resume.", file=sys.stderr)
        raise SystemExit(InterruptedRunError.exit_code) from None


def build_study(options: Options, output: Path, console: Any) -> Study:
    """The study that the flags ask for, with its device ready."""
    fabric = build_fabric(options.trainer, options.accelerator)
    return Study(
        options.runs or output.with_suffix(""),
        options.trainer,
        fabric,
        seed=options.seed,
        start=options.start,
        initial=options.initial,
        half=options.half,
        on_divergence=options.on_divergence,
        log=console.print if fabric.is_global_zero else None,
    )


def entries_of(options: Options, study: Study, family: Family, systems: Sequence[System]) -> list[Entry]:
    """The trained systems of a family, or under --eval-only those whose weights are there."""
    if not options.eval_only:
        entries = [study.train(system, family) for system in systems]
    else:
        paths = [options.weights / weights_name(system.name, family.name) for system in systems]
        entries = [study.load(path) for path in paths if checkpoint_paths(path)[0].is_file()]
    return [entry.with_draws(options.draws) for entry in entries]


def no_weights(options: Options) -> CheckpointError:
    """What to raise under --eval-only where no weights are there."""
    return CheckpointError(
        f"{options.weights} has no weights of these systems. Give their folder with --weights, or leave out "
        "--eval-only."
    )


def finish(options: Options, output: Path, stopwatch: Stopwatch, found: Measurements, console: Any) -> None:
    """Writes the results, and says where they and the figures are."""
    write_results(output, stopwatch.results(found.rows))
    console.print(f"\nresults: {output}")
    for path in found.figures:
        console.print(f"figure: {path}")
    if options.quick:
        console.print("This was --quick: hardly trained, few tasks. These are not the table's numbers.")


def build_console() -> Any:
    """Where lines and tables are printed: as wide as a terminal, or 120 columns."""
    console = import_extra("rich.console").Console()
    return console if console.is_terminal else import_extra("rich.console").Console(width=120)


def print_tables(
    rows: Sequence[Row],
    console: Any,
    titles: Mapping[str, str],
    tables: Mapping[str, Sequence[str]],
) -> None:
    """For each split with a title, and each task of it: tables of models by metrics, one a set of metrics."""
    markdown = import_extra("rich.markdown").Markdown
    for split, title in titles.items():
        for task in dict.fromkeys(row.task for row in rows if row.split == split):
            here = [replace(row, condition="") for row in rows if (row.task, row.split) == (task, split)]
            for name, metrics in tables.items():
                if kept := [row for row in here if row.metric in metrics]:
                    console.print(f"\n{task} ({title}), {name}: mean over tasks and its standard error")
                    table = markdown_table(kept, ("model",), ("metric",), digits=3, stderr=True)
                    console.print(markdown(table))
