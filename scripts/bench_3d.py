"""Scores trained weights and baselines on fixed pairs: PSNR and SSIM, full picture and foreground-only.

    python scripts/bench_3d.py --weights furniture --data furniture:outputs/scenes/furniture64 \
        --splits test test_author --output docs/results/furniture.json --sheet docs/results/furniture.png

Each corpus of --data has its pairs in data/pairs/NAME.json. Without --weights, only the baselines are scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.markdown import Markdown

from vnp_core.errors import ConfigError, exit_on_error, with_exit_codes
from vnp_core.results import Row, Stopwatch, write_results
from vnp_core.tables import markdown_table
from vnp_nerf.baselines import MeanPicture, NearestObject, NearestView, WhitePicture
from vnp_nerf.console import Voice
from vnp_nerf.contact_sheets import Panel, case_row, contact_sheet, write_png
from vnp_nerf.evaluation import ModelPredictor, Predictor, cases_of, evaluate
from vnp_nerf.library import load_model, weights_path
from vnp_nerf.pairs import Pairs, read_pairs
from vnp_nerf.readers import Collection, open_collection

PAIRS_FOLDER = Path(__file__).resolve().parents[1] / "data" / "pairs"


@dataclass
class Bench3D:
    """Novel views of objects that were held out of training."""

    data: tuple[str, ...]
    """Corpora as NAME:FOLDER, such as furniture:outputs/scenes/furniture64."""
    weights: tuple[str, ...] = ()
    """Shipped names or .safetensors files."""
    splits: tuple[str, ...] = ("test",)
    """Splits to score; those that a corpus' pairs lack are passed over."""
    views: tuple[int, ...] = (1, 2, 3, 5, 8)
    """Numbers of context views."""
    limit: int | None = None
    """Only the first objects of each split."""
    baselines: bool = True
    """Score white, the mean training picture and the nearest context view as well."""
    lookup: bool = False
    """Score the nearest training object as well; reads every training picture."""
    output: Path = Path("outputs/bench_3d/results.json")
    """Where the results go."""
    sheet: Path | None = None
    """Where a contact sheet goes, of the first model on each corpus and split."""
    sheet_objects: int = 6
    """Objects of each corpus and split on the sheet."""
    sheet_views: int = 3
    """Context views of the sheet."""
    pairs: Path = PAIRS_FOLDER
    """Folder of the pairs, NAME.json for each corpus."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where the models run."""
    seed: int = 0
    """Draws the scenes of the mean training picture."""


@dataclass
class Corpus:
    """A corpus with its pairs, and those of the wanted splits that it has."""

    collection: Collection
    pairs: Pairs
    splits: tuple[str, ...]


def open_corpus(data: str, folder_of_pairs: Path, wanted: Sequence[str]) -> Corpus:
    """The corpus of one NAME:FOLDER. Raises `ConfigError` if it is malformed or has none of the splits."""
    name, colon, folder = data.partition(":")
    if not (name and colon and folder):
        raise ConfigError(f"--data {data!r}: give NAME:FOLDER, such as furniture:outputs/scenes/furniture64")
    pairs = read_pairs(folder_of_pairs / f"{name}.json")
    splits = tuple(split for split in wanted if split in pairs.scenes)
    if not splits:
        raise ConfigError(f"the pairs of {name} have splits {list(pairs.scenes)}, and none of {list(wanted)}")
    return Corpus(open_collection(Path(folder)), pairs, splits)


def baselines_of(corpus: Corpus, config: Bench3D, voice: Voice) -> list[Predictor]:
    """The baselines asked for; they read training pictures of the corpus."""
    found: list[Predictor] = []
    scenes = corpus.collection.split("train")
    if config.baselines:
        generator = np.random.default_rng(config.seed)
        with voice.progress(f"{corpus.pairs.corpus}: mean training picture", "scenes") as report:
            mean = MeanPicture(scenes, generator, on_scene=lambda done, total: report(done, total=total))
        found += [WhitePicture(), mean, NearestView()]
    if config.lookup:
        label = f"{corpus.pairs.corpus}: training pictures"
        with voice.progress(label, "scenes", len(scenes)) as report:
            found.append(NearestObject(scenes, on_scene=report))
    return found


def print_tables(rows: Sequence[Row], console: Console) -> None:
    """One table a corpus and metric."""
    for task in dict.fromkeys(row.task for row in rows):
        for metric in dict.fromkeys(row.metric for row in rows):
            kept = [row for row in rows if (row.task, row.metric) == (task, metric)]
            digits = 2 if metric.startswith("psnr") else 3
            console.print(f"\n{task}, {metric}")
            console.print(Markdown(markdown_table(kept, ("split", "model"), digits=digits)))


def main(config: Bench3D) -> None:
    console, voice = Console(), Voice()
    stopwatch = Stopwatch("bench_3d", config.seed, config.device)
    corpora = [open_corpus(data, config.pairs, config.splits) for data in config.data]
    models: list[ModelPredictor] = []
    for name in config.weights:
        model, _ = load_model(name)
        models.append(ModelPredictor(weights_path(name).stem, model.to(config.device), config.device))
    rows: list[Row] = []
    panels: list[tuple[str, list[Panel]]] = []
    for corpus in corpora:
        predictors = [*models, *baselines_of(corpus, config, voice)]
        for split in corpus.splits:
            total = len(list(corpus.pairs.scenes[split])[: config.limit])
            with voice.progress(f"{corpus.pairs.corpus}, {split}", "objects", total) as report:
                rows += evaluate(
                    predictors,
                    corpus.collection,
                    corpus.pairs,
                    [split],
                    config.views,
                    limit=config.limit,
                    on_case=lambda _, done, report=report: report(done),
                )
            if config.sheet is not None and models:
                cases = cases_of(corpus.collection, corpus.pairs, split, config.sheet_objects)
                panels += [case_row(models[0], case, config.sheet_views) for case in cases]
    print_tables(rows, console)
    write_results(config.output, stopwatch.results(rows))
    console.print(f"\nresults: {config.output}")
    if config.sheet is not None and models:
        write_png(config.sheet, contact_sheet(panels, f"{models[0].name}: held-out objects"))
        console.print(f"pictures: {config.sheet}")


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(Bench3D, description=with_exit_codes(__doc__)))
