"""What every test may ask for: generators with a known seed, since randomness is always an argument here; a
disk that is soon full; and the tally of what was tried, from which docs/reliability.md is made.
"""

import importlib.util
import multiprocessing
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

# Nothing in the tests may open a window or call home.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("WANDB_MODE", "disabled")

import torch

from vnp_core.results import Results, Row, Stopwatch, write_results

TALLY = pytest.StashKey["Tally"]()


MARKS = {"fault": "tests", "equivalence": "equivalences"}
"""Marks of tests that are counted, and the kind of what they count."""


class Tally:
    """Counts what a run of the tests has tried, and what came of it."""

    def __init__(self) -> None:
        self.stopwatch = Stopwatch("reliability", seed=0)
        self.rows: list[Row] = []
        self._marked: dict[tuple[str, str], list[float | None]] = {}

    def ended(self, kind: str, what: str, seconds: float | None) -> None:
        """A test that is marked as one of a kind has passed, or was left out: its seconds are then None."""
        self._marked.setdefault((kind, what), []).append(seconds)

    def close(self) -> Results:
        """The report."""
        for (kind, what), times in self._marked.items():
            taken = [seconds for seconds in times if seconds is not None]
            self.add(kind, what, sum(taken), tests=len(taken), left_out=len(times) - len(taken))
        return self.stopwatch.results(self.rows)

    def add(self, kind: str, what: str, seconds: float, **counts: float) -> None:
        """One line of the report. kind: `inputs`, `faults`, or one of `MARKS`; `counts` are its columns."""
        numbers = {**counts, "seconds": round(seconds, 1)}
        self.rows += [
            Row("vnp-nerf", what, kind, "", metric.replace("_", " "), float(value), None, 1)
            for metric, value in numbers.items()
        ]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tally", type=Path, help="write what the tests tried, and what came of it, to this file of results"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Tally()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Counts the tests that one of `MARKS` tells of."""
    report = yield
    for name, kind in MARKS.items():
        mark = item.get_closest_marker(name)
        if mark is not None and (report.skipped or (report.when == "call" and report.passed)):
            item.config.stash[TALLY].ended(kind, mark.args[0], None if report.skipped else report.duration)
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Only a run without a failure is worth a report."""
    path = session.config.getoption("--tally")
    if path is not None and exitstatus == 0:
        command = shlex.join(["python", "-m", "pytest", *map(str, session.config.invocation_params.args)])
        write_results(path, replace(session.config.stash[TALLY].close(), command=command))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Of this run."""
    return request.config.stash[TALLY]


@pytest.fixture
def timer() -> Callable[[], float]:
    """Tells the seconds since the test asked for it."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


@pytest.fixture(scope="session")
def forkserver() -> Any:
    """Starts processes that have imported everything already. Python keeps one such server for all tests."""
    context = multiprocessing.get_context("forkserver")
    modules = ["nerfstudio.scripts.train", "vnp_nerf.face.config", "vnp_nerf.infer", "vnp_nerf.making.writer"]
    context.set_forkserver_preload([*modules, "vnp_core.bench.study"])
    first = context.Process(target=time.sleep, args=(0,))
    first.start()
    first.join()
    return context


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Callable[[int], Path], None, None]:
    """Makes a disk of so many KiB in memory, and gives the folder it is found at; root alone can."""
    mounted: list[Path] = []

    def mount(kibibytes: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"a small disk cannot be made here: {error}")
        if done.returncode:
            pytest.skip(f"a small disk cannot be made here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def generator() -> torch.Generator:
    """A torch generator on the CPU, seeded alike for every test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator, seeded alike for every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Imports a program of scripts/ by its name."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).resolve().parents[1] / "scripts" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their own module up
        spec.loader.exec_module(module)
        return module

    return load
