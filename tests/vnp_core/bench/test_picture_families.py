"""What is trained on and what is tested on never meet, and sized tests nest."""

import pytest
import torch

from vnp_core.bench.families import build_family
from vnp_core.bench.picture_families import coarse_test, picture_family, sized_picture_test
from vnp_core.errors import ConfigError
from vnp_core.tasks.picture_data import PictureData
from vnp_core.tasks.pictures import STEP, Pictures
from vnp_core.tasks.task import TaskSource


def pictures(level: int, side: int = 8) -> Pictures:
    pixels = torch.full((4, 1, side, side), level, dtype=torch.uint8)
    return Pictures(pixels, torch.zeros(4, dtype=torch.long))


DATA = PictureData("made", pictures(0), pictures(51), pictures(255))


def levels_of(source: TaskSource) -> list[float]:
    """The grey levels that are asked for, which the values are spread around: no two targets are alike."""
    y = source.batch(0).targets.y
    assert len(y.unique()) > 0.9 * y.numel()
    return ((y + 0.5) / STEP).round().unique().tolist()


def test_training_and_each_test_have_pictures_of_their_own() -> None:
    family = picture_family(DATA, seed=0, batch_size=6, test_tasks=160)
    assert levels_of(family.train) == [0]
    assert len(family.train.batch(0).targets.mask) == 6
    levels = {test.split: levels_of(test.source) for test in family.tests}
    assert levels == {"test": [51], "unseen": [255], "block": [51], "half": [51]}
    assert {test.split: test.batches for test in family.tests} == {
        "test": 10,
        "unseen": 2,
        "block": 1,
        "half": 1,
    }
    assert all((test.batch_size, test.step) == (16, STEP) for test in family.tests)
    assert family.described["pictures"] != family.tests[0].described["pictures"]


def test_large_pictures_come_in_small_batches() -> None:
    data = PictureData("made", pictures(0, 160), pictures(51, 160))
    family = picture_family(data, seed=0, batch_size=2, test_tasks=16)
    assert [(test.batch_size, test.batches) for test in family.tests] == [(1, 16), (1, 1), (1, 1)]


def test_sets_without_classes_have_no_unseen_ones() -> None:
    family = picture_family(
        PictureData("made", pictures(0), pictures(51)), seed=0, batch_size=2, test_tasks=16
    )
    assert [test.split for test in family.tests] == ["test", "block", "half"]


def test_more_known_pixels_of_a_picture_include_the_fewer() -> None:
    noise = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = PictureData("made", pictures(0), Pictures(noise, torch.zeros(4, dtype=torch.long)))
    test = picture_family(data, seed=0, batch_size=2, test_tasks=16).tests[0]
    few, many = (sized_picture_test(test, count, 64 - count, 16, 0).source.batch(0) for count in (5, 20))
    few, many = few.context, many.context
    assert torch.equal(few.x, many.x[:, :5])
    assert torch.equal(few.y, many.y[:, :5])


def test_enlargements_need_sides_that_can_be_divided() -> None:
    test = picture_family(DATA, seed=0, batch_size=2, test_tasks=16).tests[0]
    coarse = coarse_test(test, "coarse4", 32, 0)
    assert coarse is not None
    assert (coarse.split, coarse.batches) == ("coarse4", 2)
    assert coarse.source.batch(0).targets.x.shape[1] == 64
    odd = PictureData("odd", pictures(0, 9), pictures(9, 9))
    test = picture_family(odd, seed=0, batch_size=2, test_tasks=16).tests[0]
    assert coarse_test(test, "coarse2", 16, 0) is None


def test_tests_of_functions_have_no_pictures() -> None:
    test = build_family("rbf", seed=0, batch_size=2, test_tasks=16).tests[0]
    with pytest.raises(ConfigError, match="has no pictures"):
        coarse_test(test, "coarse2", 16, 0)
