"""Configurations survive the round trip, and every mistake is named."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from vnp_core.config import from_dict, nearest, to_dict
from vnp_core.errors import ConfigError
from vnp_core.model import ProcessConfig
from vnp_core.tokenizers import PatchTokenizerConfig, PointTokenizerConfig


@dataclass(frozen=True)
class Inner:
    width: int = 4
    name: str | None = None


@dataclass(frozen=True)
class Outer:
    rate: float
    inner: Inner = field(default_factory=Inner)
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[str, float] = ("a", 0.5)
    mode: Literal["paper", "consistent"] = "paper"
    folder: Path = Path("data")
    parts: list[Inner] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    flag: bool = False


EXAMPLE = Outer(
    0.1, Inner(7, "x"), (3,), ("b", 2.0), "consistent", Path("a/b"), [Inner(9)], {"one": 1}, flag=True
)


def test_a_config_survives_the_round_trip_through_json():
    assert from_dict(Outer, json.loads(json.dumps(to_dict(EXAMPLE)))) == EXAMPLE


@pytest.mark.parametrize("tokenizer", [PointTokenizerConfig(bottleneck=9), PatchTokenizerConfig(patch=3)])
def test_a_models_config_survives_the_round_trip_with_either_tokenizer(tokenizer):
    config = ProcessConfig(x_dim=2, tokenizer=tokenizer)
    assert from_dict(ProcessConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_absent_keys_keep_their_defaults_and_whole_numbers_pass_as_floats():
    made = from_dict(Outer, {"rate": 1})
    assert made == Outer(1.0)
    assert isinstance(made.rate, float)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"rate": 1.0, "innner": {}}, "no key 'innner'. Did you mean 'inner'?"),
        ({"rate": 1.0, "inner": {"widht": 3}}, "Outer.inner has no key 'widht'. Did you mean 'width'?"),
        ({}, "lacks the key 'rate'"),
        ({"rate": "fast"}, "Outer.rate is of type float; given was 'fast'"),
        ({"rate": True}, "Outer.rate is of type float"),
        ({"rate": 1.0, "inner": {"width": True}}, "Outer.inner.width is of type int"),
        ({"rate": 1.0, "inner": 3}, "Outer.inner needs a table"),
        ({"rate": 1.0, "sizes": [1, 2.5]}, r"Outer.sizes\[1\] is of type int"),
        ({"rate": 1.0, "sizes": 3}, "Outer.sizes is a list"),
        ({"rate": 1.0, "pair": ["a"]}, "Outer.pair has 2 entries; given were 1"),
        ({"rate": 1.0, "mode": "papre"}, "Outer.mode is one of 'paper', 'consistent'; given was 'papre'"),
        ({"rate": 1.0, "inner": {"name": 3}}, "Outer.inner.name is of type str"),
    ],
)
def test_every_mistake_is_named_with_its_place(values, text):
    with pytest.raises(ConfigError, match=text):
        from_dict(Outer, values)


def test_what_is_no_configuration_is_refused():
    with pytest.raises(ConfigError, match="dataclass instance"):
        to_dict(3)
    with pytest.raises(ConfigError, match="cannot hold"):
        to_dict(Outer(rate=object()))  # pyright: ignore[reportArgumentType]


def test_the_nearest_word_is_offered_or_else_the_whole_list():
    assert nearest("rotaton", ["rotation", "scale"]) == "Did you mean 'rotation'?"
    assert nearest("zzz", ["rotation", "scale"]) == "Known are: rotation, scale."
