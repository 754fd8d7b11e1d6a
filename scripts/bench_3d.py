"""Scores trained weights and baselines on fixed pairs: PSNR and SSIM, full picture and foreground-only; of
models the outline (IoU) and, on scenes made with --depth, the depth and that of the context views' pixels;
LPIPS where its weights are at hand.

    python scripts/bench_3d.py --weights furniture --data furniture:outputs/scenes/furniture64 \
        --splits test test_author --output docs/results/furniture.json --sheet docs/results/furniture.png

The shipped table, of weights that ship, from one and three views (9 minutes of two cores with bfloat16):

    python scripts/bench_3d.py --eval-only

Each corpus of --data has its pairs in data/pairs/NAME.json. Without --weights, only the baselines are scored.
The same command goes on where it was interrupted, in code that is as some commit holds it.
The protocols of papers, on renderings of ShapeNet that you have (`published_protocols`), for weights that
were trained on them and made portable by `vnp-export weights`:

    python scripts/bench_3d.py --data learnit:PATH --category cars --weights FILE --no-baselines
    python scripts/bench_3d.py --data srn:PATH --category cars --weights FILE --no-baselines

nerfacto, optimised for each object from the same views, as a rival (minutes an object on a processor):

    python scripts/bench_3d.py --weights furniture --data furniture:outputs/scenes/furniture64 \
        --views 1 3 8 --limit 8 --no-baselines --nerfacto 500

With --draws the first weights say how far the truth may lie from their pictures, and are scored for it,
rivals too; such weights are trained with noise, which `furniture-draws` was:

    python scripts/bench_3d.py --weights furniture-draws --draws 16 --no-baselines \
        --data furniture:outputs/scenes/furniture64 furniture-unseen:outputs/scenes/furniture64 \
        --output docs/results/furniture-uncertainty.json --figures docs/results

`furniture-unseen` are pairs whose queries look at the side that no context view shows. Sigmas of
`NAME scaled` are multiplied by the one factor that fits scenes of the collection's split `val` best, at all
numbers of views together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.markdown import Markdown

from vnp_core.checkpoints import weights_digest
from vnp_core.errors import ConfigError, InterruptedRunError, exit_on_error, with_exit_codes
from vnp_core.results import Row, Stopwatch, command_line, git_state, write_results
from vnp_core.score_notes import ScoreNotes
from vnp_core.tables import markdown_table
from vnp_nerf.baselines import MeanPicture, NearestObject, NearestView, WhitePicture
from vnp_nerf.console import Voice
from vnp_nerf.contact_sheets import case_row, contact_sheet, write_png
from vnp_nerf.corpora import Corpus, Validation, open_corpus, validations
from vnp_nerf.distributions import score_distributions
from vnp_nerf.evaluation import Case, Contestant, ModelPredictor, Predictor, evaluate, score_case
from vnp_nerf.library import weights_path
from vnp_nerf.pairs import read_pairs
from vnp_nerf.perceptual import find_perceptual
from vnp_nerf.prediction import check_draws
from vnp_nerf.published_protocols import PROTOCOLS, published_pairs
from vnp_nerf.readers import ReadOptions, open_collection
from vnp_nerf.score_workers import Contest, note_side_by_side
from vnp_nerf.uncertainty_study import Contestants, draw_uncertainty

PAIRS_FOLDER = Path(__file__).resolve().parents[1] / "data" / "pairs"


@dataclass
class Bench3D:
    """Novel views of objects that were held out of training."""

    data: tuple[str, ...] = ()
    """Corpora as NAME:FOLDER, such as furniture:outputs/scenes/furniture64; or learnit:FOLDER and srn:FOLDER,
    whose pairs and numbers of views are the published ones."""
    category: str | None = None
    """Of learnit and srn: cars, chairs, lamps."""
    white_is_empty: bool = False
    """Make near-white background of pictures without alpha transparent: for weights that were trained so."""
    weights: tuple[str, ...] = ()
    """Shipped names or .safetensors files."""
    eval_only: bool = False
    """The shipped table: weights that ship, each on the first test objects of its kind, from one and three
    views. It takes no --data and no --weights; scenes that are missing are left out, and named."""
    scenes: Path = Path("outputs/scenes")
    """Of the shipped table: the folder of shapes64 and furniture64."""
    workers: int | None = None
    """Processes that score weights on several objects at once, each with its share of the threads; by default
    one, and a thread each for the shipped table."""
    splits: tuple[str, ...] = ("test",)
    """Splits to score; those that a corpus' pairs lack are passed over."""
    views: tuple[int, ...] = (1, 2, 3, 5, 8)
    """Numbers of context views."""
    limit: int | None = None
    """Only the first objects of each split."""
    by_category: bool = False
    """Score each category's objects alone as well, where the pairs tell categories."""
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
    nerfacto: int = 0
    """Steps for which nerfstudio's nerfacto is optimised for each object and number of context views anew, to
    be scored as well: minutes each on a processor; 0 leaves it out."""
    lookup: bool = False
    """Score the nearest training object as well; reads every training picture."""
    output: Path = Path("outputs/bench_3d/results.json")
    """Where the results go."""
    sheet: Path | None = None
    """Where a contact sheet goes, of the first model on each corpus and split."""
    sheet_objects: int = 6
    """Objects of each corpus and split on the sheet, and of each corpus in the figures."""
    sheet_views: int = 3
    """Context views of the sheet."""
    figures: Path | None = None
    """Folder where figures of the uncertainty of --draws go."""
    pairs: Path = PAIRS_FOLDER
    """Folder of the pairs, NAME.json for each corpus."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where the models run."""
    seed: int = 0
    """Draws the scenes of the mean training picture, and the known view of learnit's objects."""

    @property
    def read(self) -> ReadOptions:
        """How scenes are read."""
        return ReadOptions(white_is_empty=self.white_is_empty)


def open_corpora(data: str, config: Bench3D) -> list[Corpus]:
    """The corpus of one NAME:FOLDER, or one for each number of views that a published protocol has.

    Raises `ConfigError` if it is malformed or has none of the splits.
    """
    name, colon, folder = data.partition(":")
    if not (name and colon and folder):
        raise ConfigError(f"--data {data!r}: give NAME:FOLDER, such as furniture:outputs/scenes/furniture64")
    if name in PROTOCOLS:
        if config.category is None:
            raise ConfigError(f"--data {data!r}: say of which category, such as --category cars")
        collection = open_collection(Path(folder), [config.category])
        found = published_pairs(name, collection, config.category, seed=config.seed, limit=config.limit)
        return [Corpus(collection, each.pairs, ("test",), (each.context_count,)) for each in found]
    return [open_corpus(name, Path(folder), config.pairs, config.splits, config.views)]


def baselines_of(corpus: Corpus, config: Bench3D, voice: Voice) -> list[Predictor]:
    """The baselines asked for; they read training pictures of the corpus."""
    found: list[Predictor] = []
    # A corpus that was made to be scored alone has no such split.
    scenes = corpus.collection.split("train") if config.baselines or config.lookup else ()
    if config.baselines:
        generator = np.random.default_rng(config.seed)
        with voice.progress(f"{corpus.pairs.corpus}: mean training picture", "scenes") as report:
            mean = MeanPicture(scenes, generator, on_scene=lambda done, total: report(done, total=total))
        found += [WhitePicture(), mean, NearestView()]
    if config.lookup:
        label = f"{corpus.pairs.corpus}: training pictures"
        with voice.progress(label, "scenes", len(scenes)) as report:
            found.append(NearestObject(scenes, on_scene=report))
    if config.nerfacto:
        from vnp_nerf.face.per_scene import NerfactoConfig, NerfactoPredictor  # nerfstudio takes long to load

        found.append(NerfactoPredictor(NerfactoConfig(config.nerfacto, seed=config.seed), config.device))
    return found


def scored(
    contestants: Sequence[Sequence[Contestant]],
    corpora: Sequence[Corpus],
    config: Bench3D,
    voice: Voice,
    what: str,
    score: Callable[[Any, Case, int], dict[str, float]],
    notes: ScoreNotes,
) -> list[Row]:
    """The scores of each corpus' contestants on it."""
    rows: list[Row] = []
    for entered, corpus in zip(contestants, corpora, strict=True):
        for split in corpus.splits:
            place = corpus.place(what, split)

            def noted(who: Contestant, case: Case, count: int, place: tuple[str, ...] = place) -> Any:
                return notes((*place, who.name, case.name, count), lambda: score(who, case, count))

            total = len(list(corpus.pairs.scenes[split])[: config.limit])
            with voice.progress(f"{corpus.pairs.corpus}, {split}{what}", "objects", total) as report:
                rows += evaluate(
                    entered,
                    corpus.collection,
                    corpus.pairs,
                    [split],
                    corpus.views,
                    score=noted,
                    limit=config.limit,
                    read=config.read,
                    by_category=config.by_category,
                    on_case=lambda _, done, report=report: report(done),
                )
    return rows


def uncertainty_rows(
    found: Contestants,
    fitted_to: Sequence[Validation],
    config: Bench3D,
    voice: Voice,
    notes: ScoreNotes,
) -> list[Row]:
    """Scores of all that is said of the truth."""
    rows: list[Row] = []
    for validation in fitted_to:
        alike = validation.corpora
        everybody, factors = found.calibrated(
            validation.cases, validation.views, alike[0].pairs.corpus, voice
        )
        entered = [everybody] * len(alike)
        scoring = score_distributions
        rows += factors + scored(entered, alike, config, voice, ", uncertainty", scoring, notes)
    return rows


def draw_figures(
    folder: Path, found: Contestants, corpora: Sequence[Corpus], config: Bench3D, voice: Voice
) -> list[Path]:
    """Figures of the first weights' uncertainty on the first objects of each corpus."""
    paths: list[Path] = []
    for corpus in corpora:
        cases = list(corpus.cases(corpus.splits[0], config.sheet_objects, config.read))
        paths += draw_uncertainty(folder, corpus.pairs.corpus, found.ours, cases, corpus.views, voice)
    return paths


def begun_notes(output: Path, digests: Mapping[str, str]) -> ScoreNotes:
    """Scores so far of the same command, weights and code; of code that no commit holds there are none."""
    commit, dirty = git_state(Path(__file__).resolve().parent)
    identity = {"command": command_line(), "commit": commit, "torch": torch.__version__, "weights": digests}
    return ScoreNotes(output.with_name(f"{output.name}.unfinished"), None if dirty else identity)


def print_tables(rows: Sequence[Row], console: Console) -> None:
    """One table a corpus and metric."""
    for task in dict.fromkeys(row.task for row in rows):
        of_task = [row for row in rows if row.task == task]
        for metric in dict.fromkeys(row.metric for row in of_task):
            kept = [row for row in of_task if row.metric == metric]
            digits = 2 if metric.startswith("psnr") else 3
            console.print(f"\n{task}, {metric}")
            console.print(Markdown(markdown_table(kept, ("split", "model"), digits=digits)))


@dataclass(frozen=True)
class Part:
    """What one set of options asks for, opened."""

    config: Bench3D
    corpora: list[Corpus]
    models: list[ModelPredictor]

    @classmethod
    def of(cls, config: Bench3D) -> "Part":
        """Opens corpora, and loads weights."""
        corpora = [corpus for data in config.data for corpus in open_corpora(data, config)]
        models = [ModelPredictor.load(name, config.device) for name in config.weights]
        return cls(config, corpora, models)

    def score_by_workers(self, workers: int, notes: ScoreNotes, voice: Voice) -> None:
        """Notes what the weights score, as far as it is not noted yet."""
        config = self.config
        for corpus in self.corpora:
            for split in corpus.splits:
                contest = Contest(config.weights, corpus, split, config.read, config.device)
                note_side_by_side(contest, config.limit, workers, notes, voice)

    def predictors(self, voice: Voice) -> list[list[Predictor]]:
        """Who is scored on each corpus."""
        if self.config.eval_only:
            return [[*self.models, NearestView()] for _ in self.corpora]
        return [[*self.models, *baselines_of(corpus, self.config, voice)] for corpus in self.corpora]


def shipped_table(config: Bench3D, console: Console) -> list[Bench3D]:
    """What --eval-only scores.

    Raises `ConfigError` beside options that the table has itself, and where none of its scenes are there.
    """
    if config.data or config.weights or config.draws or config.nerfacto or config.lookup:
        raise ConfigError(
            "--eval-only has corpora and weights of its own: leave --data, --weights, --draws, --nerfacto "
            "and --lookup out; without --eval-only they are scored as given"
        )
    shapes = config.scenes / "shapes64"
    alone = {"cars": 24, "chairs": 12, "lamps": 12, "tables": 12}
    table = (
        ("shapes-large", "shapes", shapes, 24),
        *((f"shapes-{each}-large", f"shapes-{each}", shapes / each, count) for each, count in alone.items()),
        ("furniture-canonical", "furniture", config.scenes / "furniture64", 24),
    )
    parts: list[Bench3D] = []
    for weights, corpus, folder, limit in table:
        if folder.is_dir():
            options = {"data": (f"{corpus}:{folder}",), "weights": (weights,), "views": (1, 3)}
            limit = config.limit or limit
            parts.append(replace(config, **options, limit=limit, by_category=corpus == "shapes"))
        else:
            make = read_pairs(config.pairs / f"{corpus}.json").make
            console.print(f"{weights} is left out: there are no scenes at {folder}; make them with: {make}")
    if not parts:
        raise ConfigError(f"--scenes {config.scenes}: nothing that the shipped table is about; see above")
    return parts


def main(config: Bench3D) -> None:
    console, voice = Console(), Voice()
    stopwatch = Stopwatch("bench_3d", config.seed, config.device)
    check_draws(config.draws)
    if config.figures is not None and not config.draws:
        raise ConfigError("--figures are of the uncertainty of draws: say how many by --draws")
    if config.draws and not config.weights:
        raise ConfigError("--draws asks for the uncertainty of weights: name them by --weights")
    if (config.rivals or config.ensemble) and not config.draws:
        raise ConfigError("--rivals and --ensemble are scored for their uncertainty: say --draws as well")
    if config.sheet is not None and not (config.weights or config.eval_only):
        raise ConfigError("--sheet shows what weights see: name them by --weights")
    if config.workers is not None and config.workers < 1:
        raise ConfigError(f"--workers {config.workers}: give a number of processes, 1 or more")
    if not (config.data or config.eval_only):
        raise ConfigError("say what is scored: --data NAME:FOLDER, or --eval-only for the shipped table")
    stems = [weights_path(name).stem for name in config.weights]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ConfigError(
            f"--weights has {twice[0]!r} twice, and rows of one name would be one: rename a file"
        )
    workers = config.workers or (torch.get_num_threads() if config.eval_only else 1)
    parts = [Part.of(part) for part in (shipped_table(config, console) if config.eval_only else [config])]
    corpora = [corpus for part in parts for corpus in part.corpora]
    drawn: Contestants | None = None
    if config.draws:
        drawn = Contestants.load(
            config.weights[0], config.rivals, config.ensemble, config.draws, config.device
        )
    fitted_to = validations(corpora, config.calibration_objects, config.read) if config.draws else []
    predictors = [part.predictors(voice) for part in parts]
    perceptual = find_perceptual()
    if perceptual is None:
        console.print("no LPIPS: the weights that it needs are not on this machine, and nothing is fetched")
    named = [name for part in parts for name in part.config.weights]
    used = [weights_path(name) for name in (*named, *config.rivals, *config.ensemble)]
    digests = {path.stem: weights_digest(path) for path in used}
    notes = begun_notes(config.output, digests)
    if notes.known:
        console.print(f"going on with {len(notes.known)} scores of a run that was interrupted: {notes.path}")
    stopwatch.start -= notes.spent
    score = partial(score_case, perceptual=perceptual)
    rows: list[Row] = []
    try:
        for part, entered in zip(parts, predictors, strict=True):
            if workers > 1:
                part.score_by_workers(workers, notes, voice)
            rows += scored(entered, part.corpora, part.config, voice, "", score, notes)
        if drawn is not None:
            rows += uncertainty_rows(drawn, fitted_to, config, voice, notes)
    except KeyboardInterrupt:
        raise InterruptedRunError(notes.farewell) from None
    write_results(config.output, stopwatch.results(rows, digests))
    print_tables(rows, console)
    notes.finish()
    console.print(f"\nresults: {config.output}")
    if config.sheet is not None and parts[0].models:
        panels = [
            case_row(part.models[0], case, min(config.sheet_views, max(corpus.views)))
            for part in parts
            for corpus in part.corpora
            for split in corpus.splits
            for case in corpus.cases(split, config.sheet_objects, config.read)
        ]
        title = ", ".join(part.models[0].name for part in parts)
        write_png(config.sheet, contact_sheet(panels, f"{title}: held-out objects"))
        console.print(f"pictures: {config.sheet}")
    if config.figures is not None and drawn is not None:
        for path in draw_figures(config.figures, drawn, corpora, config, voice):
            console.print(f"figure: {path}")


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(Bench3D, description=with_exit_codes(__doc__)))
