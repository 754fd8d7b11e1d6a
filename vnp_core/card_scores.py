"""Scores on weights' cards: those of results that were made with just these weights."""

from collections.abc import Iterable
from typing import Any

from vnp_core.results import Results, Row

METRICS = ("psnr", "psnr_fg", "ssim", "iou", "depth")
"""What a card tells, where it was scored: see `scripts/bench_3d.py`."""
SCORES = "scores"
"""The card's key."""
SPLITS = ("test", "test_author")
"""Objects that were held out of training."""


def scores_of(model: str, digest: str, results: Iterable[Results]) -> list[dict[str, Any]]:
    """Of the weights with this SHA-256: means and standard errors over held-out objects, a place a task,
    split, condition and number of objects.

    Where several results tell one score, that over the most objects counts.
    """
    best: dict[tuple[str, str, str, str], Row] = {}
    for run in results:
        if run.weights.get(model) != digest:
            continue
        for row in run.rows:
            place = (row.task, row.split, row.condition, row.metric)
            wanted = row.model == model and row.split in SPLITS and row.metric in METRICS
            if wanted and (place not in best or row.n > best[place].n):
                best[place] = row
    told: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    for row in sorted(best.values(), key=lambda row: (row.task, row.split, row.condition, -row.n)):
        place = (row.task, row.split, row.condition, row.n)
        entry = told.setdefault(
            place, dict(zip(("task", "split", "condition", "objects"), place, strict=True))
        )
        entry[row.metric] = [round(number, 3) for number in (row.value, row.stderr) if number is not None]
    return list(told.values())
