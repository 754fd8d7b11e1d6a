"""Scores of many tasks, computed block by block and kept on disk, so that a long evaluation can go on.

They are a pair of files, and a process can be killed between the two. So they are written to two places in
turn: one of them is always whole.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vnp_core.bench.progress import Log, progress
from vnp_core.checkpoints import checkpoint_paths, load_weights, save_weights
from vnp_core.errors import CheckpointError

SAVE_SECONDS = 30.0
"""How often blocks are written, at the least."""


def blockwise(
    compute: Callable[[int], Mapping[str, Tensor]],
    blocks: int,
    path: Path,
    described: Mapping[str, Any],
    *,
    resume: bool,
    label: str,
    log: Log | None = None,
) -> dict[str, Tensor]:
    """`compute(0)`, `compute(1)`, ..., each a dictionary of [tasks, ...], joined along the tasks.

    With `resume`, blocks that are in `path`, or beside it, already are not computed again, if they were made
    under the same description; whatever else is there is replaced.
    """
    places = [path, path.with_name(f"{path.name}-other")]
    if not resume:
        for file in (file for place in places for file in reversed(checkpoint_paths(place))):
            file.unlink(missing_ok=True)
    stored = [_read(place, described) for place in places]
    if stored[0][0] > stored[1][0]:  # what holds most is written over last
        places.reverse()
        stored.reverse()
    done, found = stored[1]
    pieces = {name: [tensor] for name, tensor in found.items()}
    saved = time.monotonic()
    with progress(label, blocks, log, done, "blocks") as report:
        for block in range(done, blocks):
            for name, tensor in compute(block).items():
                pieces.setdefault(name, []).append(tensor)
            report(block + 1)
            if block + 1 == blocks or time.monotonic() - saved >= SAVE_SECONDS:
                pieces = {name: [torch.cat(parts)] for name, parts in pieces.items()}
                joined = {name: parts[0] for name, parts in pieces.items()}
                save_weights(places[0], joined, described, {"blocks": block + 1})
                places.reverse()
                saved = time.monotonic()
    return {name: torch.cat(parts) for name, parts in pieces.items()}


def _read(path: Path, described: Mapping[str, Any]) -> tuple[int, dict[str, Tensor]]:
    """How many blocks are there, and what they hold; none where the file is missing, torn or another's."""
    if not checkpoint_paths(path)[1].is_file():
        return 0, {}
    try:
        stored = load_weights(path)
    except CheckpointError as error:  # killed between the two files, or damaged
        print(f"WARNING: {error} What is missing of these scores is computed again.", file=sys.stderr)
        return 0, {}
    return (stored.metadata["blocks"], stored.state_dict) if stored.config == dict(described) else (0, {})
