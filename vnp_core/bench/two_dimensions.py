"""What `bench_2d` measures of trained systems, as rows of results and as figures."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch

from vnp_core.bench.completion import (
    QUALITY,
    SPREAD,
    Completion,
    complete,
    completion_scores,
    resized,
)
from vnp_core.bench.families import Family, HeldOut
from vnp_core.bench.figures import Curve, draw_context_curves
from vnp_core.bench.gp_regression import NAME as GP
from vnp_core.bench.gp_regression import GaussianProcessRegression
from vnp_core.bench.one_dimension import Measurements
from vnp_core.bench.picture_costs import (
    PATCHES,
    POINTS,
    completion_seconds,
    picture_cost_rows,
    picture_costs,
)
from vnp_core.bench.picture_families import coarse_test, sized_picture_test
from vnp_core.bench.picture_figures import draw_completions, draw_picture_costs, draw_super_resolution
from vnp_core.bench.scoring import TaskScores, score_rows, score_tasks
from vnp_core.bench.study import Entry
from vnp_core.bench.systems_2d import OURS
from vnp_core.model import ProcessConfig
from vnp_core.results import Row
from vnp_core.tasks.picture_tasks import COARSE, PictureTasks
from vnp_core.tasks.task import TaskBatch, as_grids, step_generator


@dataclass(frozen=True)
class PictureExtent:
    """How much is measured of whole pictures."""

    contexts: tuple[int, ...] = (10, 50, 200)
    """Numbers of known pixels at which whole pictures are completed; half of all comes on top."""
    curve_tasks: int = 256
    """Pictures that are completed at each number, and enlarged at each factor."""
    samples: int = 16
    """Functions that are sampled of each picture."""
    gp_contexts: int = 50
    """The most known pixels that Gaussian process regression is asked with."""
    gp_values: int = 3072
    """The most pixels times channels that it is asked for: its memory grows with their square."""
    sides: dict[str, tuple[int, ...]] = field(
        default_factory=lambda: {POINTS: (28, 64, 128, 178), PATCHES: (28, 64, 128, 178, 256, 512)}
    )
    """Sizes of pictures whose completion is timed, from points and from patches."""
    timed: tuple[int, int, int] = (64, 16, 8)
    """Pixels a side, pictures and draws of the batch whose completion is timed."""


@dataclass
class PictureMeasurements(Measurements):
    """Rows so far, and where figures go: FOLDER/STEM-what-family.png."""

    pictures: PictureExtent = field(default_factory=PictureExtent)

    def measure(self, family: Family, entries: Sequence[Entry]) -> None:
        """All that is measured of one family's systems."""
        self.training(family, entries)
        self.tests(family, entries)
        self.completions(family, entries)
        self.super_resolution(family, entries)
        for entry in entries:
            if entry.system.name == OURS:
                self.draws(entry, family.tests[0])
        self.figures_of(family, entries)
        self.speed(family, [entry for entry in entries if not entry.system.reads_grids])

    def completions(self, family: Family, entries: Sequence[Entry]) -> None:
        """Whole pictures from several numbers of pixels: quality, likelihood, and where samples differ."""
        test, curves = family.tests[0], dict[str, dict[str, list[tuple[int, Row]]]]()
        for contexts in self._contexts(test):
            sized = self._completion(test, contexts)
            scored = {entry.system.name: self._completed(entry, sized) for entry in entries}
            values = math.prod(_size(test)) * sized.source.y_dim
            if contexts <= self.pictures.gp_contexts and values <= self.pictures.gp_values:
                scored[GP] = self._regression(family, sized, entries[0].system.sigma_floor)
            for name, scores in scored.items():
                place = (name, test.task, "curve", f"contexts={contexts}")
                metrics = ("ll_point", "ll_joint", "bits_point", "bits_joint", *QUALITY, *SPREAD)
                rows = score_rows(scores, *place, metrics)
                self.rows += rows
                for row in rows:
                    curves.setdefault(row.metric, {}).setdefault(name, []).append((contexts, row))
        shown = {
            "psnr": "PSNR of the mean, dB",
            "ll_joint": "joint / number of targets, nats",
            "spread_unseen": "spread of samples where not given",
        }
        panels = {
            label: [_curve(name, pairs) for name, pairs in curves[metric].items()]
            for metric, label in shown.items()
            if metric in curves
        }
        draw_context_curves(self._figure("contexts", family.name), panels)

    def super_resolution(self, family: Family, entries: Sequence[Entry]) -> None:
        """Two and four times as many pixels a side: scores of models, and quality beside interpolation."""
        for kind, factor in COARSE.items():
            test = coarse_test(family.tests[0], kind, self.pictures.curve_tasks, self.study.seed)
            if test is None:
                self.log(f"{family.name}: sides that {factor} does not divide, no enlargement by it")
                continue
            scored = {
                entry.system.name: self._completed(entry, test)
                for entry in entries
                if not entry.system.reads_grids
            }
            scored |= {mode: self._resized(test, mode) for mode in ("bicubic", "nearest")}
            for name, scores in scored.items():
                place = (name, test.task, "super-resolution", f"factor={factor}")
                self.rows += score_rows(scores, *place, ("ll_point", "ll_joint", *QUALITY))

    def figures_of(self, family: Family, entries: Sequence[Entry]) -> None:
        """Ours, or what there is: completions from ever more pixels, and enlargements side by side."""
        test = family.tests[0]
        for entry in [entry for entry in entries if entry.system.name == OURS] or list(entries[:1]):
            rows = [
                self._pictured(entry, self._completion(test, contexts)) for contexts in self._contexts(test)
            ]
            draw_completions(self._figure("completion", family.name), rows)
            if entry.system.reads_grids:
                continue
            enlarged: list[dict[str, Completion]] = []
            for kind in COARSE:
                coarse = coarse_test(test, kind, 16, self.study.seed)
                if coarse is not None:
                    batch = coarse.source.batch(0)
                    modes = {mode: resized(batch, _size(coarse), mode) for mode in ("nearest", "bicubic")}
                    enlarged.append({**modes, entry.system.name: self._pictured(entry, coarse)})
            if enlarged:
                draw_super_resolution(self._figure("enlarged", family.name), enlarged)

    def picture_costs(self, config: ProcessConfig) -> None:
        """What it costs to complete ever larger pictures, from points and from patches."""
        largest = {name: max(sides) for name, sides in self.pictures.sides.items()}
        self.log(f"completing pictures of up to {largest} pixels a side")
        costs = picture_costs(config, self.pictures.sides, device=self.study.device)
        self.rows += picture_cost_rows(costs, OURS)
        draw_picture_costs(self._figure("costs"), costs)
        side, batch, draws = self.pictures.timed
        found = completion_seconds(config, side, batch, draws, self.study.device)
        for (name, precision), seconds in found.items():
            condition = f"side={side},batch={batch},draws={draws},{precision}"
            self.rows.append(
                Row(f"{OURS}-{name}", "pictures", "speed", condition, "seconds", seconds, None, 1)
            )

    def _contexts(self, test: HeldOut) -> list[int]:
        """Numbers of known pixels that a picture has room for, and half of all."""
        height, width = _size(test)
        half = height * width // 2
        return [count for count in self.pictures.contexts if count < half] + [half]

    def _completion(self, test: HeldOut, contexts: int) -> HeldOut:
        """Pictures of which so many pixels are known, and all others asked for."""
        height, width = _size(test)
        asked = height * width - contexts
        return sized_picture_test(test, contexts, asked, self.pictures.curve_tasks, self.study.seed)

    def _completed(self, entry: Entry, test: HeldOut) -> TaskScores:
        """Scores of an entry's completions, with its likelihood scores beside."""
        scores, samples = dict(self.study.scores(entry, test, entry.system.draws)), self.pictures.samples
        source = as_grids(test.source) if entry.system.reads_grids else test.source
        draws = min(entry.system.draws, samples)

        def compute(batches: Sequence[TaskBatch], block: int) -> TaskScores:
            generator = step_generator(self.study.seed, block, samples)
            return _joined(
                completion_scores(complete(entry.process, batch, _size(test), draws, samples, generator))
                for batch in batches
            )

        described = {"weights": entry.sha256, "samples": samples, "draws": draws, "seed": self.study.seed}
        name = f"{entry.system.name}-completes-{test.task}"
        scores |= self.study.by_blocks(name, replace(test, source=source), described, compute, size=4)
        return scores

    def _regression(self, family: Family, test: HeldOut, floor: float) -> TaskScores:
        trained = cast(PictureTasks, family.train).pictures
        levels = trained.pixels.float().mean((0, 2, 3)) / 255 - 0.5
        mean = tuple(round(float(level), 4) for level in levels)
        model = GaussianProcessRegression(max(floor, 0.01), mean)

        def compute(batches: Sequence[TaskBatch], block: int) -> TaskScores:
            generator = step_generator(self.study.seed, block)
            found = [
                complete(model, batch, _size(test), 1, self.pictures.samples, generator) for batch in batches
            ]
            scores = score_tasks(model, batches, 1, block, context=False, step=test.step)
            return scores | _joined(completion_scores(each) for each in found)

        described = {"noise": model.noise, "mean": list(mean), "seed": self.study.seed}
        return self.study.by_blocks(f"{GP}-on-{test.task}", test, described, compute, size=4)

    def _resized(self, test: HeldOut, mode: str) -> TaskScores:
        def compute(batches: Sequence[TaskBatch], _block: int) -> TaskScores:
            return _joined(completion_scores(resized(batch, _size(test), mode)) for batch in batches)

        return self.study.by_blocks(f"{mode}-on-{test.task}", test, {}, compute)

    def _pictured(self, entry: Entry, test: HeldOut) -> Completion:
        """What one system makes of the first pictures of a test."""
        source = as_grids(test.source) if entry.system.reads_grids else test.source
        batch = source.batch(0).to(self.study.device)
        draws = max(entry.system.draws, 4)
        return complete(entry.process, batch, _size(test), draws, 4, step_generator(self.study.seed, 0))


def _size(test: HeldOut) -> tuple[int, int]:
    return cast(PictureTasks, test.source).pictures.size


def _joined(scores: Iterable[TaskScores]) -> TaskScores:
    pieces = list(scores)
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def _curve(name: str, pairs: Sequence[tuple[int, Row]]) -> Curve:
    contexts = [count for count, _ in pairs]
    values, errors = [row.value for _, row in pairs], [row.stderr or 0.0 for _, row in pairs]
    return Curve(name, contexts, values, errors, ceiling=name == GP)
