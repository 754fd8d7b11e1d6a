"""Every error that we raise on purpose, each with an exit code of its own.

An error's text says what was wrong, what was given and what to do. Programs that end on one print that text
and nothing else, and exit with the class's code, so that scripts can tell the cases apart.
"""

import errno
import inspect
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar


class VNPError(Exception):
    """Base of all our errors. `exit_code` is what a command ends with."""

    exit_code: ClassVar[int] = 10


class ConfigError(VNPError, ValueError):
    """A configuration has an unknown key, a wrong type or values that contradict each other."""

    exit_code = 11


class DataError(VNPError, ValueError):
    """Observations that no model can use: NaN, wrong shapes, unreadable files."""

    exit_code = 12


class SceneError(DataError):
    """A scene's files are there and make no sense."""

    exit_code = 13


class SceneNotFoundError(SceneError):
    """No scene where one was asked for."""

    exit_code = 14


class PictureError(SceneError):
    """A picture is missing, truncated, or of another size than its camera says."""

    exit_code = 15


class CameraError(SceneError):
    """A pose or its intrinsics describe no pinhole camera."""

    exit_code = 16


class ViewCountError(SceneError):
    """A scene has fewer views than were asked for."""

    exit_code = 17


class CheckpointError(VNPError):
    """Weights are damaged, or belong to another architecture."""

    exit_code = 18


class OutputExistsError(VNPError):
    """The place to write to already holds a result, and we overwrite nothing."""

    exit_code = 19


class MissingDependencyError(VNPError, ImportError):
    """An optional package or a system library is not installed."""

    exit_code = 20


class DivergenceError(VNPError):
    """Training met a loss that is not finite."""

    exit_code = 21


class StorageError(VNPError, OSError):
    """The disk, or the user's share of it, takes no more."""

    exit_code = 22


class InterruptedRunError(VNPError):
    """Somebody stopped a run, which is saved and can go on."""

    exit_code = 130


def exit_codes() -> dict[int, str]:
    """Every exit code of our programs, and in a word what it says: an error's name, for those of errors."""
    codes = {0: "done", 1: "an error that is none of ours", 2: "arguments that are not understood"}
    kinds: list[type[VNPError]] = [VNPError]
    for kind in kinds:
        codes[kind.exit_code] = kind.__name__
        kinds += kind.__subclasses__()
    return dict(sorted(codes.items()))


def with_exit_codes(description: str | None) -> str:
    """What a program's --help says first, and what its exit codes mean after that."""
    codes = ", ".join(f"{code} {meaning}" for code, meaning in exit_codes().items())
    return f"{inspect.cleandoc(description or '')}\n\nExit codes: {codes}."


def no_room(error: OSError) -> bool:
    """Whether an error of the operating system says that a disk, a quota or a file is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def exit_on_error() -> Generator[None, None, None]:
    """Ends the program with one printed line, and the error's own exit code, on any `VNPError`.

    A full disk that other people's code met ends it as a `StorageError` of ours does. For the edges of
    programs only: code that is called as a library lets the error through.
    """
    try:
        yield
    except VNPError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        if not no_room(error):
            raise
        print(f"{StorageError.__name__}: {error}: make room on the disk, and start again", file=sys.stderr)
        raise SystemExit(StorageError.exit_code) from error
