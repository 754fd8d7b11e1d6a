"""Scores that others have published, as rows beside measured ones. They were not measured here."""

import csv
import math
from pathlib import Path

from vnp_core.errors import DataError
from vnp_core.results import Row
from vnp_core.whole_files import read_bounded

SPLIT = "published"
"""The split of all such rows."""

PUBLISHED_1D = Path(__file__).resolve().parents[2] / "data" / "published_1d.csv"
"""The scores that `bench_1d` shows; its origin is told beside it."""

_COLUMNS = ("system", "task", "metric", "value", "floor", "kind")


def read_published(path: Path) -> list[Row]:
    """The table's rows; the condition says how the system was asked, and under which floor of sigma.

    Raises `DataError`, naming the line, for columns that are missing and values that are no numbers.
    """
    lines = csv.DictReader(read_bounded(path, 1).decode("utf-8").splitlines())
    if tuple(lines.fieldnames or ()) != _COLUMNS:
        raise DataError(f"{path} needs the columns {', '.join(_COLUMNS)}; it has {lines.fieldnames}.")
    rows: list[Row] = []
    for line in lines:
        try:
            value = float(line["value"])
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"{path}, line {lines.line_num}: the value {line['value']!r} is no number.")
        floor = f"floor={line['floor']}," if line["floor"] else ""
        condition = f"{floor}kind={(line['kind'] or '').replace(',', ';')}"
        rows.append(Row(line["system"], line["task"], SPLIT, condition, line["metric"], value, None, 0))
    return rows
