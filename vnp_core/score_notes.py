"""Scores noted as they come, so that a benchmark that is interrupted goes on where it was."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from vnp_core.errors import StorageError, no_room
from vnp_core.whole_files import read_bounded

_MAX_MEBIBYTES = 256

Scores = dict[str, float]


class ScoreNotes:
    """A file of scores beside a benchmark's results, one line each, until these are whole.

    identity: all that a score depends on but for its key: the command, the code, the weights. Notes of
    another one are begun anew; without any (None) nothing is noted. spent: seconds that noted scores took.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any] | None) -> None:
        self.path = path
        self.known: dict[str, Scores] = {}
        self.spent = 0.0
        self._noting = identity is not None
        head = json.dumps(identity, sort_keys=True)
        if self._noting and not self._read(head):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{head}\n", encoding="utf-8")
        self._start = time.perf_counter() - self.spent

    def __call__(self, key: tuple[str | int, ...], compute: Callable[[], Scores]) -> Scores:
        """What is noted under the key, or else what is computed, which is then noted.

        Raises `StorageError` on a full disk.
        """
        name = json.dumps(key)
        if key not in self:
            self.known[name] = compute()
            self._note(name)
        return self.known[name]

    def __contains__(self, key: tuple[str | int, ...]) -> bool:
        return json.dumps(key) in self.known

    def _note(self, name: str) -> None:
        if not self._noting:
            return
        line = json.dumps([name, self.known[name], time.perf_counter() - self._start])
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            if not no_room(error):
                raise
            raise StorageError(
                f"{self.path} cannot be written ({error.strerror}): make room on the disk, and give the same "
                "command again; it goes on where it was"
            ) from error

    @property
    def farewell(self) -> str:
        """What to tell whoever stopped the benchmark."""
        if not self._noting:
            return "stopped; nothing is kept, for no commit holds this code as it is"
        kept = f"{len(self.known)} scores are kept in {self.path}"
        return f"stopped; {kept}, and the same command goes on with them"

    def finish(self) -> None:
        """Once the results are written: nothing is left to go on with."""
        self.path.unlink(missing_ok=True)

    def _read(self, head: str) -> bool:
        """Takes what is there; False where it is of something else, or nothing. A last line may be torn."""
        try:
            lines = read_bounded(self.path, _MAX_MEBIBYTES).decode("utf-8").split("\n")
        except (OSError, ValueError):
            return False
        if lines[0] != head:
            return False
        whole = [line for line in lines[1:-1] if line]
        try:
            for line in whole:
                name, scores, spent = cast("tuple[str, Scores, float]", json.loads(line))
                self.known[name], self.spent = scores, spent
        except (ValueError, TypeError):
            self.known, self.spent = {}, 0.0
            return False
        if lines[-1]:
            self.path.write_text("".join(f"{line}\n" for line in (head, *whole)), encoding="utf-8")
        return True
