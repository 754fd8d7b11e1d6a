"""What the doctor finds: one line each, and what to do about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

EXIT_WRONG = 20
"""As `MissingDependencyError`."""


@dataclass(frozen=True)
class Finding:
    """state: 'ok'; 'note' for what works and could work better; 'wrong' for what something fails without.

    found: what is there. advice: what to type or do; empty where there is nothing to do.
    """

    name: str
    state: Literal["ok", "note", "wrong"]
    found: str
    advice: str = ""

    def line(self) -> str:
        """For a terminal."""
        line = f"{self.state:<6} {self.name:<18} {self.found}"
        return f"{line}  ->  {self.advice}" if self.advice else line


Examination = Callable[[], Iterable[Finding]]


def examined(name: str, examination: Examination) -> list[Finding]:
    """The findings of an examination; of one that fails, that it does: a doctor meets broken machines."""
    try:
        return list(examination())
    except Exception as error:
        said = " ".join(str(error).split())
        return [
            Finding(
                name,
                "wrong",
                f"could not be examined: {type(error).__name__}: {said}",
                'install what is missing with: pip install -c constraints.txt -e ".[bench,dev]"',
            )
        ]


def exit_code(findings: Iterable[Finding]) -> int:
    """0, or 20 if anything is wrong."""
    return EXIT_WRONG if any(finding.state == "wrong" for finding in findings) else 0
