"""Jobs over several processes, where a job that fails, crashes or hangs is named and the others go on."""

import contextlib
import multiprocessing
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from vnp_core.errors import DataError, StorageError, VNPError, no_room

MOST_DEATHS = 6


@dataclass(frozen=True)
class Outcome:
    """How the job `index` ended: `error` is None when it succeeded."""

    index: int
    error: str | None


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    job: int | None = None
    since: float = 0.0


def run_jobs(
    work: Callable[[Any], None], jobs: Sequence[Any], processes: int, time_limit: float = 600.0
) -> Generator[Outcome, None, None]:
    """Calls `work(job)` for every job and yields an outcome for each, in the order in which they end.

    Args:
        work: a function of a module (processes are spawned, so it is pickled).
        jobs: what to call it with.
        processes: 1 runs everything in this process: no crash is survived, `time_limit` isn't kept.
        time_limit: seconds after which a job's process is ended.

    Raises:
        DataError: process after process died, so that the fault isn't a single job's.
        StorageError: the disk takes no more.
    """
    if processes <= 1:
        for index, job in enumerate(jobs):
            yield _outcome(index, _attempt(work, job))
        return
    context = multiprocessing.get_context("spawn")
    waiting = list(range(len(jobs)))[::-1]
    workers = [_start(context, work) for _ in range(min(processes, len(jobs)))]
    deaths = 0
    try:
        while waiting or any(worker.job is not None for worker in workers):
            for worker in workers:
                if worker.job is None and waiting:
                    worker.job, worker.since = waiting.pop(), time.monotonic()
                    # A process that died while idle shows when its answer is read.
                    with contextlib.suppress(OSError):
                        worker.pipe.send(jobs[worker.job])
            wait([worker.pipe for worker in workers if worker.job is not None], timeout=1.0)
            for place, worker in enumerate(workers):
                if worker.job is None:
                    continue
                error = _reply(worker, time_limit)
                if error is _PENDING:
                    continue
                yield _outcome(worker.job, error)
                worker.job = None
                deaths = 0 if worker.process.is_alive() else deaths + 1
                if deaths >= MOST_DEATHS:
                    raise DataError(f"{deaths} processes died one after another; the last: {error}")
                if deaths:
                    workers[place] = _start(context, work)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


_PENDING: Any = object()


def _reply(worker: _Worker, time_limit: float) -> Any:
    """The worker's answer: None, an error's text, a `StorageError`, or _PENDING while it is at work."""
    try:
        if worker.pipe.poll():
            return worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return f"its process ended by itself (exit code {worker.process.exitcode})"
    if time.monotonic() - worker.since > time_limit:
        worker.process.kill()
        worker.process.join()
        return f"it took longer than {time_limit:g} s"
    return _PENDING


def _start(context: Any, work: Callable[[Any], None]) -> _Worker:
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(work, there), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _serve(work: Callable[[Any], None], pipe: Connection) -> None:
    """A worker process: answers each job with None, an error's text or a `StorageError`, until its pipe is
    closed.
    """
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            pipe.send(_attempt(work, job))
        except KeyboardInterrupt:
            return


def _outcome(index: int, error: Any) -> Outcome:
    if isinstance(error, StorageError):
        raise error  # no fault of this job, and the next one would fail alike
    return Outcome(index, error)


def _attempt(work: Callable[[Any], None], job: Any) -> str | StorageError | None:
    try:
        work(job)
    except StorageError as error:
        return error
    except VNPError as error:
        return str(error)
    except OSError as error:
        if no_room(error):
            return StorageError(f"{error}: make room on the disk, and start again; finished scenes are kept")
        return traceback.format_exc(limit=4).strip()
    except Exception:
        return traceback.format_exc(limit=4).strip()
    return None
