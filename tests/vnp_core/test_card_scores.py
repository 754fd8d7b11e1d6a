"""Scores on cards are those of just these weights, over held-out objects."""

from dataclasses import replace

from vnp_core.card_scores import scores_of
from vnp_core.results import Results, Row, Stopwatch

NEW, OLD = "a" * 64, "b" * 64


def made_with(digest: str, *rows: Row) -> Results:
    return Stopwatch("bench_3d", seed=0).results(rows, {"ours": digest})


def row(
    metric: str = "psnr", value: float = 20.0, stderr: float | None = 0.25, n: int = 9, **changes: str
) -> Row:
    return replace(Row("ours", "cars", "test", "views=1", metric, value, stderr, n), **changes)


def test_a_place_tells_all_of_its_scores():
    run = made_with(NEW, row(), row("iou", 0.91234, None), row(condition="views=3", value=22.0))
    assert scores_of("ours", NEW, [run]) == [
        {
            "task": "cars",
            "split": "test",
            "condition": "views=1",
            "objects": 9,
            "psnr": [20.0, 0.25],
            "iou": [0.912],
        },
        {"task": "cars", "split": "test", "condition": "views=3", "objects": 9, "psnr": [22.0, 0.25]},
    ]


def test_other_weights_models_splits_and_metrics_are_not_told():
    kept = made_with(NEW, row(model="rival"), row(split="val"), row(split="test: red"), row("seconds"))
    assert scores_of("ours", NEW, [made_with(OLD, row()), kept]) == []
    unknown = Stopwatch("bench_3d", seed=0).results([row()])
    assert scores_of("ours", NEW, [unknown]) == []


def test_more_objects_count_more():
    few, many = made_with(NEW, row(n=4), row("iou", 0.9, n=4)), made_with(NEW, row(value=19.0, n=40))
    for runs in ([few, many], [many, few]):
        first, second = scores_of("ours", NEW, runs)
        assert (first["objects"], first["psnr"]) == (40, [19.0, 0.25])
        assert (second["objects"], second["iou"], "psnr" in second) == (4, [0.9, 0.25], False)
