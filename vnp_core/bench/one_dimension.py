"""What `bench_1d` measures of trained systems, as rows of results and as figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vnp_core.bench.ceilings import KNOWN, NAMES, ceiling_names
from vnp_core.bench.encoding_cost import cost_rows, encoding_costs, prediction_seconds
from vnp_core.bench.families import X_RANGE, Family, HeldOut, sized_test
from vnp_core.bench.figures import (
    Curve,
    draw_calibration,
    draw_context_curves,
    draw_costs,
    draw_predictions,
    draw_training,
)
from vnp_core.bench.panels import ExactProcess, nested_contexts, prediction_panels
from vnp_core.bench.progress import Log, quiet
from vnp_core.bench.scoring import LEVELS, TaskScores, gap_rows, score_rows, share_outside
from vnp_core.bench.study import Entry, Study
from vnp_core.bench.systems_1d import OURS
from vnp_core.model import Process, ProcessConfig
from vnp_core.results import Row
from vnp_core.tasks.gaussian_processes import GaussianProcessBatch, GaussianProcessTasks


@dataclass(frozen=True)
class Extent:
    """How much is measured besides the systems' own tests."""

    draws: tuple[int, ...] = (1, 8, 50)
    """Numbers of latent draws that are compared."""
    draw_tasks: int = 4800
    """Tasks that they are compared on."""
    autoregressive_tasks: int = 512
    """Tasks that are scored one target after another."""
    contexts: tuple[int, ...] = (3, 5, 8, 12, 16, 20, 25, 30, 38, 46)
    """Numbers of contexts of the curve."""
    targets: int = 16
    """Targets of each of its tasks."""
    curve_tasks: int = 512
    """Tasks at each of its points."""
    pictured: tuple[int, ...] = (3, 8, 30)
    """Numbers of contexts in the figure of predictions."""
    peer_share: int = 4
    """Systems other than ours are scored on the first quarter of each test, say, where this is 4."""
    ceiling_tasks: int = 48_000
    """Tasks of each test that the exact process is scored on, at some 10 ms each."""
    encoded: tuple[int, ...] = (64, 256, 1024, 4096, 16384)
    """Sizes of the contexts whose encoding is timed."""


@dataclass
class Measurements:
    """Rows so far, and where figures go: FOLDER/STEM-what-family.png."""

    study: Study
    extent: Extent
    folder: Path
    stem: str
    rows: list[Row] = field(default_factory=list[Row])
    figures: list[Path] = field(default_factory=list[Path])

    @property
    def log(self) -> Log:
        """Where lines for the reader go."""
        return self.study.log or quiet

    def tests(self, family: Family, entries: Sequence[Entry]) -> None:
        """Every test of a family: the ceilings, then each system trained on it; and the calibration curve."""
        for test in family.tests:
            condition = "" if test.task == family.name else f"trained={family.name}"
            ceilings = self._ceilings(test)
            for name, scores in ceilings.items():
                place = (name, test.task, test.split, condition)
                self.rows += score_rows(scores, *place, NAMES, batch_size=test.batch_size)
            first = _tightest(ceilings)
            shares: dict[str, list[float]] = {}
            for entry in entries:
                share = 1 if entry.system.name == OURS else self.extent.peer_share
                part = self._first(test, test.batches * test.batch_size // share)
                scores = self.study.scores(entry, part, entry.system.draws)
                place = (entry.system.name, test.task, test.split, condition)
                self.rows += self._score_rows(scores, first, test, *place)
                self.rows.append(Row(*place, "sigma_floor", entry.system.sigma_floor, None, 1))
                shares[entry.system.name] = [float(share) for share in scores["calibration"].mean(0)]
            kind = [test.split] if test.task == family.name and test.split != "test" else []
            path = self._figure("calibration", family.name, test.task, *kind)
            draw_calibration(path, LEVELS, shares)
            self._flag_outside(test)

    def draws(self, entry: Entry, test: HeldOut) -> None:
        """One system under several numbers of latent draws, on the first tasks of a test."""
        first = self._first(test, self.extent.draw_tasks)
        best = _tightest(self._ceilings(first))
        for draws in self.extent.draws:
            scores = self.study.scores(entry, first, draws)
            place = (entry.system.name, test.task, "draws", f"draws={draws}")
            self.rows += self._score_rows(scores, best, test, *place)

    def autoregressive(self, entry: Entry, test: HeldOut) -> None:
        """The joint score one target after another, and in one pass on the same tasks."""
        first = self._first(test, self.extent.autoregressive_tasks)
        best = _tightest(self._ceilings(first))
        ways = {
            "one-pass": self.study.scores(entry, first, entry.system.draws),
            "autoregressive": self.study.autoregressive(entry, first, entry.system.draws),
        }
        for way, scores in ways.items():
            place = (entry.system.name, test.task, "autoregressive", f"way={way}")
            rows = self._score_rows(scores, best, test, *place)
            self.rows += [row for row in rows if row.metric in ("ll_joint", "gap_joint")]

    def context_curves(self, family: Family, entries: Sequence[Entry]) -> None:
        """Scores at exactly so many contexts, as rows and as a figure, with the ceilings beside."""
        test = family.tests[0]
        curves: dict[str, dict[str, list[Row]]] = {"ll_point": {}, "ll_joint": {}}
        for contexts in self.extent.contexts:
            sized = sized_test(test, contexts, self.extent.targets, self.extent.curve_tasks, self.study.seed)
            if sized is None:
                return
            scored: dict[str, TaskScores] = dict(self._ceilings(sized))
            scored |= {
                entry.system.name: self.study.scores(entry, sized, entry.system.draws) for entry in entries
            }
            for name, scores in scored.items():
                rows = score_rows(scores, name, test.task, "curve", f"contexts={contexts}", curves)
                self.rows += rows
                for row in rows:
                    curves[row.metric].setdefault(name, []).append(row)
        known = ceiling_names(test.process) if test.process else ()
        panels = {
            {"ll_point": "per point, nats", "ll_joint": "joint / number of targets, nats"}[metric]: [
                Curve(
                    name,
                    self.extent.contexts,
                    [row.value for row in rows],
                    [row.stderr or 0.0 for row in rows],
                    name in known,
                )
                for name, rows in by_name.items()
            ]
            for metric, by_name in curves.items()
        }
        draw_context_curves(self._figure("contexts", family.name), panels)

    def predictions(self, family: Family, entries: Sequence[Entry]) -> None:
        """A figure of one function: the exact process beside what the systems say of it."""
        config = family.tests[0].process
        if config is None:
            return
        sizes = self.extent.pictured
        config = replace(config, batch_size=1).sized(max(sizes), 20)
        batch: GaussianProcessBatch = GaussianProcessTasks(config, self.study.seed).batch(7)
        known = ceiling_names(config)[0] == KNOWN
        exact = ExactProcess(config, batch.hyperparameters if known else None)
        models: dict[str, tuple[Process, int]] = {
            "exact, period known" if known else "exact process": (exact, 64)
        }
        for entry in _most_telling(entries):
            entry.model.cpu()
            models[entry.system.name] = (entry.process, entry.system.draws)
        rows = [
            prediction_panels(models, context, truth, X_RANGE, seed=self.study.seed)
            for context, truth in nested_contexts(batch.everything, sizes)
        ]
        for entry in entries:
            entry.model.to(self.study.device)
        draw_predictions(self._figure("predictions", family.name), rows)

    def training(self, family: Family, entries: Sequence[Entry]) -> None:
        """How training went: parameters, steps and hours as rows, curves as a figure, and what collapsed."""
        for entry in entries:
            place = (entry.system.name, family.name, "training", "")
            count = sum(parameter.numel() for parameter in entry.model.parameters())
            self.rows.append(Row(*place, "parameters", count, None, 1))
            for name in ("steps", "hours"):
                if name in entry.metadata:
                    self.rows.append(Row(*place, name, entry.metadata[name], None, 1))
            if entry.metadata.get("collapse"):
                self.log(f"{entry.system.name} on {family.name}: {entry.metadata['collapse']}")
            for level, kl in enumerate(entry.history[-1].kl if entry.history else []):
                self.rows.append(Row(*place[:3], f"level={level}", "kl", kl, None, 1))
        histories = {entry.system.name: entry.history for entry in entries if entry.history}
        if histories:
            draw_training(self._figure("training", family.name), histories)

    def speed(self, family: Family, entries: Sequence[Entry]) -> None:
        """Seconds of a prediction of 50 targets from 50 contexts, a batch of 16, one draw."""
        for entry in entries:
            model = entry.system.model
            seconds = prediction_seconds(entry.process, model.x_dim, model.y_dim)
            condition = "contexts=50,targets=50,batch=16"
            row = Row(entry.system.name, family.name, "speed", condition, "seconds", seconds, None, 1)
            self.rows.append(row)

    def costs(self, config: ProcessConfig) -> None:
        """What a context costs to encode as it grows."""
        self.log(f"encoding contexts of up to {max(self.extent.encoded):,} points")
        costs = encoding_costs(config, self.extent.encoded, device=self.study.device)
        self.rows += cost_rows(costs, OURS)
        draw_costs(self._figure("encoding"), costs)

    def _score_rows(
        self,
        scores: TaskScores,
        ceiling: TaskScores,
        test: HeldOut,
        model: str,
        task: str,
        split: str,
        condition: str,
    ) -> list[Row]:
        """Scores, and how far they lie below a ceiling; with errors over batches that are independent."""
        place, size = (model, task, split, condition), test.batch_size
        if test.resplit:
            size = len(next(iter(scores.values())))  # one cluster, whose mean has no error
        rows = score_rows(scores, *place, batch_size=size)
        return rows + gap_rows(scores, ceiling, *place, batch_size=size)

    def _ceilings(self, test: HeldOut) -> dict[str, TaskScores]:
        names = ceiling_names(test.process) if test.process else ()
        first = self._first(test, self.extent.ceiling_tasks)
        return {name: self.study.ceiling(name, first) for name in names}

    def _first(self, test: HeldOut, tasks: int) -> HeldOut:
        batches = max(1, min(test.batches, tasks // test.batch_size))
        return replace(test, batches=batches)

    def _figure(self, *words: str) -> Path:
        path = self.folder / f"{'-'.join((self.stem, *dict.fromkeys(words)))}.png"
        self.figures.append(path)
        return path

    def _flag_outside(self, test: HeldOut) -> None:
        batches = (test.source.batch(step) for step in range(min(test.batches, 16)))
        share = share_outside(batches, X_RANGE)
        if share > 0:
            self.log(
                f"{test.task}: {100 * share:.1f} % of the targets lie outside of x from {X_RANGE[0]:g} to "
                f"{X_RANGE[1]:g}, where nothing was trained. They are answered all the same."
            )


def _tightest(ceilings: dict[str, TaskScores]) -> TaskScores:
    """The first ceiling, to which gaps are measured; nothing where there is none."""
    for scores in ceilings.values():
        return scores
    return {}


def _most_telling(entries: Sequence[Entry], most: int = 3) -> list[Entry]:
    """Few enough to be seen side by side: ours, then transformer and convolutional peers, then others."""
    order = (OURS, "tnp", "convgnp", "anp", "np", "cnp")
    ranks = {name: rank for rank, name in enumerate(order)}
    return sorted(entries, key=lambda entry: ranks.get(entry.system.name, len(order)))[:most]
