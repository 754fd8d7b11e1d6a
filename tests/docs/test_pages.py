"""The documentation's pages: their Python runs, and what they say of the code is so."""

import ast
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from vnp_core import errors

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LONG = ("tutorials/objects.md",)
"""Pages whose Python takes more than some seconds."""


def named(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


WITH_PYTHON = [
    pytest.param(page, id=named(page), marks=[pytest.mark.slow] * (named(page) in LONG))
    for page in PAGES
    if "```python" in page.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def draw_pages(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("draw_pages")


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_a_pages_python_runs_prints_what_it_says_and_makes_its_pictures(
    draw_pages: ModuleType, page: Path, tmp_path: Path
) -> None:
    draw_pages.run_page(page, tmp_path)
    made = {path.name for path in tmp_path.glob("*.png")}
    elsewhere = {"conventions.png"}  # by a program of its own
    assert set(draw_pages.pictures_of(page)) - elsewhere <= made


def test_no_page_of_the_list_of_long_ones_is_gone() -> None:
    assert set(LONG) <= {named(page) for page in PAGES}


def test_a_page_that_prints_something_else_is_told_of_by_its_line(
    draw_pages: ModuleType, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("A page.\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(errors.DataError, match="line 4: it prints '2"):
        draw_pages.run_page(page, tmp_path)


def test_every_picture_is_shown_by_a_page_and_small(draw_pages: ModuleType) -> None:
    shown = {name for page in PAGES for name in draw_pages.pictures_of(page)}
    pictures = list((DOCS / "pictures").iterdir())
    assert {path.name for path in pictures} == shown
    assert sum(path.stat().st_size for path in pictures) < 2 << 20


def test_the_drawing_of_conventions_is_the_same_every_time(
    load_script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    drawing = load_script("draw_conventions")
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for path in (first, second):
        drawing.main(drawing.DrawConventions(path))
    assert first.read_bytes() == second.read_bytes()


def dotted_names() -> Iterator[tuple[str, str]]:
    """(page, name) of whatever pages say of our code: in links, in code, and in the reference."""
    name = r"(vnp_(?:core|nerf)(?:\.\w+)+)"
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for pattern in (rf"\]\[{name}\]", rf"`{name}`", rf"^::: {name}$"):
            yield from ((named(page), found) for found in re.findall(pattern, text, re.MULTILINE))


def resolves(name: str) -> bool:
    """Whether there is such a module, or a thing in one; a dataclass' field without default counts."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            here = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(here, part) and part not in getattr(here, "__dataclass_fields__", {}):
                return False
            here = getattr(here, part, None)
        return True
    return False


def test_every_name_that_a_page_mentions_exists() -> None:
    names = set(dotted_names())
    assert len(names) > 150
    assert not {(page, name) for page, name in names if not resolves(name)}


def test_a_name_that_does_not_exist_is_found_out() -> None:
    assert not resolves("vnp_core.model.Nonsense")
    assert not resolves("vnp_core.nonsense.Field")
    assert resolves("vnp_core.model.ProcessConfig.rank")


def homes(package: str) -> set[str]:
    """The modules that a package's reference tells of."""
    return set(re.findall(r"^::: (\S+)$", text_of(f"reference/{package}.md"), re.MULTILINE))


def test_every_link_to_a_name_has_a_place_to_go() -> None:
    """The site leaves others as they were typed, brackets and all, and says nothing."""
    told = homes("vnp_core") | homes("vnp_nerf")
    links = {
        name for page in PAGES for name in re.findall(r"\]\[(vnp_[\w.]+)\]", page.read_text(encoding="utf-8"))
    }
    assert len(links) > 100
    assert not {
        name for name in links if not any(name == home or name.startswith(f"{home}.") for home in told)
    }


@pytest.mark.parametrize("package", ["vnp_core", "vnp_nerf"])
def test_the_reference_has_the_home_of_every_public_name(package: str) -> None:
    public = import_module(package)
    assert {getattr(public, name).__module__ for name in public.__all__} <= homes(package)


def error_classes(base: type[errors.VNPError] = errors.VNPError) -> Iterator[type[errors.VNPError]]:
    yield base
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", text_of("troubleshooting.md"), re.MULTILINE)
    codes = {(str(c.exit_code), c.__name__, (c.__doc__ or "").splitlines()[0]) for c in error_classes()}
    assert len(rows) == len(codes)
    assert set(rows) == codes


def texts(path: Path) -> Iterator[str]:
    """All texts of a module, with `…` for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)


def test_every_message_that_troubleshooting_explains_is_one_of_ours() -> None:
    modules = [path for room in ("vnp_core", "vnp_nerf") for path in (ROOT / room).rglob("*.py")]
    said = [text for path in modules for text in texts(path)]
    section = text_of("troubleshooting.md").partition("## What messages mean")[2]
    messages = re.findall(r"^\| `(.+?)` \| ", section, re.MULTILINE)
    assert len(messages) > 20
    assert not [message for message in messages if not any(message in text for text in said)]


def test_pages_name_only_commands_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets, page
        for file in re.findall(r"\b((?:scripts|tests|data)/[\w./-]*\w)\b", text):
            assert (ROOT / file).exists() or file.startswith("data/demo/furniture/ID"), (page, file)


def test_every_page_can_be_found_from_the_site() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {named(page) for page in PAGES}
