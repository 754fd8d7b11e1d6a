"""CSV files: what is read, and what is refused with its line and column."""

from pathlib import Path

import pytest
import torch

from vnp_core.errors import DataError
from vnp_core.tasks.csv_tasks import read_csv_functions, read_csv_tasks

GOOD = "t,a,b,who\n0,1,10,ann\n1,2,20,ann\n\n5,3,30,bob\n2,4,40,ann\n6,5,50,bob\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [GOOD, GOOD.replace(",", ";"), GOOD.replace(",", "\t"), "\ufeff" + GOOD, GOOD.replace("\n", "\r\n")],
)
def test_rows_become_functions_by_task_whatever_the_separator(tmp_path, text):
    found = read_csv_functions(written(tmp_path, text), x=["t"], y=["a", "b"], task="who")
    assert found.labels == ("ann", "bob")
    assert found.points.mask.tolist() == [[True, True, True], [True, True, False]]
    assert found.points.x[0, :, 0].tolist() == [0, 1, 2]
    assert found.points.y[1, :2].tolist() == [[3, 30], [5, 50]]
    assert found.points.x.dtype == torch.float64


def test_tasks_are_scaled_and_lead_back_to_the_tables_numbers(tmp_path):
    tasks = read_csv_tasks(written(tmp_path, GOOD), x=["t"], y=["a", "b"], task="who", contexts=(1, 2))
    assert tasks.name == "table"
    assert (tasks.x_dim, tasks.y_dim) == (1, 2)
    points = tasks.functions
    assert points.x[points.mask].min() == -2
    assert points.x[points.mask].max() == 2
    back = tasks.scaling.y_back(points.y)
    torch.testing.assert_close(back[0], torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]))
    batch = tasks.batch(0)
    assert batch.context.mask.sum(-1).min() >= 1
    assert batch.targets.mask.sum(-1).min() >= 1


def test_without_a_task_column_all_rows_are_one_function(tmp_path):
    found = read_csv_functions(written(tmp_path, GOOD), x=["t"], y=["a"], task=None)
    assert found.points.x.shape == (1, 5, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("t,a,who\n", "no rows below"),
        ("t,b,who\n0,1,ann\n", "no column 'a'"),
        ("time,a,who\n0,1,ann\n", "no column 't'. Known are: time, a, who"),
        ("t,a,a,who\n0,1,1,ann\n", "2 columns called 'a'"),
        ("t,a,who\n0,1,ann\n1,high,bob\n", "line 3: 'high' in column 'a' is no number"),
        ("t,a,who\n0,1,ann\n\n1,,bob\n", "line 4: '' in column 'a' is no number"),
        ("t,a,who\n0,nan,ann\n", "line 2: 'nan' in column 'a' is not finite"),
        ("t,a,who\n-inf,1,ann\n", "line 2: '-inf' in column 't' is not finite"),
        ("t,a,who\n0,1,ann\n1,2\n", "line 3: 2 values for 3 columns"),
        ("t,a,who\n0,1,ann\n1,2,bob,4\n", "line 3: 4 values for 3 columns"),
        ("t,a,who\n0,1,ann\n1,2, \n", "line 3: column 'who' is empty"),
        ("t,a,who\n0,1,ann\n1,2,ann\n", "all rows are of one task, 'ann'"),
        ("t,a,who\n0,1,ann\n1,2,ann\n1,2,bob\n", "Task 'bob' of table has 1 point"),
        ('t,a,who\n0,1,"ann\n', "cannot be read as CSV"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_csv_tasks(written(tmp_path, text), x=["t"], y=["a"], task="who")


def test_columns_have_one_role_and_files_are_there_and_text(tmp_path):
    path = written(tmp_path, GOOD)
    with pytest.raises(DataError, match="'a' was asked for 2 times"):
        read_csv_tasks(path, x=["a"], y=["a"], task="who")
    with pytest.raises(DataError, match="at least one column"):
        read_csv_tasks(path, x=[], y=["a"], task="who")
    with pytest.raises(DataError, match="There is no file"):
        read_csv_tasks(tmp_path / "none.csv", x=["t"], y=["a"], task="who")
    with pytest.raises(DataError, match="cannot be read"):
        read_csv_tasks(tmp_path, x=["t"], y=["a"], task="who")
    path.write_bytes(b"t,a,who\n0,1,\xff\n")
    with pytest.raises(DataError, match="cannot be read as CSV in UTF-8"):
        read_csv_tasks(path, x=["t"], y=["a"], task="who")
