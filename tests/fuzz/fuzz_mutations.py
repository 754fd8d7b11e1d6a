"""How a good file becomes a bad one: hostile values in place of good ones, keys taken away and added, bytes
flipped, cut and repeated.
"""

import copy
import json
from typing import Any

from hypothesis import strategies as st

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        [
            10**400,
            2**63,
            -(2**70),
            1e308,
            -1e-320,
            65_536,
            1e9,
            "../../x.png",
            "/etc/passwd",
            "..",
            "\0",
            "\ud800",
        ]
    ),
    st.sampled_from([[], {}, [[[[]]]], [1, "a", None], {"a": {}}, ["x"] * 50, "x" * 5000]),
)

# Copies, since one mutation may change what another has put in.
HOSTILE_PARTS = HOSTILE.map(copy.deepcopy)


@st.composite
def json_mutations(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one to three of its parts replaced, removed or joined by others."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = None, None
        inner = value
        while isinstance(inner, dict | list) and inner and (holder is None or draw(st.integers(0, 3))):
            keys = sorted(inner) if isinstance(inner, dict) else range(len(inner))
            holder, key = inner, draw(st.sampled_from(keys))
            inner = holder[key]
        if holder is None:
            return draw(HOSTILE_PARTS)
        what = draw(st.integers(0, 5))
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, dict):
            holder[draw(st.text(max_size=5))] = draw(HOSTILE_PARTS)
        elif what == 2 and isinstance(holder, list):
            holder.extend(holder[:40])
        else:
            holder[key] = draw(HOSTILE_PARTS)
    return value


@st.composite
def byte_mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` with one to four places flipped, cut out, repeated or written over."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        what = draw(st.integers(0, 4))
        if what == 0:
            content = content[:at]
        elif what == 1:
            content = content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at:]
        elif what == 2:
            end = at + draw(st.integers(1, 16))
            content = content[:at] + content[end:]
        elif what == 3:
            content = content[:at] + content[max(at - 64, 0) :]
        else:
            new = draw(st.binary(min_size=1, max_size=8))
            content = content[:at] + new + content[at + len(new) :]
    return content


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
