"""Rewrites the results at PATH as fast as it can, until it is killed; see test_kill.py."""

from pathlib import Path

from vnp_core.results import Row, Stopwatch, write_results

PATH: Path

results = Stopwatch("b", seed=0).results(
    [Row("m", "t", "s", "", "psnr", float(number), None, 1) for number in range(2000)]
)
while True:
    write_results(PATH, results)
