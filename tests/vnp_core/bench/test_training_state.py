"""A run on disk: whole at any moment, and only for the configuration it was made under."""

from pathlib import Path

import pytest
import torch

from vnp_core.bench.training_state import (
    HistoryRow,
    TrainingState,
    first_difference,
    read_state,
    remove_states,
    write_state,
)
from vnp_core.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.fault("a damaged state of a benchmark")

CONFIG = {"trainer": {"steps": 10, "optimiser": {"lr": 0.1}}, "seed": 0}


def state(step: int) -> TrainingState:
    return TrainingState(
        step,
        1.5,
        [HistoryRow(2, {"loss": 0.1 + 0.2}, [1.0, 2.0])],
        {"loss": [1 / 3]},
        {"model.a": torch.arange(3.0), "optimiser0.0.step": torch.tensor(float(step))},
    )


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    write_state(tmp_path, state(3), CONFIG)
    found = read_state(tmp_path, CONFIG)
    assert found is not None
    assert (found.step, found.seconds, found.history, found.pending) == (
        3,
        1.5,
        [HistoryRow(2, {"loss": 0.1 + 0.2}, [1.0, 2.0])],
        {"loss": [1 / 3]},
    )
    assert torch.equal(found.part("model.")["a"], torch.arange(3.0))
    assert list(found.part("optimiser0.")) == ["0.step"]


def test_the_two_newest_states_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        write_state(tmp_path, state(step), CONFIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000002.json",
        "step-00000002.safetensors",
        "step-00000010.json",
        "step-00000010.safetensors",
    ]


def test_a_state_that_was_cut_off_gives_way_to_the_one_before_loudly(tmp_path: Path, capsys) -> None:
    for step in (1, 2):
        write_state(tmp_path, state(step), CONFIG)
    assert read_state(tmp_path, CONFIG) is not None
    assert capsys.readouterr().err == ""
    weights = tmp_path / "step-00000002.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    found = read_state(tmp_path, CONFIG)
    assert found is not None
    assert found.step == 1
    said = capsys.readouterr().err
    assert "step-00000002.safetensors is truncated" in said
    assert "going back to the state before it" in said
    # Killed after the weights and before the card: the pair does not exist yet.
    (tmp_path / "step-00000002.json").unlink()
    found = read_state(tmp_path, CONFIG)
    assert found is not None
    assert found.step == 1


def test_where_all_states_are_damaged_that_is_said(tmp_path: Path) -> None:
    path = write_state(tmp_path, state(1), CONFIG)
    path.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="truncated"):
        read_state(tmp_path, CONFIG)


def test_an_empty_or_missing_folder_has_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path, CONFIG) is None
    assert read_state(tmp_path / "nowhere", CONFIG) is None


def test_another_configuration_is_refused_by_its_first_key(tmp_path: Path) -> None:
    write_state(tmp_path, state(1), CONFIG)
    other = {"trainer": {"steps": 10, "optimiser": {"lr": 0.2}}, "seed": 5}
    with pytest.raises(ConfigError, match=r"trainer.optimiser.lr was 0.1, given is 0.2"):
        read_state(tmp_path, other)


def test_differences_name_keys_that_came_or_went() -> None:
    assert first_difference({"a": 1}, {"a": 1}) is None
    assert first_difference({}, {"a": {"b": 1}}) == "a is given now only"
    assert first_difference({"a": {"b": 1}}, {"a": {}}) == "a.b is not given any more"
    assert first_difference({"a": [1, 2]}, {"a": [1, 3]}) == "a was [1, 2], given is [1, 3]"


def test_a_run_can_be_forgotten(tmp_path: Path) -> None:
    write_state(tmp_path, state(4), CONFIG)
    remove_states(tmp_path)
    assert list(tmp_path.iterdir()) == []
