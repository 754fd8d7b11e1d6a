"""What is trained on, and what it is tested on."""

from pathlib import Path

import pytest
import torch

from vnp_core.bench.families import X_RANGE, CsvTable, build_family, csv_family, sized_test
from vnp_core.errors import ConfigError, DataError


def test_the_published_sizes_are_the_default() -> None:
    family = build_family("rbf", seed=0, batch_size=64, test_tasks=48_000)
    assert [(test.task, test.split, test.batches) for test in family.tests] == [
        ("rbf", "test", 3000),
        ("matern52", "ood", 375),
        ("periodic", "ood", 375),
    ]
    assert len(family.train.batch(0).targets.mask) == 64
    assert len(family.tests[0].source.batch(0).targets.mask) == 16
    assert [test.split for test in build_family("periodic", seed=0, batch_size=2, test_tasks=16).tests] == [
        "test"
    ]


def test_no_test_task_is_a_training_task() -> None:
    family = build_family("rbf", seed=0, batch_size=16, test_tasks=64)
    trained, tested = family.train.batch(0), family.tests[0].source.batch(0)
    assert not torch.equal(trained.everything.y[:, :6], tested.everything.y[:, :6])


def test_families_of_two_seeds_are_tested_apart_too() -> None:
    first, second = (build_family("rbf", seed=seed, batch_size=2, test_tasks=16) for seed in (0, 1))
    x, other = (family.tests[0].source.batch(0).targets.x for family in (first, second))
    assert x.shape != other.shape or not torch.equal(x, other)


def test_noise_is_part_of_train_test_and_ceiling() -> None:
    family = build_family("matern52", seed=0, batch_size=2, test_tasks=16, noise=0.3)
    assert family.tests[0].process is not None
    assert family.tests[0].process.noise_std == 0.3
    assert family.described["noise_std"] == 0.3


def test_simulations_are_tested_on_measured_pelts() -> None:
    family = build_family("lotka-volterra", seed=0, batch_size=2, test_tasks=4800)
    assert [(test.task, test.split, test.process) for test in family.tests] == [
        ("lotka-volterra", "test", None),
        ("hudson-bay", "real", None),
    ]
    assert family.tests[1].batches == 64
    assert family.tests[1].source.y_dim == family.train.y_dim == 2


def test_an_unknown_family_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'matern'.*'matern52'"):
        build_family("matern", seed=0, batch_size=2, test_tasks=16)


def test_sized_tests_have_exactly_so_many_points() -> None:
    test = build_family("rbf", seed=0, batch_size=2, test_tasks=16).tests[0]
    sized = sized_test(test, 7, 5, 128, 0)
    assert sized is not None
    batch = sized.source.batch(0)
    assert (batch.context.mask.shape[1], batch.targets.mask.shape[1], sized.batches) == (7, 5, 2)
    pelts = build_family("lotka-volterra", seed=0, batch_size=2, test_tasks=16).tests[1]
    assert sized_test(pelts, 7, 5, 128, 0) is None


def table(folder: Path, tasks: int) -> CsvTable:
    rows = [f"{task},{x},{task + x * x}" for task in range(tasks) for x in range(6)]
    path = folder / "mine.csv"
    path.write_text("\n".join(["who,t,v", *rows]) + "\n")
    return CsvTable(path, ("t",), ("v",), "who")


def test_a_table_is_divided_by_its_tasks_and_scaled_to_where_models_look(tmp_path: Path) -> None:
    family = csv_family(table(tmp_path, 8), seed=0, batch_size=4, test_tasks=32)
    assert family.name == "mine"
    (test,) = family.tests
    assert (test.task, test.split, test.batches, test.process) == ("mine", "test", 2, None)
    trained, tested = family.train, test.source
    assert len(trained.labels) == 6  # type: ignore[attr-defined]
    assert set(trained.labels).isdisjoint(tested.labels)  # type: ignore[attr-defined]
    x = trained.batch(0).everything.x
    assert float(x.min()) >= X_RANGE[0]
    assert float(x.max()) <= X_RANGE[1]


def test_another_content_of_the_table_is_another_description(tmp_path: Path) -> None:
    first = csv_family(table(tmp_path, 8), seed=0, batch_size=4, test_tasks=32).described
    second = csv_family(table(tmp_path, 9), seed=0, batch_size=4, test_tasks=32).described
    assert first["sha256"] != second["sha256"]


def test_no_seed_tests_on_functions_that_another_trained_on(tmp_path: Path) -> None:
    mine = table(tmp_path, 8)
    families = [csv_family(mine, seed=seed, batch_size=4, test_tasks=32) for seed in range(4)]
    kept = [family.tests[0].source.labels for family in families]  # type: ignore[attr-defined]
    assert all(labels == kept[0] for labels in kept)
    first, second = (family.tests[0].source.batch(0).targets.y for family in families[:2])
    assert first.shape != second.shape or not torch.equal(first, second)


def test_a_table_in_other_batches_is_another_training(tmp_path: Path) -> None:
    mine = table(tmp_path, 8)
    few, many = (csv_family(mine, seed=0, batch_size=size, test_tasks=32) for size in (4, 8))
    assert few.described != many.described


def test_splits_of_the_same_functions_are_no_independent_tasks(tmp_path: Path) -> None:
    assert csv_family(table(tmp_path, 8), seed=0, batch_size=4, test_tasks=32).tests[0].resplit
    simulated, pelts = build_family("lotka-volterra", seed=0, batch_size=2, test_tasks=16).tests
    assert (simulated.resplit, pelts.resplit) == (False, True)


def test_a_table_of_one_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two or more"):
        csv_family(table(tmp_path, 1), seed=0, batch_size=4, test_tasks=32)
