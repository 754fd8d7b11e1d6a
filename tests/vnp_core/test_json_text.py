"""Whatever is laid out is the same when it is read, and long lists take a line an entry."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vnp_core.json_text import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    assert json.loads(json_text(value)) == value


def test_short_values_and_lists_of_numbers_take_one_line_and_all_else_a_line_a_part() -> None:
    value = {
        "short": {"a": 1, "b": [1, 2]},
        "numbers": list(range(100)),
        "history": [[step, {"loss": 0.5}, [1.0, 2.0]] for step in range(3)],
        "long": {"first": "x" * 60, "second": "y" * 60, "none": []},
    }
    assert json_text(value).splitlines() == [
        "{",
        ' "short": {"a": 1, "b": [1, 2]},',
        f' "numbers": {list(range(100))},',
        ' "history": [',
        '  [0, {"loss": 0.5}, [1.0, 2.0]],',
        '  [1, {"loss": 0.5}, [1.0, 2.0]],',
        '  [2, {"loss": 0.5}, [1.0, 2.0]]',
        " ],",
        ' "long": {',
        f'  "first": "{"x" * 60}",',
        f'  "second": "{"y" * 60}",',
        '  "none": []',
        " }",
        "}",
    ]
