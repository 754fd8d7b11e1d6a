"""Trains systems alike, for the same time or the same steps, and scores them on the same pairs.

    python scripts/compare_3d.py --train outputs/scenes/shapes-train/cars --frame canonical --minutes 10 \
        --data shapes-cars:outputs/scenes/shapes64/cars --output docs/results/equal-time.json

    python scripts/compare_3d.py --train outputs/scenes/furniture64 --systems tiny-deterministic \
        --scenes 100 300 574 --steps 300 700 --data furniture:outputs/scenes/furniture64 \
        --output docs/results/scaling.json --figure docs/results/scaling.png

    python scripts/compare_3d.py --train outputs/scenes/shapes-train/cars --frame canonical --steps 400 \
        --systems deterministic "azimuth=deterministic --pipeline.model.radiance.frame azimuth" \
        --data shapes-cars:outputs/scenes/shapes64/cars --output outputs/compare_3d/frames.json

The systems are configurations of `ns-train` (vnp_nerf/face/trained_systems.py); each training is a process
of its own, one after another. What is trained already in the folder of --runs is not trained again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markdown import Markdown

from vnp_core.bench.extra import import_extra
from vnp_core.bench.figures import write_figure
from vnp_core.errors import ConfigError, exit_on_error, with_exit_codes
from vnp_core.results import Row, Stopwatch, mean_row, write_results
from vnp_core.tables import markdown_table
from vnp_nerf.console import Voice
from vnp_nerf.evaluation import ModelPredictor, evaluate
from vnp_nerf.face.trained_systems import (
    SYSTEMS,
    Schooling,
    System,
    Trained,
    steps_in,
    system_named,
    train,
)
from vnp_nerf.pairs import Pairs, read_pairs
from vnp_nerf.readers import Collection, open_collection

SYSTEMS_HELP = f"Any of {', '.join(SYSTEMS)}; or variants of them, each as 'NAME=SYSTEM FLAGS of ns-train'."
PAIRS_FOLDER = Path(__file__).resolve().parents[1] / "data" / "pairs"


@dataclass
class Compare3D:
    """Systems that had the same scenes and the same time, or the same steps, to learn."""

    train: Path
    """The collection that is trained on."""
    data: str
    """The corpus that is scored, NAME:FOLDER; its pairs are data/pairs/NAME.json."""
    systems: Annotated[tuple[str, ...], tyro.conf.arg(help=SYSTEMS_HELP)] = (
        "vnp-nerf",
        "deterministic",
        "pixelnerf-like",
        "planes",
        "paper-small",
    )
    minutes: float | None = None
    """Train each system for so long: for the steps that fit, by the rate of a short run of it."""
    steps: tuple[int, ...] = ()
    """Train each system for each of these numbers of steps instead."""
    scenes: tuple[int, ...] = ()
    """Train on each of these numbers of scenes; on all if not given."""
    frame: Literal["azimuth", "canonical"] = "azimuth"
    """That models read in; canonical for corpora whose objects stand in one frame."""
    views: tuple[int, ...] = (1, 3)
    """Numbers of context views that are scored."""
    limit: int | None = None
    """Only the first objects of the pairs' split test."""
    runs: Path = Path("outputs/compare_3d")
    """Where runs go, and are found again."""
    output: Path = Path("outputs/compare_3d/results.json")
    """Where the results go."""
    figure: Path | None = None
    """Where a figure of PSNR against scenes and against steps goes."""
    pairs: Path = PAIRS_FOLDER
    """Folder of the pairs."""
    device: str = "cpu"
    """Where the trained models are scored."""
    seed: int = 42
    """Of every training."""

    def __post_init__(self) -> None:
        if (self.minutes is None) == (not self.steps):
            raise ConfigError("say either for how many --minutes, or for how many --steps to train")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"--minutes {self.minutes}: give more than 0")
        if any(steps < 1 for steps in self.steps):
            raise ConfigError(f"--steps {list(self.steps)}: give 1 or more")
        if self.figure is not None and not self.steps:
            raise ConfigError("--figure is of scenes and steps: say how many --steps")


@dataclass(frozen=True)
class Lesson:
    """One training: of which system, on how much, for how long."""

    name: str
    system: System
    schooling: Schooling
    steps: int | None
    """None where time decides."""

    @property
    def folder(self) -> str:
        """Of its run."""
        scenes, steps = self.schooling.train_scenes, self.steps
        return "-".join(
            [self.name, "all" if scenes is None else str(scenes), "timed" if steps is None else str(steps)]
        )


def lessons(config: Compare3D) -> list[Lesson]:
    """All trainings, in order. Raises `ConfigError` for a system that is unknown."""
    counts: Sequence[int | None] = config.scenes or (None,)
    steps: Sequence[int | None] = config.steps or (None,)
    return [
        Lesson(
            *system_named(system),
            Schooling(config.train, config.frame, train_scenes=count, seed=config.seed),
            wanted,
        )
        for system in config.systems
        for count in counts
        for wanted in steps
    ]


def taught(lesson: Lesson, config: Compare3D, voice: Voice) -> Trained:
    """A lesson's system, trained."""
    run = config.runs / lesson.folder
    steps = lesson.steps
    if steps is None:
        assert config.minutes is not None
        steps = steps_kept(lesson, config.minutes, config.runs)
    with voice.progress(f"{lesson.folder}: training", "steps", steps) as report:
        return train(lesson.system, lesson.schooling, steps, run, report)


def steps_kept(lesson: Lesson, minutes: float, runs: Path) -> int:
    """How many steps fit, measured once: a run that is found again is to be the same."""
    note = runs / f"{lesson.folder}-{minutes:g}min.txt"
    if not note.exists():
        steps = steps_in(lesson.system, lesson.schooling, minutes, runs / f"{lesson.folder}-trial")
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{steps}\n", encoding="utf-8")
    return int(note.read_text(encoding="utf-8"))


def rows_of(
    lesson: Lesson, trained: Trained, corpus: tuple[Collection, Pairs], config: Compare3D, voice: Voice
) -> list[Row]:
    """Scores of a trained system, and what its training took."""
    collection, pairs = corpus
    predictor = ModelPredictor(lesson.name, trained.model.to(config.device), config.device)
    scenes = len(open_collection(config.train).split("train"))
    learned = min(lesson.schooling.train_scenes or scenes, scenes)
    where = "" if lesson.steps is None else f"scenes={learned},steps={trained.steps}"
    total = len(list(pairs.scenes["test"])[: config.limit])
    with voice.progress(f"{lesson.folder}: scoring", "objects", total) as report:
        scored = evaluate(
            [predictor],
            collection,
            pairs,
            ["test"],
            config.views,
            limit=config.limit,
            on_case=lambda _, done: report(done),
        )
    costs = {"train_seconds": trained.seconds, "steps": trained.steps, "parameters": trained.parameters}
    told = [
        mean_row(lesson.name, pairs.corpus, "test", where, metric, [float(value)])
        for metric, value in costs.items()
    ]
    together = [replace(row, condition=",".join(filter(None, (row.condition, where)))) for row in scored]
    return together + told


def draw_scaling(path: Path, rows: Sequence[Row]) -> None:
    """PSNR against the scenes that were trained on, and against steps: a line for each system, number of
    views and number of steps or scenes.
    """
    figure = import_extra("matplotlib.figure").Figure(figsize=(8, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    scored = [(row, _parts(row.condition)) for row in rows if row.metric == "psnr"]
    for panel, axis, other in zip(panels, ("scenes", "steps"), ("steps", "scenes"), strict=True):
        lines: dict[str, list[tuple[int, float, float]]] = {}
        for row, parts in scored:
            label = f"{row.model}, views={parts['views']}, {other}={parts[other]}"
            lines.setdefault(label, []).append((parts[axis], row.value, row.stderr or 0))
        for label, points in lines.items():
            places, values, errors = zip(*sorted(points), strict=True)
            panel.errorbar(places, values, errors, marker="o", label=label)
        panel.set(xscale="log", xlabel=axis)
        ticks = sorted({parts[axis] for _, parts in scored})
        panel.set_xticks(ticks, labels=[str(tick) for tick in ticks])
        panel.minorticks_off()
        # Below the panel: inside, it would lie on the lines.
        panel.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    panels[0].set_ylabel("PSNR of held-out objects, dB")
    write_figure(figure, path)


def _parts(condition: str) -> dict[str, int]:
    return {name: int(value) for name, value in (part.split("=") for part in condition.split(","))}


def main(config: Compare3D) -> None:
    console, voice = Console(), Voice()
    stopwatch = Stopwatch("compare_3d", config.seed, config.device)
    name, colon, folder = config.data.partition(":")
    if not (name and colon and folder):
        raise ConfigError(
            f"--data {config.data!r}: give NAME:FOLDER, such as furniture:outputs/scenes/furniture"
        )
    corpus = open_collection(Path(folder)), read_pairs(config.pairs / f"{name}.json")
    if "test" not in corpus[1].scenes:
        raise ConfigError(
            f"the pairs of {name} have the splits {list(corpus[1].scenes)}, and systems are scored on 'test'"
        )
    rows: list[Row] = []
    for lesson in lessons(config):
        trained = taught(lesson, config, voice)
        rows += rows_of(lesson, trained, corpus, config, voice)
        write_results(config.output, stopwatch.results(rows))
    for metric in dict.fromkeys(row.metric for row in rows):
        console.print(f"\n{metric}")
        kept = [row for row in rows if row.metric == metric]
        console.print(Markdown(markdown_table(kept, digits=2)))
    console.print(f"\nresults: {config.output}")
    if config.figure is not None:
        draw_scaling(config.figure, rows)
        console.print(f"figure: {config.figure}")


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(Compare3D, description=with_exit_codes(__doc__)))
