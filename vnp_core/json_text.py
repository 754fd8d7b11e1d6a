"""JSON that people read and compare line by line: neither one line for all of it nor one for every number."""

import json
from collections.abc import Mapping
from typing import Any, cast

_WIDTH = 100


def json_text(value: Any) -> str:
    """`value` as JSON: an object that is longer than 100 characters takes a line a key, a list of lists or of
    objects a line an entry, and all else one line.
    """
    return _laid_out(json.loads(json.dumps(value)), 0) + "\n"


def _laid_out(value: Any, indent: int) -> str:
    line = json.dumps(value)
    if isinstance(value, dict) and indent + len(line) > _WIDTH:
        inner = cast("Mapping[str, Any]", value).items()
        parts = [f"{json.dumps(key)}: {_laid_out(part, indent + 1)}" for key, part in inner]
    elif isinstance(value, list) and any(isinstance(part, list | dict) for part in cast("list[Any]", value)):
        parts = [json.dumps(part) for part in cast("list[Any]", value)]
    else:
        return line
    body = f",\n{' ' * (indent + 1)}".join(parts)
    return f"{line[0]}\n{' ' * (indent + 1)}{body}\n{' ' * indent}{line[-1]}"
