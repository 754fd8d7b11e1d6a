"""Runs the Python of the documentation's pages as it stands there, and keeps the pictures that it makes.

    python scripts/draw_pages.py                                # every page that shows a picture
    python scripts/draw_pages.py docs/tutorials/objects.md      # one of them

A page's blocks run one after another in one folder, from which the repository's data/ is seen. A block of
plain text right behind one of Python is what it prints.
"""

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from tyro.conf import Positional

from vnp_core.errors import DataError, exit_on_error

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"!\[[^\]]*\]\([./]*pictures/([\w.-]+)\)")


@dataclass(frozen=True)
class Block:
    """Python of a page; `line` is that of its first line, `printed` what the page says it prints."""

    code: str
    line: int
    printed: str | None


@dataclass
class DrawPages:
    """Makes the pictures of the documentation anew."""

    pages: Positional[tuple[Path, ...]] = ()
    """Pages under docs/; every one whose Python makes a picture, if none is named."""


def python_blocks(page: Path) -> list[Block]:
    """What a reader would copy from the page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], text.count("\n", 0, found.start(1)) + 1, found[2]) for found in _BLOCK.finditer(text)
    ]


def pictures_of(page: Path) -> list[str]:
    """Names of the pictures under docs/pictures that the page shows."""
    return _PICTURE.findall(page.read_text(encoding="utf-8"))


def run_page(page: Path, folder: Path) -> None:
    """Runs the page's Python in a folder. Raises `DataError` where it prints something else than it says."""
    (folder / "data").symlink_to(ROOT / "data")
    names: dict[str, object] = {"__name__": "__page__"}
    with _inside(folder):
        for block in python_blocks(page):
            printed = io.StringIO()
            # Empty lines in front, so that a traceback names the page's own line.
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, names)
            if block.printed is not None and printed.getvalue() != block.printed:
                raise DataError(
                    f"{page}, line {block.line}: it prints {printed.getvalue()!r}, the page says "
                    f"{block.printed!r}: correct the page"
                )


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main(options: DrawPages) -> None:
    console = Console(highlight=False)
    os.environ.setdefault("MPLBACKEND", "Agg")
    chosen = options.pages or tuple(sorted((ROOT / "docs").rglob("*.md")))
    for page in chosen:
        if not python_blocks(page) or not pictures_of(page):
            continue
        with tempfile.TemporaryDirectory() as folder:
            run_page(page.resolve(), Path(folder))
            for name in pictures_of(page):
                if (Path(folder) / name).is_file():
                    shutil.copyfile(Path(folder) / name, PICTURES / name)
                    console.print(f"docs/pictures/{name}")


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(DrawPages, description=__doc__))
