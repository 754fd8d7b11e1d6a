"""Weights scored on several objects at once: by processes, each with its share of the threads.

The matrix products of a small picture are too small for two threads to halve their time; two processes do.
"""

import multiprocessing
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch

from vnp_core.errors import DataError
from vnp_core.score_notes import ScoreNotes
from vnp_nerf.console import Voice
from vnp_nerf.corpora import Corpus
from vnp_nerf.evaluation import Case, ModelPredictor, score_case
from vnp_nerf.library import weights_path
from vnp_nerf.pairs import READ_AS_IT_IS, ScenePairs, paired_scenes
from vnp_nerf.perceptual import Perceptual, find_perceptual
from vnp_nerf.readers import ReadOptions
from vnp_nerf.scene import Scene


class Task(NamedTuple):
    """One score: of `weights` on the object at `place` of a contest's split, from `count` context views."""

    weights: str
    place: int
    count: int


@dataclass(frozen=True)
class Contest:
    """Weights, by names or files, and the objects that they are scored on: a split of a corpus."""

    weights: tuple[str, ...]
    corpus: Corpus
    split: str
    read: ReadOptions = READ_AS_IT_IS
    device: str = "cpu"

    @cached_property
    def scenes(self) -> list[tuple[Scene, ScenePairs]]:
        """The objects, opened. Raises what `paired_scenes` raises."""
        return paired_scenes(self.corpus.collection, self.corpus.pairs, self.split, self.read)

    @cached_property
    def models(self) -> dict[str, ModelPredictor]:
        """Each of the weights, loaded."""
        return {name: ModelPredictor.load(name, self.device) for name in self.weights}

    @cached_property
    def perceptual(self) -> Perceptual | None:
        """See `find_perceptual`."""
        return find_perceptual()

    def tasks(self, counts: Sequence[int], limit: int | None = None) -> list[Task]:
        """All that there is to score, object by object, of the first `limit` objects."""
        places = range(len(self.scenes[:limit]))
        return [Task(name, place, count) for place in places for name in self.weights for count in counts]

    def names(self, task: Task) -> tuple[str, str]:
        """What a task's weights and its object are called in results."""
        return weights_path(task.weights).stem, self.scenes[task.place][0].name

    def score(self, task: Task) -> dict[str, float]:
        """See `score_case`."""
        case = Case.from_scene(*self.scenes[task.place])
        return score_case(self.models[task.weights], case, task.count, self.perceptual)


_contests: list[Contest] = []
"""Of a process that scores: one, opened once for all of its tasks."""


def note_side_by_side(
    contest: Contest, limit: int | None, processes: int, notes: ScoreNotes, voice: Voice
) -> None:
    """Notes the scores of a contest's first objects, as far as they are not noted yet, at all of the corpus'
    numbers of views: under the corpus' place, the names of weights and object, and the number of views.

    Raises what `scores_side_by_side` raises.
    """
    corpus = contest.corpus
    asked = contest.tasks(corpus.views, limit)
    keys = {task: (*corpus.place("", contest.split), *contest.names(task), task.count) for task in asked}
    left = [task for task in asked if keys[task] not in notes]
    label = f"{corpus.pairs.corpus}, {contest.split}, {processes} processes"
    with (
        voice.progress(label, "scores", len(asked)) as report,
        closing(scores_side_by_side(contest, left, processes)) as ended,
    ):
        for done, (task, scores) in enumerate(ended, start=1 + len(asked) - len(left)):
            notes(keys[task], lambda scores=scores: scores)
            report(done)


def scores_side_by_side(
    contest: Contest, tasks: Sequence[Task], processes: int
) -> Generator[tuple[Task, dict[str, float]], None, None]:
    """`score_case` of each task, in the order in which they end; none for no tasks.

    Raises what loading weights and scoring raise, and `DataError` where a process dies.
    """
    if not tasks:
        return
    threads = max(1, torch.get_num_threads() // processes)
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(processes, len(tasks)), context, initializer=_enter, initargs=(replace(contest), threads)
    ) as pool:
        try:
            running = {pool.submit(_score, task): task for task in tasks}
            for ended in as_completed(running):
                yield running[ended], ended.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise DataError(
                    f"one of {processes} scoring processes died, most likely for want of memory, for each "
                    "holds the weights and a picture's samples: give fewer --workers"
                ) from error
            raise


def _enter(contest: Contest, threads: int) -> None:
    # Ctrl-C reaches every process of a terminal: the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    _contests[:] = [contest]


def _score(task: Task) -> dict[str, float]:
    return _contests[0].score(task)
