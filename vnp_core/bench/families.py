"""The families of functions of `bench_1d`: what is trained on, and what that is tested on."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from vnp_core.config import nearest, to_dict
from vnp_core.errors import ConfigError
from vnp_core.tasks.csv_tasks import read_csv_tasks
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks, KernelName
from vnp_core.tasks.lotka_volterra import LotkaVolterraConfig, LotkaVolterraTasks, hare_lynx
from vnp_core.tasks.task import TaskSource

X_RANGE = (-2.0, 2.0)
"""Where all families have their points."""

SPLIT_SEED = 0
"""Draws which functions of a table are kept for the test, whatever the seed of training: with another seed
one would test on what was trained on."""

TEST_SEED = 1_000_003
"""Added to the seed of training, so that no task of a test was ever trained on."""

KERNELS: tuple[KernelName, ...] = get_args(KernelName)
SIMULATION = "lotka-volterra"
FAMILIES = (*KERNELS, SIMULATION)
"""What can be trained on by name."""

SHIFTED: dict[str, tuple[KernelName, ...]] = {"rbf": ("matern52", "periodic")}
"""What models of a family are tested on besides, though they never saw it."""

SHIFTED_SHARE = 8
"""Those tests have one task for so many of the family's own."""

SIMULATED_SHARE = 4
"""The test on simulations, which are costlier, has one task for so many of a kernel's."""


@dataclass(frozen=True)
class HeldOut:
    """Tasks to score on."""

    task: str
    """What results call them."""
    split: str
    """`test` as in training; `ood` another kernel than in training; `real` measured, after simulations."""
    source: TaskSource
    """Where they come from."""
    batches: int
    """How many batches of it."""
    described: dict[str, Any]
    """What they are, as JSON values."""
    process: GaussianProcessConfig | None = None
    """The Gaussian process that they come from, where there is one: its score is known exactly."""
    step: float | None = None
    """Distance of neighbouring values where these come in steps: scores are then given in bits too."""
    resplit: bool = False
    """Its tasks are splits of the same few functions, again and again: more of them tell no more, and the
    error of their mean would mean nothing."""

    @property
    def batch_size(self) -> int:
        """Tasks of a batch, which share their numbers of contexts and of targets."""
        return len(self.source.batch(0).targets.mask)


@dataclass(frozen=True)
class Family:
    """Tasks to train on, and the tests for who was trained on them."""

    name: str
    train: TaskSource
    described: dict[str, Any]
    """What is trained on, as JSON values."""
    tests: tuple[HeldOut, ...]


@dataclass(frozen=True)
class CsvTable:
    """A user's own table."""

    path: Path
    x: tuple[str, ...]
    """Columns of coordinates."""
    y: tuple[str, ...]
    """Columns of values."""
    task: str
    """Column that says which function a row is of."""


def build_family(
    name: str,
    *,
    seed: int,
    batch_size: int,
    test_tasks: int,
    noise: float = 0.02,
    device: torch.device | str = "cpu",
) -> Family:
    """A family by name. Training batches hold `batch_size` tasks, those of tests 16, as published.

    Gaussian processes to train on are drawn on `device`; tests always on the CPU, the same everywhere.

    Raises `ConfigError`, naming the nearest, for an unknown name.
    """
    batches = max(1, test_tasks // 16)
    if name == SIMULATION:
        config = LotkaVolterraConfig(batch_size=batch_size)
        test = replace(config, batch_size=16)
        simulated = LotkaVolterraTasks(test, seed + TEST_SEED)
        held_out = HeldOut(name, "test", simulated, max(1, batches // SIMULATED_SHARE), to_dict(test))
        # They are all splits of the same 21 years: more of them would tell little more.
        splits, count = hare_lynx(seed + TEST_SEED), min(batches, 64)
        pelts = HeldOut("hudson-bay", "real", splits, count, {"table": "hudson_bay.csv"}, resplit=True)
        return Family(name, LotkaVolterraTasks(config, seed), to_dict(config), (held_out, pelts))
    if name not in KERNELS:
        raise ConfigError(f"There is no family '{name}'. {nearest(name, list(FAMILIES))}")
    config = GaussianProcessConfig(kernel=name, batch_size=batch_size, noise_std=noise)
    shifted = max(1, batches // SHIFTED_SHARE)
    tests = [process_test(name, "test", seed, batches, noise)]
    tests += [process_test(kernel, "ood", seed, shifted, noise) for kernel in SHIFTED.get(name, ())]
    return Family(name, GaussianProcessTasks(config, seed, device), to_dict(config), tuple(tests))


def process_test(kernel: KernelName, split: str, seed: int, batches: int, noise: float) -> HeldOut:
    """The published test of a kernel: batches of 16 tasks, numbers of contexts and targets drawn for each."""
    config = GaussianProcessConfig(kernel=kernel, noise_std=noise)
    source = GaussianProcessTasks(config, seed + TEST_SEED)
    return HeldOut(kernel, split, source, batches, to_dict(config), config)


def sized_test(test: HeldOut, contexts: int, targets: int, tasks: int, seed: int) -> HeldOut | None:
    """The same functions at exactly so many contexts and targets; None where they are no Gaussian process."""
    if test.process is None:
        return None
    config = replace(test.process, batch_size=min(64, tasks)).sized(contexts, targets)
    source = GaussianProcessTasks(config, seed + TEST_SEED + contexts)
    return HeldOut(test.task, test.split, source, tasks // config.batch_size, to_dict(config), config)


def csv_family(table: CsvTable, *, seed: int, batch_size: int, test_tasks: int) -> Family:
    """A user's table, of whose tasks a quarter is kept for the test. Raises `DataError` where it is unfit."""
    tasks = read_csv_tasks(
        table.path, table.x, table.y, table.task, x_range=X_RANGE, seed=seed, batch_size=batch_size
    )
    train, test = tasks.divided(0.25, SPLIT_SEED)
    columns = {"x": list(table.x), "y": list(table.y), "task": table.task}
    described = {"sha256": hashlib.sha256(table.path.read_bytes()).hexdigest(), **columns}
    test = replace(test, batch_size=16, seed=seed + TEST_SEED)
    batches = max(1, test_tasks // 16)
    held_out = HeldOut(train.name, "test", test, batches, described, resplit=True)
    return Family(train.name, train, {**described, "batch_size": batch_size}, (held_out,))
