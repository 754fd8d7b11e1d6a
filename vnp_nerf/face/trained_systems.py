"""Systems that are trained alike to be compared: each is a run of `ns-train` as a user would type it.

A system is a method and its flags. It is trained for a number of steps, or for as many as fit into a time at
the rate that a short run of it shows, and is then a model like any other.
"""

import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vnp_core.errors import ConfigError, DataError, OutputExistsError
from vnp_core.results import command_line
from vnp_core.whole_files import write_whole
from vnp_nerf.face.opened_run import run_weights
from vnp_nerf.library import Model, build_model

_MODEL, _BATCHES = "--pipeline.model.radiance", "--pipeline.datamanager.batches"
_TRIAL_STEPS = 40
"""Of a run that shows a system's rate; its second half counts."""
_RECORD = "trained.json"
_STEP = re.compile(r"step +(\d+) .*steps/s")


@dataclass(frozen=True)
class System:
    """A method of `ns-train` with flags of its own."""

    method: str
    flags: tuple[str, ...] = ()
    framed: bool = True
    """Whether the model has a choice of frame to read in."""


_DETERMINISTIC = (f"{_MODEL}.train-draws", "0", f"{_MODEL}.noise", "False")
SYSTEMS: dict[str, System] = {
    "vnp-nerf": System("vnp-nerf", (f"{_MODEL}.train-samples", "16")),
    "deterministic": System("vnp-nerf", (f"{_MODEL}.train-samples", "16", *_DETERMINISTIC)),
    "pixelnerf-like": System(
        "vnp-nerf", (f"{_MODEL}.train-samples", "16", f"{_MODEL}.readings", "local", *_DETERMINISTIC)
    ),
    "planes": System(
        "vnp-nerf", (f"{_MODEL}.train-samples", "16", f"{_MODEL}.readings", "planes", *_DETERMINISTIC)
    ),
    "tiny": System("vnp-nerf-tiny"),
    "tiny-deterministic": System("vnp-nerf-tiny", _DETERMINISTIC),
    "paper-small": System(
        "vnp-nerf-paper",
        (
            *(f"{_MODEL}.width", "128", f"{_MODEL}.encoder-layers", "3", f"{_MODEL}.encoder-heads", "4"),
            *(f"{_MODEL}.encoder-hidden", "256", f"{_MODEL}.samples", "32", f"{_MODEL}.kl-ramp", "100"),
            *(f"{_MODEL}.near", "2.9", f"{_MODEL}.far", "5.1"),
            *("--optimizers.matrices.optimizer.lr", "5e-4", "--optimizers.others.optimizer.lr", "5e-4"),
        ),
        framed=False,
    ),
}
"""`pixelnerf-like` has features of the views at a point alone, `planes` those of planes alone, both without
latents; `tiny` is `vnp-nerf-tiny`; `paper-small` is the paper's model at a quarter of its width, half of its
encoder's layers and a quarter of its samples, which lie about the object's ball, at a learning rate that
suits that width.
"""


@dataclass(frozen=True)
class Schooling:
    """What all systems have in common."""

    data: Path
    """The collection that is trained on."""
    frame: str = "azimuth"
    """That the model reads in, where it has a choice: azimuth, or canonical."""
    scenes_per_batch: int = 8
    rays_per_scene: int = 192
    max_context_views: int = 3
    train_scenes: int | None = None
    """Scenes that are trained on; all if not given."""
    seed: int = 42

    def command(self, system: System, steps: int, run: Path, lines: int) -> list[str]:
        """The call of `ns-train` that trains a system into the folder `run`."""
        words = [
            *("ns-train", system.method, "--data", str(self.data), "--run-dir", str(run)),
            *("--max-num-iterations", str(steps), "--steps-per-line", str(lines)),
            *("--machine.seed", str(self.seed), "--steps-per-eval-batch", "1000000"),
            *("--steps-per-eval-image", "1000000", "--steps-per-eval-all-images", "1000000"),
            *(f"{_BATCHES}.scenes-per-batch", str(self.scenes_per_batch)),
            *(f"{_BATCHES}.rays-per-scene", str(self.rays_per_scene)),
            *(f"{_BATCHES}.max-context-views", str(self.max_context_views)),
        ]
        if system.framed:
            words += [f"{_MODEL}.frame", self.frame]
        if self.train_scenes is not None:
            words += ["--pipeline.datamanager.train-scenes", str(self.train_scenes)]
        return [*words, *system.flags]  # of a flag that comes twice the last one counts


@dataclass(frozen=True)
class Trained:
    """How a system was trained."""

    command: str
    steps: int
    seconds: float
    """Wall time of the whole run, start-up included."""
    parameters: int
    model: Model = field(repr=False, compare=False)


def system_named(text: str) -> tuple[str, System]:
    """One of `SYSTEMS` by its name, or a variant of one as 'NAME=SYSTEM FLAGS'; its name comes along.

    Raises `ConfigError` where there is no such system, and for a name that is no folder's.
    """
    name, equals, rest = text.partition("=")
    base, *flags = shlex.split(rest) if equals else [name]
    if base not in SYSTEMS:
        raise ConfigError(f"there is no system {base!r}; known: {', '.join(SYSTEMS)}")
    if not re.fullmatch(r"[\w.-]+", name) or (equals and name in SYSTEMS):
        raise ConfigError(
            f"{name!r} cannot name a variant of {base}: use letters, digits, - and _ of your own"
        )
    system = SYSTEMS[base]
    return name, replace(system, flags=(*system.flags, *flags))


def steps_in(system: System, schooling: Schooling, minutes: float, run: Path) -> int:
    """How many steps of training fit into a time, by a short run in the folder `run`, which is removed.

    Raises `DataError` with the run's last words where it fails.
    """
    _make_room(run)
    printed = _run(schooling.command(system, _TRIAL_STEPS, run, _TRIAL_STEPS // 2))
    shutil.rmtree(run, ignore_errors=True)
    rates = re.findall(r"([\d.]+) steps/s", printed)
    if not rates or not float(rates[-1]):
        raise DataError(f"the trial run of {system.method} told no rate; it said: {printed[-500:]}")
    return max(1, math.floor(60 * minutes * float(rates[-1])))


def train(
    system: System,
    schooling: Schooling,
    steps: int,
    run: Path,
    on_step: Callable[[int], None] = lambda step: None,
) -> Trained:
    """Trains a system into the folder `run`, or finds it trained there; one that was begun begins anew.

    Raises `DataError` with the run's last words where it fails, and `ConfigError` where the folder holds
    one that was trained otherwise.
    """
    command = schooling.command(system, steps, run, 100)
    record = run / _RECORD
    if record.exists():
        found = json.loads(record.read_text(encoding="utf-8"))
        if found["command"] != command_line(command):
            raise ConfigError(
                f"{run} holds a run of another command ({found['command']}): name another folder"
            )
    else:
        _make_room(run)
        start = time.perf_counter()
        _run(command, on_step)
        found = {
            "command": command_line(command),
            "steps": steps,
            "seconds": round(time.perf_counter() - start, 1),
        }
        write_whole(record, json.dumps(found, indent=1).encode())
    weights = run_weights(run / "config.yml")
    model = build_model(weights.architecture)
    model.load_state_dict(weights.state)
    return Trained(**found, parameters=sum(part.numel() for part in model.parameters()), model=model.eval())


def _make_room(run: Path) -> None:
    """Removes a begun run; nothing else. Raises `OutputExistsError`."""
    if run.exists() and any(run.iterdir()) and not (run / "config.yml").exists():
        raise OutputExistsError(f"{run} holds something that is no run of ns-train: name another folder")
    shutil.rmtree(run, ignore_errors=True)


def _run(command: Sequence[str], on_step: Callable[[int], None] = lambda step: None) -> str:
    """Runs a program of this environment, and returns what it printed."""
    program = Path(sysconfig.get_path("scripts")) / command[0]
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-u", str(program), *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if (step := _STEP.search(line)) is not None:
                on_step(int(step[1]))
    if process.returncode:
        last = "".join(lines).strip()[-800:]
        raise DataError(f"{command_line(command)} ended with exit code {process.returncode}: {last}")
    return "".join(lines)
