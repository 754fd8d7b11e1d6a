"""Programs end with one line and a code that says why."""

import pytest

from vnp_core.bench.program import exit_in_one_line
from vnp_core.errors import ConfigError, InterruptedRunError


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            KeyboardInterrupt(),
            InterruptedRunError.exit_code,
            "Stopped. What is done is kept: go on with --resume.",
        ),
        (InterruptedRunError("Stopped at step 3."), InterruptedRunError.exit_code, "Stopped at step 3."),
        (ConfigError("No."), ConfigError.exit_code, "ConfigError: No."),
    ],
)
def test_a_program_ends_with_one_line_and_a_code_of_its_own(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_in_one_line():
        raise error
    assert ended.value.code == code
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith(line)


def test_errors_that_are_not_ours_keep_their_trace() -> None:
    with pytest.raises(ZeroDivisionError), exit_in_one_line():
        raise ZeroDivisionError
