"""What large pictures cost: chunks change nothing, patches cost less, and rows say how many times less."""

from dataclasses import replace

import pytest
import torch

from vnp_core.bench.encoding_cost import Cost
from vnp_core.bench.picture_costs import (
    PATCHES,
    POINTS,
    PictureCost,
    completion_seconds,
    field_means,
    picture_cost_rows,
    picture_costs,
)
from vnp_core.bench.systems import System
from vnp_core.model import ProcessConfig, VersatileNeuralProcess
from vnp_core.observations import grid_coordinates
from vnp_core.rotary import RotaryConfig
from vnp_core.tasks.picture_tasks import observed_grid
from vnp_core.tokenizers import PatchTokenizerConfig


@pytest.fixture
def config(tiny_vnp: System) -> ProcessConfig:
    assert isinstance(tiny_vnp.model, ProcessConfig)
    return replace(tiny_vnp.model, x_dim=2, rank=4, rotary=RotaryConfig(1.0, 8.0))


def test_a_picture_decoded_in_chunks_is_the_picture_decoded_at_once(config: ProcessConfig) -> None:
    torch.manual_seed(0)
    model = VersatileNeuralProcess(replace(config, tokenizer=PatchTokenizerConfig(patch=4)))
    known = torch.randperm(400, generator=torch.Generator().manual_seed(0))[None, :100]
    context = observed_grid(torch.rand(1, 1, 20, 20) - 0.5, known)
    x = grid_coordinates(20, 20).reshape(1, 400, 2)
    with torch.inference_mode():
        whole, *chunked = (
            field_means(model, context, x, 3, torch.Generator().manual_seed(1), chunk=size)
            for size in (400, 64, 7)
        )
    assert whole.std() > 0.005
    for pieces in chunked:
        torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


def test_patches_need_far_less_memory_than_points_to_encode(config: ProcessConfig) -> None:
    costs = picture_costs(config, {POINTS: (32,), PATCHES: (64, 32)}, patch=8)
    assert [cost.side for cost in costs[PATCHES]] == [32, 64]
    assert costs[PATCHES][0].encoding.contexts == 32 * 32
    assert costs[POINTS][0].encoding.peak_bytes > 10 * costs[PATCHES][0].encoding.peak_bytes
    for curve in costs.values():
        for cost in curve:
            assert cost.completion.peak_bytes >= cost.encoding.peak_bytes > 0
            assert cost.completion.seconds > 0
    times = completion_seconds(config, 8, 2, 2)
    assert set(times) == {(n, p) for n in (POINTS, PATCHES) for p in ("float32", "bfloat16")}
    assert min(times.values()) > 0


def test_rows_compare_both_ways_at_the_sides_that_both_have() -> None:
    def cost(side: int, seconds: float, peak: int) -> PictureCost:
        return PictureCost(side, Cost(side**2, seconds, peak), Cost(side**2, 2 * seconds, 4 * peak))

    rows = picture_cost_rows({POINTS: [cost(8, 6.0, 100)], PATCHES: [cost(8, 0.5, 4), cost(16, 1.0, 9)]}, "v")
    found = {(row.model, row.condition, row.metric): row.value for row in rows}
    assert found["v-patches", "side=8,work=encoding", "ratio_seconds"] == 12
    assert found["v-patches", "side=8,work=completion", "ratio_bytes"] == 25
    assert found["v-points", "side=8,work=completion", "seconds"] == 12
    assert ("v-patches", "side=16,work=encoding", "ratio_seconds") not in found
    assert ("v-points", "side=8,work=encoding", "ratio_seconds") not in found
