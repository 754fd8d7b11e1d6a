"""What encoding costs, measured."""

from dataclasses import replace

import pytest
import torch

from vnp_core.bench.encoding_cost import (
    BOTTLENECK,
    FULL,
    Cost,
    cost_rows,
    encoding_costs,
    fastest,
    peak_bytes,
    prediction_seconds,
)
from vnp_core.bench.systems import System
from vnp_core.errors import ConfigError
from vnp_core.model import ProcessConfig, VersatileNeuralProcess
from vnp_core.tokenizers import PatchTokenizerConfig


def test_the_most_that_tensors_hold_at_once_is_counted() -> None:
    def work() -> None:
        first = torch.empty(1000, 1000)
        second = first + 1
        del first
        second.exp()

    assert peak_bytes(work, torch.device("cpu")) == pytest.approx(8e6, rel=0.001)


def test_memory_grows_linearly_and_less_with_a_bottleneck(tiny_vnp: System) -> None:
    config = tiny_vnp.model
    assert isinstance(config, ProcessConfig)
    costs = encoding_costs(config, (1024, 256), tokens=4)
    assert [cost.contexts for cost in costs[FULL]] == [256, 1024]
    small, large = costs[BOTTLENECK]
    assert 3 < large.peak_bytes / small.peak_bytes < 4.5
    assert large.peak_bytes < costs[FULL][1].peak_bytes
    assert all(cost.seconds > 0 for curve in costs.values() for cost in curve)


def test_rows_hold_every_size_and_the_power_of_the_last_step() -> None:
    rows = cost_rows({"full": [Cost(10, 0.1, 5), Cost(40, 1.6, 20)]}, "vnp")
    assert [(row.condition, row.metric, row.value) for row in rows[:-1]] == [
        ("contexts=10", "seconds", 0.1),
        ("contexts=10", "peak_bytes", 5),
        ("contexts=40", "seconds", 1.6),
        ("contexts=40", "peak_bytes", 20),
    ]
    assert (rows[-1].condition, rows[-1].metric) == ("contexts=10 to 40", "power")
    assert rows[-1].value == pytest.approx(2.0)


def test_the_fastest_of_a_few_runs_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 5.0, 6.0, 6.0, 9.0])
    monkeypatch.setattr("vnp_core.bench.encoding_cost.time.perf_counter", lambda: next(clock))
    assert fastest(lambda: None, least=3, budget=1.0) == 1.0


def test_a_prediction_is_timed(tiny_vnp: System) -> None:
    model = tiny_vnp.build(0).eval()
    assert isinstance(model, VersatileNeuralProcess)
    assert 0 < prediction_seconds(model, 1, 1) < 5


def test_patches_are_no_points(tiny_vnp: System) -> None:
    assert isinstance(tiny_vnp.model, ProcessConfig)
    with pytest.raises(ConfigError, match="points"):
        encoding_costs(replace(tiny_vnp.model, x_dim=2, tokenizer=PatchTokenizerConfig()), (8,))
