"""Scores of others, read from the table that ships and from bad ones."""

from pathlib import Path

import pytest

from vnp_core.bench.families import KERNELS
from vnp_core.bench.published import PUBLISHED_1D, SPLIT, read_published
from vnp_core.errors import DataError

HEADER = "system,task,metric,value,floor,kind\n"


def test_the_table_that_ships_is_of_our_tasks_and_never_mixes_its_two_scores() -> None:
    rows = read_published(PUBLISHED_1D)
    assert {row.split for row in rows} == {SPLIT}
    assert {row.task for row in rows} <= set(KERNELS)
    assert {row.metric for row in rows} == {"ll_point", "ll_joint"}
    places = [(row.model, row.task, row.metric) for row in rows]
    assert len(set(places)) == len(places)
    assert all(row.stderr is None and row.n == 0 for row in rows)


def test_no_score_under_a_floor_exceeds_what_the_floor_allows() -> None:
    for row in read_published(PUBLISHED_1D):
        if row.condition.startswith("floor=0.1,"):
            assert row.value < 1.384


def test_a_row_says_its_floor_and_how_the_system_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(HEADER + 'X,rbf,ll_point,1.5,0.1,"one pass, alone"\nY,rbf,ll_point,2,,slow\n')
    assert [row.condition for row in read_published(path)] == ["floor=0.1,kind=one pass; alone", "kind=slow"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("system,task\nX,rbf\n", "needs the columns"),
        (HEADER + "X,rbf,ll_point,much,,slow\n", "line 2: the value 'much'"),
        (HEADER + "X,rbf,ll_point,nan,,slow\n", "line 2: the value 'nan'"),
        (HEADER + "X,rbf,ll_point\n", "line 2: the value None"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_by_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_published(path)
