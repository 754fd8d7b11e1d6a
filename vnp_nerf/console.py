"""How our commands speak: words and progress for people, one JSON object for programs, or errors alone.

    with speaking("vnp-infer", options.speech) as voice:
        with voice.progress("reading the field", "points") as report:
            ...
        voice.made(run=folder)                   # what --json prints
        voice.say(f"The run is in {folder}.")    # what people read

Errors are no matter of this module: `vnp_core.errors.exit_on_error`, around it, prints them in every mode.
"""

import importlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from vnp_core.bench.progress import Report, progress
from vnp_core.errors import InterruptedRunError


@dataclass(frozen=True)
class Speech:
    """What is printed."""

    quiet: bool = False
    """Print errors alone."""
    json: bool = False
    """Print one JSON object of what was made in place of words; progress shows on stderr."""


SpeechFlags = Annotated[Speech, tyro.conf.arg(name="")]
"""The field of a command's options: its flags are --quiet and --json, without a prefix."""


class Voice:
    """What one run of a command says. `speaking` gives one whose facts are told at the end."""

    def __init__(self, speech: Speech | None = None) -> None:
        self._speech = speech = speech or Speech()
        silent = speech.quiet or speech.json
        self._console = Console(highlight=False, soft_wrap=True, markup=False, quiet=silent)
        self.facts: dict[str, Any] = {}

    def say(self, line: str, style: str | None = None) -> None:
        """One line, for people."""
        self._console.print(line, style=style)

    def made(self, **facts: Any) -> None:
        """What --json tells. Paths become text, tuples and sets lists."""
        self.facts |= facts

    def progress(self, label: str, unit: str, total: int = 0) -> AbstractContextManager[Report]:
        """The function to tell how much is done: a bar with rate and time left, or a line a minute.

        unit: what is counted, a plural. total: 0 until it is known.
        """
        return progress(label, total, None if self._speech.quiet else _line, unit=unit)

    @contextmanager
    def waiting(self, label: str) -> Generator[None, None, None]:
        """For work whose size nobody knows: a sign of life in a terminal."""
        console = Console(stderr=True, quiet=self._speech.quiet)
        with console.status(label) if console.is_terminal else ExitStack():
            yield


@contextmanager
def speaking(command: str, speech: Speech) -> Generator[Voice, None, None]:
    """Everything that a command does. Under --json the object is printed at the end, unless it failed.

    What other packages print goes to stderr under --json, and nowhere under --quiet.
    """
    began, voice = time.monotonic(), Voice(speech)
    with ExitStack() as stack:
        if speech.quiet:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stderr(nowhere))
            stack.enter_context(redirect_stdout(nowhere))
        elif speech.json:
            stack.enter_context(redirect_stdout(sys.stderr))
        yield voice
    if speech.json:
        told = {"command": command, **voice.facts, "seconds": round(time.monotonic() - began, 3)}
        print(json.dumps(told, indent=1, default=_plain))


def run_command(module: str, needs: Callable[[], None] = lambda: None) -> None:
    """Runs the `main` of a module that takes seconds to import, and says so in a terminal meanwhile.

    needs: checks what the import would fail without.
    """
    # Threads that wait for each other while other programs hold the cores can take far longer than one
    # would alone; those that sleep meanwhile lose a little where the machine is idle. OpenMP reads
    # this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console = Console(stderr=True, quiet="--quiet" in sys.argv)
    with warnings.catch_warnings():
        # Other packages', about each other's next versions: nothing that a user could act on.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        with console.status("starting") if console.is_terminal else ExitStack():
            needs()
            main = importlib.import_module(module).main
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(InterruptedRunError.exit_code)


def _line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{value!r} is nothing that JSON can hold")
