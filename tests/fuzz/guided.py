"""Lets atheris choose the inputs of one target by the code that they reach.

    python tests/fuzz/guided.py TARGET FOLDER SECONDS

It ends with an error at the first outcome that is neither a result nor an error of ours, and else leaves in
FOLDER/counts how many inputs were tried, and how many of them were read. hypothesis makes the inputs of
atheris' bytes, so that both explore the same mutations.
"""

import contextlib
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import atheris
from hypothesis import HealthCheck, given, settings

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "shared")]
with atheris.instrument_imports(include=["vnp_core", "vnp_nerf"]):
    import fuzz_targets

    from vnp_core.errors import VNPError

warnings.simplefilter("ignore")
name, folder, seconds = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
target = fuzz_targets.MAKERS[name](folder)
counts = {"inputs": 0, "read": 0}


@settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(target.inputs)
def outcome_is_a_result_or_an_error_of_ours(given_input: Any) -> None:
    counts["inputs"] += 1
    with contextlib.suppress(VNPError):
        target.read(given_input)
        counts["read"] += 1
    if counts["inputs"] % 10 == 0:  # atheris ends the process without a last word
        (folder / "counts").write_text(f"{counts['inputs']} {counts['read']}")


# Bytes to begin with: fewer than these would not make an input.
corpus, noise = folder / "corpus", random.Random(0)
corpus.mkdir()
for number in range(64):
    (corpus / str(number)).write_bytes(noise.randbytes(64 << number % 7))


limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=4096", "-seed=1"]
atheris.Setup(
    [sys.argv[0], str(corpus), *limits],
    outcome_is_a_result_or_an_error_of_ours.hypothesis.fuzz_one_input,
)
atheris.Fuzz()
