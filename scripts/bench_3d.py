"""Scores trained weights and baselines on fixed pairs: PSNR and SSIM, full picture and foreground-only.

    python scripts/bench_3d.py --weights furniture --data furniture:outputs/scenes/furniture64 \
        --splits test test_author --output docs/results/furniture.json --sheet docs/results/furniture.png

Each corpus of --data has its pairs in data/pairs/NAME.json. Without --weights, only the baselines are scored.
With --draws the models say how far the truth may lie from their pictures, and are scored for it, rivals too:

    python scripts/bench_3d.py --weights furniture --draws 16 --rivals furniture-deterministic \
        --data furniture:outputs/scenes/furniture64 furniture-unseen:outputs/scenes/furniture64 \
        --output docs/results/furniture-uncertainty.json

`furniture-unseen` are pairs whose queries look at the side that no context view shows. Sigmas of
`NAME scaled` are multiplied by the one factor that fits scenes of the split `val` best, at all numbers of
views together.
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
from vnp_core.results import Row, Stopwatch, mean_row, write_results
from vnp_core.tables import markdown_table
from vnp_nerf.baselines import MeanPicture, NearestObject, NearestView, WhitePicture
from vnp_nerf.console import Voice
from vnp_nerf.contact_sheets import Panel, case_row, contact_sheet, write_png
from vnp_nerf.distributions import (
    ConstantSigma,
    DistributionPredictor,
    DrawingPredictor,
    Ensemble,
    ScaledPredictor,
    evaluate_distributions,
    fit_constant_sigma,
    fit_scale,
)
from vnp_nerf.evaluation import ModelPredictor, Predictor, cases_of, evaluate
from vnp_nerf.library import load_model, weights_path
from vnp_nerf.pairs import Pairs, make_pairs, read_pairs
from vnp_nerf.prediction import check_draws
from vnp_nerf.radiance import RadianceModel
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
    draws: int = 0
    """Score the uncertainty of so many draws of the first weights' latents; 0 scores none."""
    rivals: tuple[str, ...] = ()
    """Further weights whose uncertainty is scored: one made without latents is scored at its mean."""
    ensemble: tuple[str, ...] = ()
    """Weights that together are scored as one rival, a draw each."""
    calibration_objects: int = 12
    """Objects of the split `val` that factors on sigma are fitted to."""
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


def drawing_predictor(name: str, draws: int, device: str) -> DrawingPredictor:
    """Weights by name, to be asked for their uncertainty: at draws, or at the mean of a model without."""
    model, _ = load_model(name)
    stem = weights_path(name).stem
    if not isinstance(model, RadianceModel):
        raise ConfigError(
            f"{stem} has no noise, so it cannot say how far the truth may lie from its pictures"
        )
    return DrawingPredictor(stem, model.to(device), draws if model.config.train_draws else 0, device)


def uncertainty_rows(corpora: Sequence[Corpus], config: Bench3D, voice: Voice) -> list[Row]:
    """Scores of the first weights' uncertainty, of its rivals', and of all with a factor on their sigmas."""
    ours = drawing_predictor(config.weights[0], config.draws, config.device)
    rivals = [drawing_predictor(name, config.draws, config.device) for name in config.rivals]
    plain: list[DistributionPredictor] = [ours, *rivals]
    if config.ensemble:
        members = [drawing_predictor(name, 0, config.device) for name in config.ensemble]
        plain.append(Ensemble("ensemble", members))
    validation = make_pairs(
        corpora[0].collection,
        "val",
        "",
        ["val"],
        contexts=max(config.views),
        queries=1,
        limit=config.calibration_objects,
    )
    cases = list(cases_of(corpora[0].collection, validation, "val"))
    rows: list[Row] = []
    scaled: list[DistributionPredictor] = []
    with voice.progress("factors on sigma", "predictors", len(plain)) as report:
        for done, predictor in enumerate(plain, start=1):
            factor = fit_scale(predictor, cases, config.views).factor
            scaled.append(ScaledPredictor(f"{predictor.name} scaled", predictor, factor))
            rows.append(
                mean_row(predictor.name, corpora[0].pairs.corpus, "val", "", "sigma_factor", [factor])
            )
            report(done)
    at_mean = ModelPredictor(ours.name, ours.model, config.device)
    for name, alone in (("constant sigma", False), ("constant sigma fg", True)):
        sigma = fit_constant_sigma(at_mean, cases, config.views, alone)
        scaled.append(ConstantSigma(name, at_mean, sigma))
        rows.append(mean_row(name, corpora[0].pairs.corpus, "val", "", "sigma", [sigma]))
    for corpus in corpora:
        for split in corpus.splits:
            total = len(list(corpus.pairs.scenes[split])[: config.limit])
            with voice.progress(f"{corpus.pairs.corpus}, {split}, uncertainty", "objects", total) as report:
                rows += evaluate_distributions(
                    [*plain, *scaled],
                    corpus.collection,
                    corpus.pairs,
                    [split],
                    config.views,
                    limit=config.limit,
                    on_case=lambda _, done, report=report: report(done),
                )
    return rows


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
    check_draws(config.draws)
    if config.draws and not config.weights:
        raise ConfigError("--draws asks for the uncertainty of weights: name them by --weights")
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
    if config.draws:
        rows += uncertainty_rows(corpora, config, voice)
    print_tables(rows, console)
    write_results(config.output, stopwatch.results(rows))
    console.print(f"\nresults: {config.output}")
    if config.sheet is not None and models:
        write_png(config.sheet, contact_sheet(panels, f"{models[0].name}: held-out objects"))
        console.print(f"pictures: {config.sheet}")


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(Bench3D, description=with_exit_codes(__doc__)))
