"""Outputs that are computed when they are asked for are a mapping like any other."""

import pytest
import torch

from vnp_nerf.face.lazy_outputs import LazyOutputs


def outputs(asked: list[int]) -> LazyOutputs:
    def compute() -> dict[str, torch.Tensor]:
        asked.append(1)
        return {"b": torch.full((2,), 2.0), "c": torch.full((2,), 3.0)}

    return LazyOutputs({"a": torch.ones(2)}, ["b", "c"], compute)


def test_names_are_known_and_in_order_before_anything_is_computed() -> None:
    asked: list[int] = []
    found = outputs(asked)
    assert list(found) == list(found.keys()) == ["a", "b", "c"]
    assert len(found) == 3
    assert "c" in found
    assert "d" not in found
    assert found["a"].sum() == 2
    assert not asked
    with pytest.raises(KeyError):
        found["d"]


@pytest.mark.parametrize("copied", [lambda given: dict(given), lambda given: {**given}])
def test_a_copy_holds_everything_and_computes_once(copied) -> None:
    asked: list[int] = []
    found = outputs(asked)
    assert {name: float(part[0]) for name, part in copied(found).items()} == {"a": 1, "b": 2, "c": 3}
    assert {float(part[0]) for part in found.values()} == {1, 2, 3}
    assert len(asked) == 1


def test_what_is_set_or_taken_away_stays_so() -> None:
    found = outputs([])
    found["b"] = torch.zeros(2)
    found["more"] = torch.ones(1)
    del found["a"]
    assert found["c"][0] == 3
    assert found["b"].sum() == 0
    assert list(found) == ["b", "c", "more"]
