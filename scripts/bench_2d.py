"""Trains and scores neural processes on pictures: completion, super-resolution, and how sure they are.

    python scripts/bench_2d.py                          # Fashion-MNIST, the whole table: hours without a GPU
    python scripts/bench_2d.py --eval-only              # the shipped weights: no training
    python scripts/bench_2d.py --quick                  # a minute, to see that all of it works
    python scripts/bench_2d.py --data emoji             # or digits, emnist:PATH, celeba:PATH, folder:PATH
    python scripts/bench_2d.py --models vnp --train-only --runs DIR    # one training, to be scored elsewhere
    python scripts/bench_2d.py --models vnp --eval-only --weights DIR/weights

Results are one JSON file, with figures beside it. Runs, weights and scores that can be resumed lie in --runs.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from vnp_core.bench.extra import import_extra
from vnp_core.bench.one_dimension import Extent
from vnp_core.bench.picture_families import picture_family
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
from vnp_core.bench.systems import System, find_system
from vnp_core.bench.systems_2d import OURS, PATCHES, SIGMA_FLOOR, SYSTEMS_2D, with_floor
from vnp_core.bench.two_dimensions import PictureExtent, PictureMeasurements
from vnp_core.errors import with_exit_codes
from vnp_core.model import ProcessConfig
from vnp_core.results import Stopwatch
from vnp_core.tasks.picture_data import Opening, open_pictures
from vnp_core.tasks.picture_tasks import PictureTaskKind

EXTENT, PICTURES = Extent(draw_tasks=1600, peer_share=1), PictureExtent()
QUICK_EXTENT = Extent(draws=(1, 4), draw_tasks=16)
QUICK_PICTURES = PictureExtent(
    contexts=(10, 50),
    curve_tasks=8,
    samples=4,
    sides={"points": (16, 28), "patches": (16, 28, 64)},
    timed=(28, 2, 2),
)

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights" / "2d"


TITLES = {
    "test": "as in training",
    "unseen": "classes never seen",
    "block": "a missing block",
    "half": "a missing half",
}
TABLES = {
    "log-likelihood, nats a target": ("ll_joint", "ll_point", "ll_context"),
    "bits a channel": ("bits_joint", "bits_point"),
    "calibration": ("coverage50", "coverage90", "crps", "sigma_floor"),
}


@dataclass
class Bench2D(Options):
    """Neural processes on pictures, side by side."""

    data: str = "fashion-mnist"
    """fashion-mnist, digits, emoji, sklearn-digits, or emnist:PATH, celeba:PATH, folder:PATH,
    fashion-mnist:PATH."""
    cache: Path = Path("outputs/data")
    """Where fetched data sets are kept."""
    size: int | None = None
    """Pixels a side of sets made of picture files; by default 64 for emoji and 32 otherwise."""
    grey: bool = False
    """Make colour pictures grey."""
    strict: bool = False
    """Stop at the first bad file of a folder, in place of skipping it."""
    models: tuple[str, ...] = tuple(SYSTEMS_2D)
    """Systems to train."""
    train_on: tuple[PictureTaskKind, ...] = ("random",)
    """Kinds of tasks to train on; `random` alone is the published protocol."""
    sigma_floor: float = SIGMA_FLOOR
    """Smallest standard deviation of every system's predictions, in units where black to white is 1."""
    steps: int = 6_000
    """Training steps of each system."""
    batch_size: int = 128
    """Tasks in a training batch."""
    test_tasks: int = 16_000
    """Tasks in the first test; others have a share of it."""
    whole_pictures: int = 256
    """Pictures that are completed at each number of known pixels, and enlarged at each factor."""
    weights: Path = WEIGHTS
    """Folder of the weights that --eval-only reads."""


def read_picture(path: Path) -> Any:
    """The pixels of a picture file; only sets of such files need Pillow."""
    from vnp_nerf.pictures import read_rgba

    return read_rgba(path)


def quick(config: Bench2D) -> Bench2D:
    """The same in a minute."""
    kept = tuple(name for name in config.models if name in (OURS, "tnp", PATCHES))
    return replace(
        config,
        models=kept or config.models[:1],
        steps=min(config.steps, 20),
        batch_size=min(config.batch_size, 4),
        test_tasks=min(config.test_tasks, 32),
        draws=min(config.draws, 4),
        # Over what an earlier --quick left, and never over runs in a folder that the user names.
        replace=config.replace or not (config.resume or config.runs or config.output),
    )


def systems_of(config: Bench2D) -> list[System]:
    """The systems that were asked for. Raises `ConfigError` for names that are none."""
    systems = with_floor(SYSTEMS_2D, config.sigma_floor)
    return [find_system(name, systems) for name in config.models]


def main(config: Bench2D) -> None:
    config.check()
    if config.quick:
        config = quick(config)
    console = build_console()
    output = config.results_file("bench_2d")
    systems = systems_of(config)
    if not config.train_only:
        import_extra("matplotlib.figure")  # what is missing is told now, and not after hours of training
    opening = Opening(read_picture, config.cache, config.size, config.grey, config.strict, console.print)
    data = open_pictures(config.data, opening)
    study = build_study(config, output, console)
    stopwatch = Stopwatch("bench_2d", config.seed, study.device)
    family = picture_family(
        data,
        seed=config.seed,
        batch_size=config.batch_size,
        test_tasks=config.test_tasks,
        kinds=config.train_on,
        device="cpu" if config.eval_only else study.device,
    )
    entries = entries_of(config, study, family, systems)
    if not study.fabric.is_global_zero:
        return
    if config.train_only:
        console.print(f"weights: {study.folder / 'weights'}")
        return
    if not entries:
        raise no_weights(config)
    pictures = replace(PICTURES, curve_tasks=config.whole_pictures)
    extents = (QUICK_EXTENT, QUICK_PICTURES) if config.quick else (EXTENT, pictures)
    found = PictureMeasurements(study, extents[0], output.parent, output.stem, pictures=extents[1])
    found.measure(family, entries)
    ours = SYSTEMS_2D[OURS].model
    if isinstance(ours, ProcessConfig):
        found.picture_costs(replace(ours, x_dim=2, y_dim=family.train.y_dim))
    print_tables(found.rows, console, TITLES, TABLES)
    finish(config, output, stopwatch, found, console)


if __name__ == "__main__":
    with exit_in_one_line():
        main(tyro.cli(Bench2D, description=with_exit_codes(__doc__)))
