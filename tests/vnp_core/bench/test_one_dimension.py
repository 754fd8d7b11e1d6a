"""What is measured beside plain scores; the whole is tested through the program, in test_bench_1d."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vnp_core.bench.families import Family, HeldOut
from vnp_core.bench.one_dimension import Extent, Measurements
from vnp_core.bench.study import Entry, Study
from vnp_core.bench.systems import System
from vnp_core.bench.trainer import TrainerConfig, build_fabric
from vnp_core.bench.training_state import HistoryRow
from vnp_core.observations import PointSet
from vnp_core.tasks.task import TaskBatch


class Shifted:
    """Tasks whose targets lie at x = 1 and x = 3."""

    name, x_dim, y_dim = "shifted", 1, 1

    def batch(self, step: int) -> TaskBatch:
        x = torch.tensor([[[1.0], [3.0]]])
        return TaskBatch.of_points(PointSet.present(x[:, :0], x[:, :0]), PointSet.present(x, x))


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def measurements(tmp_path: Path, lines: list[str]) -> Measurements:
    trainer = TrainerConfig(steps=1)
    fabric = build_fabric(trainer, "cpu")
    study = Study(tmp_path, trainer, fabric, seed=0, start="replace", log=lines.append)
    return Measurements(study, Extent(), tmp_path, "r")


@pytest.fixture
def family() -> Family:
    source = Shifted()
    return Family("shifted", source, {}, (HeldOut("shifted", "test", source, 2, {}),))


def entry(system: System, **card: Any) -> Entry:
    history = [HistoryRow(1, {"loss": 1.0}, [2.0, 0.25])]
    return Entry(system, "shifted", system.build(0).eval(), "0", card, history)


def test_targets_where_nothing_was_trained_are_answered_and_flagged(
    measurements: Measurements, family: Family, tiny_vnp: System, lines: list[str]
) -> None:
    measurements.tests(family, [entry(tiny_vnp)])
    assert {row.metric for row in measurements.rows} >= {"ll_point", "ll_joint", "crps", "sigma_floor"}
    assert [line for line in lines if "outside" in line] == [
        "shifted: 50.0 % of the targets lie outside of x from -2 to 2, where nothing was trained. They are "
        "answered all the same."
    ]


def test_training_is_told_in_rows_with_the_last_reading_of_every_level(
    measurements: Measurements, family: Family, tiny_vnp: System, lines: list[str]
) -> None:
    collapsed = entry(tiny_vnp, steps=7, hours=0.5, collapse="Collapsed latents: level 1.")
    measurements.training(family, [collapsed])
    rows = {(row.condition, row.metric): row.value for row in measurements.rows}
    assert rows["", "steps"] == 7
    assert rows["", "hours"] == 0.5
    assert rows["", "parameters"] == sum(p.numel() for p in collapsed.model.parameters())
    assert (rows["level=0", "kl"], rows["level=1", "kl"]) == (2.0, 0.25)
    assert lines == ["vnp on shifted: Collapsed latents: level 1."]


def test_families_of_no_known_process_have_neither_ceilings_nor_curves(
    measurements: Measurements, family: Family, tiny_vnp: System
) -> None:
    measurements.context_curves(family, [entry(tiny_vnp)])
    measurements.predictions(family, [entry(tiny_vnp)])
    assert measurements.rows == []
    assert measurements.figures == []


def test_a_subset_is_never_larger_than_the_test(
    measurements: Measurements, family: Family, tiny_vnp: System
) -> None:
    measurements.extent = replace(Extent(), draws=(1, 2), draw_tasks=1000)
    measurements.draws(entry(tiny_vnp), family.tests[0])
    assert {row.n for row in measurements.rows if row.metric == "ll_joint"} == {2}
    assert {row.split for row in measurements.rows} == {"draws"}
