import pytest

from vnp_core.errors import DataError
from vnp_nerf.making.workers import MOST_DEATHS, run_jobs

FAILS, CRASHES, HANGS = (
    "raise ValueError('broken on purpose')",
    "import os; os._exit(3)",
    "import time; time.sleep(99)",
)


def errors(jobs, processes, time_limit=60.0):
    """What became of each job; `exec` is a function that a spawned process can import anywhere."""
    return {outcome.index: outcome.error for outcome in run_jobs(exec, jobs, processes, time_limit)}


@pytest.mark.parametrize("processes", [1, 2])
def test_failed_jobs_are_named_and_the_others_go_on(processes):
    outcome = errors(["x = 1", FAILS, "x = 2", "x = 3"], processes)
    assert [outcome[index] for index in (0, 2, 3)] == [None] * 3
    assert "broken on purpose" in outcome[1]


def test_crashed_and_hanging_jobs_are_named_and_the_others_go_on():
    outcome = errors(["x = 1", CRASHES, HANGS, "x = 2", "x = 3"], 2, time_limit=2.0)
    assert [outcome[index] for index in (0, 3, 4)] == [None] * 3
    assert "exit code 3" in outcome[1]
    assert "longer than 2 s" in outcome[2]


def test_endless_crashes_are_an_error():
    with pytest.raises(DataError, match=f"{MOST_DEATHS} processes died"):
        errors([CRASHES] * 20, 2)


def test_no_jobs_give_no_outcomes():
    assert errors([], 2) == {}
