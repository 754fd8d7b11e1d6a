"""Whatever a file holds, reading it gives a valid result or one error of ours, in bounded memory and time.

The default run tries about a thousand inputs, the nightly one 100,000; both are the same at every run. Where
atheris is installed, the nightly run looks for more by the code that an input reaches.
"""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from vnp_core.errors import VNPError

DEFAULT_INPUTS, NIGHTLY_INPUTS = 1_100, 104_000
MEMORY_GROWTH = 2**30
"""Bytes that the process may grow by over all inputs of a target."""
SECONDS = 20.0
"""Any single input must be done with by then, on a busy machine."""
GUIDED_SECONDS = 15
SLOW = {"run": 0.2, "weights": 0.6, "checkpoint": 0.6}
"""Share of a target's inputs where each takes long."""
HERE = Path(__file__).resolve().parent


sys.path.insert(0, str(HERE))  # these tests are no package
MAKERS = importlib.import_module("fuzz_targets").MAKERS


def share(name: str, inputs: int) -> int:
    """How many of so many inputs are a target's."""
    weights = {target: SLOW.get(target, 1.0) for target in MAKERS}
    return round(inputs * weights[name] / sum(weights.values()))


def peak_kibibytes() -> int:
    """The most memory that this process has held since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status[status.index("VmHWM:") :].split()[1])


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def try_inputs(target: Any, count: int) -> dict[str, float]:
    """What came of so many inputs; raises for an outcome that is neither a result nor an error of ours."""
    counts: dict[str, float] = {"inputs": 0, "read": 0, "refused": 0, "slowest ms": 0}

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=SECONDS * 1000,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def outcome_is_a_result_or_an_error_of_ours(given_input: Any) -> None:
        began = time.perf_counter()
        counts["inputs"] += 1
        try:
            target.read(given_input)
            counts["read"] += 1
        except VNPError:
            counts["refused"] += 1
        counts["slowest ms"] = max(counts["slowest ms"], round(1000 * (time.perf_counter() - began)))

    forget_peak()
    before = peak_kibibytes()
    outcome_is_a_result_or_an_error_of_ours()
    counts["MiB"] = round((peak_kibibytes() - before) / 1024)
    assert counts["MiB"] * 2**20 < MEMORY_GROWTH
    assert counts["inputs"] >= count
    assert counts["read"] + counts["refused"] == counts["inputs"]
    return counts


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAKERS)
def test_every_mutated_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    counts = try_inputs(MAKERS[name](tmp_path), share(name, DEFAULT_INPUTS))
    assert counts["refused"] > 0


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAKERS)
def test_a_hundred_thousand_mutated_files_are_read_or_refused(
    name: str, tmp_path: Path, tally, timer: Callable[[], float]
) -> None:
    counts = try_inputs(MAKERS[name](tmp_path), share(name, NIGHTLY_INPUTS))
    tally.add("inputs", name, timer(), **counts)
    assert min(counts["read"], counts["refused"]) > 0


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MAKERS)
def test_inputs_that_are_led_by_coverage_are_read_or_refused(
    name: str, tmp_path: Path, tally, timer: Callable[[], float]
) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install -c constraints.txt -e .[fuzz]")
    command = [sys.executable, str(HERE / "guided.py"), name, str(tmp_path), str(GUIDED_SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    inputs, read = map(int, (tmp_path / "counts").read_text().split())
    assert inputs > 50
    counts = {"inputs": inputs, "read": read, "refused": inputs - read}
    tally.add("inputs", f"{name}, led by coverage", timer(), **counts)
