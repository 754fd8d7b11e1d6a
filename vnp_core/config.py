"""Dataclass configurations to plain dictionaries and back, with every mistake named.

A configuration is a dataclass of numbers, strings, tuples and further dataclasses. `to_dict` gives what JSON
can hold; `from_dict` rebuilds the same object: `from_dict(type(c), json.loads(json.dumps(to_dict(c)))) == c`.
"""

import dataclasses
import difflib
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vnp_core.errors import ConfigError

ConfigType = TypeVar("ConfigType")


def to_dict(config: object) -> dict[str, Any]:
    """The configuration as a dictionary of JSON values. Tuples become lists, paths become strings."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ConfigError(f"A configuration is a dataclass instance; this is {config!r}.")
    return {field.name: _to_plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_dict(cls: type[ConfigType], values: dict[str, Any]) -> ConfigType:
    """An instance of the dataclass `cls` with these values; what is absent keeps its default.

    Raises `ConfigError` for an unknown key (naming the nearest known one), a missing one, or a wrong type.
    """
    return cast(ConfigType, _dataclass_from(cls, values, where=cls.__name__))


def nearest(name: str, known: list[str]) -> str:
    """A sentence that names the known word nearest to `name`, for error texts."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"Known are: {', '.join(known)}."


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {str(key): _to_plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"A configuration cannot hold {value!r} of type {type(value).__name__}.")


def _dataclass_from(cls: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{where} needs a table of keys and values; given was {values!r}.")
    values = cast("dict[str, Any]", values)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where} has no key '{key}'. {nearest(str(key), list(fields))}")
    for name, field in fields.items():
        optional = (
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        )
        if name not in values and not optional:
            raise ConfigError(f"{where} lacks the key '{name}', which has no default.")
    hints = get_type_hints(cls)
    return cls(**{key: _value_from(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def _value_from(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return (
            value if isinstance(value, cast(type, hint)) else _dataclass_from(cast(type, hint), value, where)
        )
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is one of {', '.join(map(repr, arguments))}; given was {value!r}.")
        return value
    if origin in (Union, types.UnionType):
        return _union_from(arguments, value, where)
    if origin is tuple:
        return _tuple_from(arguments, value, where)
    if origin is list and isinstance(value, list | tuple):
        return [
            _value_from(arguments[0], item, f"{where}[{i}]")
            for i, item in enumerate(cast("list[Any]", value))
        ]
    if origin is dict and isinstance(value, dict):
        return {
            key: _value_from(arguments[1], item, f"{where}.{key}")
            for key, item in cast("dict[Any, Any]", value).items()
        }
    return _scalar_from(hint, value, where)


def _union_from(alternatives: tuple[Any, ...], value: Any, where: str) -> Any:
    mistakes: list[str] = []
    for alternative in alternatives:
        try:
            return _value_from(alternative, value, where)
        except ConfigError as error:
            mistakes.append(str(error))
    raise ConfigError(" Or: ".join(mistakes))


def _tuple_from(items: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} is a list; given was {value!r}.")
    given = cast("list[Any]", value)
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(given)
    if len(items) != len(given):
        raise ConfigError(f"{where} has {len(items)} entries; given were {len(given)}: {value!r}.")
    return tuple(
        _value_from(item, part, f"{where}[{i}]")
        for i, (item, part) in enumerate(zip(items, given, strict=True))
    )


def _scalar_from(hint: Any, value: Any, where: str) -> Any:
    if hint is types.NoneType and value is None:
        return None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    # bool is a subclass of int, and True would pass as a width of 1.
    if isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    raise ConfigError(f"{where} is of type {getattr(hint, '__name__', hint)}; given was {value!r}.")
