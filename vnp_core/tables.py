"""Markdown tables made from results, where they come from, and the markers in a page around both.

A page asks for a table with a comment that holds the whole request:

    <!-- table results=docs/results/furniture.json metric=psnr split=test down=model across=condition -->
    <!-- end table -->

and `fill_tables` puts the table between the two lines. `down` and `across` name fields of a row (several
joined by `+`), `digits` the decimals, `stderr=yes` adds the standard error, `best=max` or `best=min` prints
each column's best in bold; every other key keeps only the rows whose field has that value (several joined
by `|`). A word with spaces in it stands in quotes.

Which run the numbers are of is told between two lines as well:

    <!-- origin results=docs/results/furniture.json -->
    <!-- end origin -->
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from vnp_core.errors import ConfigError, DataError
from vnp_core.results import Row, read_results

ROW_FIELDS = tuple(field.name for field in fields(Row))
_TABLE = re.compile(r"(<!-- table (?P<request>.*?)-->\n)(?P<body>.*?)(<!-- end table -->)", re.DOTALL)

_ORIGIN = re.compile(r"(<!-- origin (?P<request>.*?)-->\n)(?P<body>.*?)(<!-- end origin -->)", re.DOTALL)


def markdown_table(
    rows: Sequence[Row],
    down: Sequence[str] = ("model",),
    across: Sequence[str] = ("condition",),
    *,
    digits: int = 2,
    stderr: bool = False,
    best: str | None = None,
) -> str:
    """A pipe table of the rows' values: lines by `down`, columns by `across`, both in order of appearance.

    A cell that no row fills shows a dash. Raises `DataError` where there are no rows, or two rows want one
    cell, and `ConfigError` where a name in `down` or `across` is no field of a row, or `best` is neither
    max nor min.
    """
    for name in (*down, *across):
        if name not in ROW_FIELDS:
            raise ConfigError(f"a table cannot be laid out by {name!r}: a row has {', '.join(ROW_FIELDS)}")
    if best not in (None, "max", "min"):
        raise ConfigError(f"best={best!r}: say max or min")
    if not rows:
        raise DataError("no row is left for this table: check the values it asks for")
    cells: dict[tuple[tuple[str, ...], str], Row] = {}
    for row in rows:
        place = (_key(row, down), ", ".join(part for part in _key(row, across) if part) or "all")
        if place in cells:
            raise DataError(
                f"two results want one cell of the table: {cells[place]} and {row}; ask for fewer"
            )
        cells[place] = row
    lines = list(dict.fromkeys(line for line, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    bests: dict[str, float] = {}
    if best is not None:
        choose = max if best == "max" else min
        bests = {
            column: choose(row.value for (_, at), row in cells.items() if at == column) for column in columns
        }

    def show(line: tuple[str, ...], column: str) -> str:
        row = cells.get((line, column))
        if row is None:
            return "-"
        text = f"{row.value:.{digits}f}"
        if column in bests and text == f"{bests[column]:.{digits}f}":
            text = f"**{text}**"
        return f"{text} ± {row.stderr:.{digits}f}" if stderr and row.stderr is not None else text

    table = [
        "| " + " | ".join((*down, *columns)) + " |",
        "|" + "---|" * len(down) + "---:|" * len(columns),
        *("| " + " | ".join((*line, *(show(line, column) for column in columns))) + " |" for line in lines),
    ]
    return "\n".join(table) + "\n"


def _key(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(getattr(row, name)) for name in names)


def requested_table(request: str, root: Path) -> str:
    """The table that a marker asks for. Raises `ConfigError` on words it does not understand, naming them."""
    words: dict[str, str] = {}
    try:
        parts = shlex.split(request)
    except ValueError as error:
        raise ConfigError(
            f"a table's marker cannot be split into words ({error}): {request.strip()}"
        ) from error
    for word in parts:
        name, _, value = word.partition("=")
        words[name] = value
    if "results" not in words:
        raise ConfigError(f"a table's marker must name its results=FILE; found only: {request.strip()!r}")
    rows = [row for name in words.pop("results").split("|") for row in read_results(root / name).rows]
    down = words.pop("down", "model").split("+")
    across = words.pop("across", "condition").split("+")
    digits, stderr, best = words.pop("digits", "2"), words.pop("stderr", "no"), words.pop("best", None)
    if not digits.isdigit() or stderr not in ("yes", "no"):
        raise ConfigError(f"digits={digits} stderr={stderr}: digits is a whole number, stderr is yes or no")
    for name, wanted in words.items():
        if name not in ROW_FIELDS:
            raise ConfigError(f"a table's marker has {name!r}: a row has {', '.join(ROW_FIELDS)}")
        rows = [row for row in rows if str(getattr(row, name)) in wanted.split("|")]
    return markdown_table(rows, down, across, digits=int(digits), stderr=stderr == "yes", best=best)


def requested_origin(request: str, root: Path) -> str:
    """The sentence that an origin's marker asks for. Raises `ConfigError` where it names no results."""
    name, _, value = request.strip().partition("=")
    if name != "results" or not value or " " in value:
        raise ConfigError(f"an origin's marker names its results=FILE and nothing else; found: {request!r}")
    run = read_results(root / value)
    changes = ", with uncommitted changes" if run.dirty else ""
    return (
        f"`{value}`: commit `{run.commit}`{changes}; `{run.command}`; {run.hardware}; "
        f"torch {run.torch}; {run.seconds:.0f} s in all.\n"
    )


def fill_tables(page: str, root: Path) -> str:
    """`page` with every marked table and origin made anew from the results under `root`; the rest stays as
    it is.
    """

    def filled(found: re.Match[str]) -> str:
        return f"{found[1]}\n{requested_table(found['request'], root)}\n{found[4]}"

    def told(found: re.Match[str]) -> str:
        return f"{found[1]}\n{requested_origin(found['request'], root)}\n{found[4]}"

    return _ORIGIN.sub(told, _TABLE.sub(filled, page))
