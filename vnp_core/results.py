"""The one format of every benchmark's results: a JSON file that says what was run, where, and what came out.

A file holds one `Results`: the benchmark, the commit and whether the tree had changes on top of it, the
command, the hardware, torch's version, the seed, the seconds it took, the most memory it held, and flat
rows of scores. It is written in one move, so a reader never meets half a file, and checked when it is read.
"""

import json
import math
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch

from vnp_core.errors import DataError
from vnp_core.whole_files import read_bounded, write_whole

_MAX_MEBIBYTES = 64


@dataclass(frozen=True)
class Row:
    """One score. Text fields may be empty; `stderr` is None where a score has no spread (a time, a count).

    `condition` is `key=value` (`views=3`, `contexts=200`), several joined by commas, or empty.
    """

    model: str
    task: str
    split: str
    condition: str
    metric: str
    value: float
    stderr: float | None
    n: int


@dataclass(frozen=True)
class Results:
    """What one run of a benchmark measured. `peak_bytes` is the GPU's if one was used, else that of its
    largest process.

    weights: the SHA-256 of the file behind each model's name, of models that were read from one.
    """

    bench: str
    commit: str
    dirty: bool
    command: str
    hardware: str
    torch: str
    seed: int
    seconds: float
    peak_bytes: int
    rows: tuple[Row, ...]
    weights: Mapping[str, str] = field(default_factory=dict[str, str])


class Stopwatch:
    """Starts at construction; `results` closes the account of a run."""

    def __init__(self, bench: str, seed: int, device: torch.device | str = "cpu") -> None:
        self.bench = bench
        self.seed = seed
        self.device = torch.device(device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.start = time.perf_counter()

    def results(self, rows: Sequence[Row], weights: Mapping[str, str] | None = None) -> Results:
        """The rows, with everything that says how they came about. Time and memory count up to now."""
        commit, dirty = git_state(Path(__file__).resolve().parent)
        return Results(
            bench=self.bench,
            commit=commit,
            dirty=dirty,
            command=command_line(),
            hardware=hardware_name(self.device),
            torch=str(torch.__version__),
            seed=self.seed,
            seconds=round(time.perf_counter() - self.start, 2),
            peak_bytes=peak_bytes(self.device),
            rows=tuple(rows),
            weights=dict(weights or {}),
        )


def mean_row(
    model: str,
    task: str,
    split: str,
    condition: str,
    metric: str,
    values: Sequence[float],
    *,
    cluster: int = 1,
    digits: int = 6,
) -> Row:
    """The mean of `values` with its standard error.

    With `cluster` 1 the values are independent: std / sqrt(n) with n - 1 degrees of freedom. Otherwise each
    `cluster` values in a row have something in common (tasks of a batch share their numbers of contexts and
    targets), and only clusters are independent of each other: the cluster-robust error of a mean, from the
    sums of deviations C of each of them, sqrt(k / (k - 1) sum C^2) / n with k clusters. None where there is
    but one.

    Values that are NaN (a score that an object does not have, such as a foreground it lacks) are left out
    of all three numbers. Raises `DataError` where nothing is left.
    """
    kept = [(index // cluster, value) for index, value in enumerate(values) if not math.isnan(value)]
    if not kept:
        raise DataError(
            f"no value of {metric} for {model} on {task}/{split} {condition}: nothing to take a mean of"
        )
    mean = math.fsum(value for _, value in kept) / len(kept)
    deviations: dict[int, float] = {}
    for number, value in kept:
        deviations[number] = deviations.get(number, 0.0) + value - mean
    stderr, clusters = None, len(deviations)
    if clusters > 1:
        squares = math.fsum(deviation**2 for deviation in deviations.values())
        stderr = round(math.sqrt(clusters / (clusters - 1) * squares) / len(kept), digits)
    return Row(model, task, split, condition, metric, round(mean, digits), stderr, len(kept))


def write_results(path: Path, results: Results) -> None:
    """Writes `results` to `path`, one row a line, replacing in one move whatever was there.

    Raises `DataError`, before anything is written, where a value is not finite: a table cannot show it.
    """
    for row in results.rows:
        if not math.isfinite(row.value) or (row.stderr is not None and not math.isfinite(row.stderr)):
            raise DataError(
                f"results of {results.bench}: {row} is not finite; clamp the score where it is computed"
            )
    head = {part.name: getattr(results, part.name) for part in fields(results) if part.name != "rows"}
    if not results.weights:
        del head["weights"]
    rows = ",\n".join("  " + json.dumps(asdict(row), ensure_ascii=False) for row in results.rows)
    text = json.dumps(head, indent=1, ensure_ascii=False)[:-2] + f',\n "rows": [\n{rows}\n ]\n}}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())


def read_results(path: Path) -> Results:
    """Reads what `write_results` wrote. Raises `DataError` naming the file and the key that is wrong."""
    try:
        raw = json.loads(read_bounded(path, _MAX_MEBIBYTES))
    except FileNotFoundError as error:
        raise DataError(f"no results at {path}: run its benchmark with --output {path}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    head = _checked(raw, Results, str(path))
    rows = [Row(**_checked(row, Row, f"{path}, row {index}")) for index, row in enumerate(head["rows"])]
    arguments: dict[str, Any] = {**head, "rows": tuple(rows)}
    return Results(**arguments)


_KINDS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    float | None: (int, float, type(None)),
    tuple[Row, ...]: (list,),
    Mapping[str, str]: (dict,),
}


def _checked(raw: object, cls: type[Row] | type[Results], where: str) -> dict[str, Any]:
    """`raw` as keyword arguments of `cls`: its keys all there, none besides, each of the right kind."""
    if not isinstance(raw, Mapping):
        raise DataError(f"{where}: expected an object with keys, found {type(raw).__name__}")
    given = cast("Mapping[str, Any]", raw)
    expected = {part.name: part.type for part in fields(cls)}
    needed = {part.name for part in fields(cls) if part.default_factory is MISSING}
    if missing := needed - given.keys():
        raise DataError(f"{where}: key {min(missing)!r} is missing")
    if unknown := given.keys() - expected.keys():
        raise DataError(f"{where}: key {min(unknown)!r} is none of this format ({', '.join(expected)})")
    for key, value in given.items():
        kind = expected[key]
        # A bool is an int to Python, and neither a count nor a score to us.
        if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind is not bool):
            raise DataError(f"{where}: key {key!r} holds {value!r}, which is not of kind {kind}")
        if isinstance(value, dict) and not all(
            isinstance(part, str) for part in cast("dict[str, object]", value).values()
        ):
            raise DataError(f"{where}: key {key!r} holds something else than text")
        # A whole number beyond a float's range is infinite to every table and figure.
        if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
            raise DataError(f"{where}: key {key!r} holds {value!r}; only finite numbers are results")
    return dict(given)


def git_state(folder: Path) -> tuple[str, bool]:
    """The commit of `folder`, and whether tracked files differ from it; `('unknown', True)` outside git."""

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def command_line(arguments: Sequence[str] | None = None) -> str:
    """The program's call as typed in the folder it was started from; paths inside it are relative.

    Of an absolute path elsewhere only the last name stays: the rest tells of one machine, and helps nobody.
    """
    here = f"{Path.cwd()}{os.sep}"
    words = [word.replace(here, "") for word in (sys.argv if arguments is None else arguments)]
    words = [re.sub(r"(^|[:=])/.*/", r"\1", word) for word in words]
    if words and words[0].endswith(".py"):
        words.insert(0, "python")
    return shlex.join(words)


def hardware_name(device: torch.device) -> str:
    """The processor and the cores this process may use, and the GPU where `device` is one."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        name = models[0] if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return f"{gpu}{name}, {cores} core{'s' if cores > 1 else ''}"


def peak_bytes(device: torch.device) -> int:
    """The most memory held so far: torch's allocations on a GPU; on a CPU the resident set of the process, or
    of the largest one that it started and waited for.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(kind).ru_maxrss for kind in kinds)
    return peak if sys.platform == "darwin" else peak * 1024
