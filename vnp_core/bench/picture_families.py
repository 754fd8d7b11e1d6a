"""The families of `bench_2d`: pictures to train on, and every way in which models are tested on others."""

import math
from dataclasses import replace

import torch

from vnp_core.bench.families import TEST_SEED, Family, HeldOut
from vnp_core.config import to_dict
from vnp_core.errors import ConfigError
from vnp_core.tasks.picture_data import PictureData
from vnp_core.tasks.picture_tasks import COARSE, PictureTaskKind, PictureTasks, PictureTasksConfig
from vnp_core.tasks.pictures import STEP, Pictures

_VALUES = 16 * 3072
"""Pixels times channels of all pictures of a test's batch: for 16 of 32 x 32 in colour."""

UNSEEN = "unseen"
"""The split of pictures whose classes training never saw."""


def picture_family(
    data: PictureData,
    *,
    seed: int,
    batch_size: int,
    test_tasks: int,
    kinds: tuple[PictureTaskKind, ...] = ("random",),
    device: torch.device | str = "cpu",
) -> Family:
    """Training tasks on `device`, drawn there; tests of 16 tasks a batch on the CPU, the same everywhere.

    Tests are the published one on seen classes and on unseen ones, then a missing block and a missing half.
    """
    config = replace(PictureTasksConfig.for_size(*data.train.size), spread=True)
    trained = replace(config, batch_size=batch_size, kinds=kinds)
    described = {**to_dict(trained), "pictures": data.train.digest}
    train = PictureTasks(data.name, data.train.to(device), trained, seed)
    tests = [_test(data.name, "test", data.test, config, seed, test_tasks)]
    if data.unseen is not None:
        tests.append(_test(data.name, UNSEEN, data.unseen, config, seed, test_tasks // 4))
    for kind in ("block", "half"):
        tests.append(
            _test(data.name, kind, data.test, replace(config, kinds=(kind,)), seed, test_tasks // 16)
        )
    return Family(data.name, train, described, tuple(tests))


def sized_picture_test(test: HeldOut, contexts: int, targets: int, tasks: int, seed: int) -> HeldOut:
    """The same pictures at exactly so many known pixels; those of a smaller number are among them."""
    source = _picture_source(test)
    config = replace(source.config, batch_size=min(16, tasks)).sized(contexts, targets)
    return _test(test.task, test.split, source.pictures, config, seed, tasks)


def coarse_test(test: HeldOut, kind: PictureTaskKind, tasks: int, seed: int) -> HeldOut | None:
    """Super-resolution of the same pictures; None where their sides cannot be divided so."""
    source = _picture_source(test)
    if any(side % COARSE[kind] for side in source.pictures.size):
        return None
    config = replace(source.config, batch_size=min(16, tasks), kinds=(kind,))
    return _test(test.task, kind, source.pictures, config, seed, tasks)


def _picture_source(test: HeldOut) -> PictureTasks:
    if not isinstance(test.source, PictureTasks):
        raise ConfigError(f"The test {test.task} has no pictures.")
    return test.source


def _test(
    name: str, split: str, pictures: Pictures, config: PictureTasksConfig, seed: int, tasks: int
) -> HeldOut:
    values = pictures.channels * math.prod(pictures.size)
    config = replace(config, batch_size=max(1, min(config.batch_size, _VALUES // values)))
    source = PictureTasks(name, pictures, config, seed + TEST_SEED)
    described = {**to_dict(config), "pictures": pictures.digest}
    batches = max(1, tasks // config.batch_size)
    return HeldOut(name, split, source, batches, described, step=STEP)
