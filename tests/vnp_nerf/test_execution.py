"""The network gives the same, however it is run."""

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_nerf.execution import EXECUTIONS, Execution
from vnp_nerf.radiance import PACK


def test_names_lead_back_to_what_they_name() -> None:
    assert [Execution.named(way.name) for way in EXECUTIONS] == list(EXECUTIONS)
    assert len({way.name for way in EXECUTIONS}) == 4


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="compiled-bfloat16"):
        Execution.named("float8")


@pytest.mark.parametrize("draws", [1, 3])
def test_blocks_hold_every_point_once_and_are_padded_to_a_pack(draws: int) -> None:
    index = torch.randperm(20_000)
    blocks = Execution().blocks(index, draws)
    assert torch.equal(torch.cat([part for part, _ in blocks]), index)
    assert all(len(padded) % PACK == 0 for _, padded in blocks)
    assert all(torch.equal(padded[: len(part)], part) for part, padded in blocks)


def test_blocks_of_a_compiled_network_have_one_size() -> None:
    blocks = Execution(compiled=True).blocks(torch.arange(20_000), 1)
    assert len(blocks) > 1
    assert len({len(padded) for _, padded in blocks}) == 1


def test_no_points_are_no_blocks() -> None:
    assert Execution().blocks(torch.arange(0), 1) == []
