"""A user's own table as tasks: columns of coordinates, of values, and one that says whose row it is."""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from vnp_core.config import nearest
from vnp_core.errors import DataError
from vnp_core.observations import PointSet
from vnp_core.tasks.measured import MeasuredTasks
from vnp_core.tasks.scaling import Scaling
from vnp_core.tasks.task import join_points


class CsvFunctions(NamedTuple):
    """The functions of a table in its own units, in the order in which their first rows stand."""

    points: PointSet
    labels: tuple[str, ...]


def read_csv_tasks(
    path: Path,
    x: Sequence[str],
    y: Sequence[str],
    task: str,
    *,
    x_range: tuple[float, float] = (-2.0, 2.0),
    seed: int = 0,
    batch_size: int = 16,
    contexts: tuple[int, int] = (3, 46),
) -> MeasuredTasks:
    """Tasks of a CSV file: rows with the same text in column `task` are points of one function.

    x is brought to `x_range` and y to mean 0 and standard deviation 1 over the file; `scaling` leads back.
    Raises `DataError`, naming the column or the line, for a missing column, text, NaN or infinity where a
    number should be, a row that is too short or too long, a task of one row, and a file of one task.
    """
    functions = read_csv_functions(path, x, y, task)
    if len(functions.labels) == 1:
        raise DataError(
            f"{path}: all rows are of one task, {functions.labels[0]!r} in column {task!r}. Learning across"
            " tasks needs two or more."
        )
    scaling = Scaling.of(functions.points, x_range)
    points = scaling.apply(functions.points)
    return MeasuredTasks(path.stem, points, functions.labels, scaling, seed, batch_size, contexts)


def read_csv_functions(path: Path, x: Sequence[str], y: Sequence[str], task: str | None) -> CsvFunctions:
    """The functions of a CSV file, unscaled, in float64; without a task column all rows are one function.

    The separator is a comma, a semicolon or a tab, whichever the first line has most of. Blank lines are
    skipped. Raises `DataError` as `read_csv_tasks` does, except for a single task.
    """
    if not x or not y:
        raise DataError(f"{path}: name at least one column of x and one of y; given were {x} and {y}.")
    rows = _read_rows(path)
    if not rows:
        raise DataError(f"{path} is empty. Its first line names the columns.")
    header = [name.strip() for name in rows[0][1]]
    wanted = [*x, *y] if task is None else [*x, *y, task]
    _check_columns(path, header, wanted)
    at = {name: header.index(name) for name in wanted}

    functions: dict[str, list[tuple[list[float], list[float]]]] = {}
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(cells)} values for {len(header)} columns. Fill or drop the row."
            )
        label = "all" if task is None else cells[at[task]].strip()
        if not label:
            raise DataError(f"{path}, line {line}: column {task!r} is empty. Say which task the row is of.")
        here = f"{path}, line {line}"
        point = tuple([_number(cells[at[name]], name, here) for name in names] for names in (x, y))
        functions.setdefault(label, []).append((point[0], point[1]))
    if not functions:
        raise DataError(f"{path} has a line of column names and no rows below it.")
    sets = [
        PointSet.present(
            torch.tensor([[point[0] for point in points]], dtype=torch.float64),
            torch.tensor([[point[1] for point in points]], dtype=torch.float64),
        )
        for points in functions.values()
    ]
    return CsvFunctions(join_points(sets), tuple(functions))


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line, cells) of every line that is not blank; lines count from 1."""
    try:
        # A byte order mark, which spreadsheets write, would become part of the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
            return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def _check_columns(path: Path, header: list[str], wanted: list[str]) -> None:
    for name, count in Counter(wanted).items():
        if count > 1:
            raise DataError(f"{path}: column {name!r} was asked for {count} times. Give each one role.")
    for name in wanted:
        if name not in header:
            raise DataError(f"{path} has no column {name!r}. {nearest(name, header)}")
        if header.count(name) > 1:
            raise DataError(f"{path} has {header.count(name)} columns called {name!r}. Rename them apart.")


def _number(text: str, column: str, here: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{here}: {text.strip()!r} in column {column!r} is no number.") from error
    if not math.isfinite(value):
        raise DataError(f"{here}: {text.strip()!r} in column {column!r} is not finite. Drop the row.")
    return value
