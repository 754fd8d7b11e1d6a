"""How commands speak: in words, in JSON, or not at all; and what their --help says."""

import ast
import dataclasses
import inspect
import json
import re
import subprocess
import sys
import textwrap
import typing
from pathlib import Path
from types import ModuleType

import pytest

from vnp_core.errors import DataError, exit_codes, exit_on_error, with_exit_codes
from vnp_nerf.checking.command import Check
from vnp_nerf.console import Speech, Voice, run_command, speaking

ROOT = Path(__file__).parents[2]


def speak(speech: Speech) -> None:
    with speaking("vnp-test", speech) as voice:
        print("a library is talkative")
        print("WARNING: so is another", file=sys.stderr)
        voice.made(files=(Path("a.ply"), Path("b.ply")), names={"b", "a"})
        voice.made(count=2)
        voice.say("[2] files are made")


def fail(speech: Speech) -> None:
    with exit_on_error(), speaking("vnp-test", speech) as voice:
        voice.made(count=1)
        raise DataError("nothing is there")


def test_people_read_words(capsys: pytest.CaptureFixture[str]) -> None:
    speak(Speech())
    assert capsys.readouterr() == (
        "a library is talkative\n[2] files are made\n",
        "WARNING: so is another\n",
    )


@pytest.mark.parametrize("quiet", [False, True])
def test_programs_read_one_object_and_nothing_else(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    speak(Speech(json=True, quiet=quiet))
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told.pop("seconds") >= 0
    assert told == {"command": "vnp-test", "files": ["a.ply", "b.ply"], "names": ["a", "b"], "count": 2}
    assert ("talkative" in err) is not quiet


def test_quiet_prints_nothing_but_the_error_that_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    speak(Speech(quiet=True))
    assert capsys.readouterr() == ("", "")
    for speech in (Speech(quiet=True), Speech(json=True)):
        with pytest.raises(SystemExit) as ended:
            fail(speech)
        assert ended.value.code == 12
        assert capsys.readouterr() == ("", "DataError: nothing is there\n")


def test_progress_is_silent_when_told_and_waits_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for speech in (Speech(), Speech(quiet=True)):
        voice = Voice(speech)
        with voice.progress("reading", "points", 2) as report, voice.waiting("fetching"):
            report(1)
    assert capsys.readouterr() == ("", "")


def test_what_is_missing_is_told_before_seconds_of_imports_and_an_interrupt_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise DataError("no nerfstudio")

    with pytest.raises(DataError):
        run_command("surely_not_there", missing)

    def main() -> None:
        raise KeyboardInterrupt

    module = ModuleType("talks")
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "talks", module)
    with pytest.raises(SystemExit) as ended:
        run_command("talks")
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Stopped.\n"


def undocumented(options: type, seen: set[type]) -> list[str]:
    """Fields of a dataclass of options, and of those in it, without a text below them."""
    found: list[str] = []
    for kind in options.__mro__:
        ours = kind.__module__.partition(".")[0] not in ("nerfstudio", "builtins", "abc", "typing")
        if kind in seen or not dataclasses.is_dataclass(kind) or not ours:
            continue
        seen.add(kind)
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
        for statement, after in zip(body, [*body[1:], None], strict=True):
            if not isinstance(statement, ast.AnnAssign) or "ClassVar" in ast.dump(statement.annotation):
                continue
            told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if not told and not statement.target.id.startswith("_"):
                found.append(f"{kind.__name__}.{statement.target.id}")
        for hint in typing.get_type_hints(kind).values():
            for inner in (hint, *typing.get_args(hint)):
                if isinstance(inner, type) and dataclasses.is_dataclass(inner):
                    found += undocumented(inner, seen)
    return found


def test_every_option_of_every_program_says_what_it_is(load_script) -> None:
    from vnp_nerf.face import config, export_command
    from vnp_nerf.infer import Infer

    programs = [Check, Infer, *typing.get_args(export_command.Export), type(config.vnp_nerf.config)]
    programs += [type(config.vnp_nerf.config.pipeline), type(config.vnp_nerf.config.pipeline.model)]
    programs += [type(config.vnp_nerf.config.pipeline.datamanager)]
    for script, names in {
        "make_scenes": ("Furniture", "Shapes", "Meshes"),
        "bench_1d": ("Bench1D",),
        "bench_2d": ("Bench2D",),
        "bench_3d": ("Bench3D",),
        "bench_speed": ("BenchSpeed",),
        "demo": ("Demo",),
        "make_pairs": ("MakePairs",),
        "make_tables": ("MakeTables",),
        "ship_weights": ("Ship",),
    }.items():
        programs += [getattr(load_script(script), name) for name in names]
    seen: set[type] = set()
    assert not [field for program in programs for field in undocumented(program, seen)]
    assert len(seen) > 20


def test_help_ends_with_every_exit_code() -> None:
    codes = exit_codes()
    assert codes[18] == "CheckpointError"
    assert len(codes) == 17
    said = with_exit_codes("What it does.\n\n    more of it\n    ")
    assert said.startswith("What it does.\n\n")
    assert all(f"{code} {meaning}" in said for code, meaning in codes.items())
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_tables.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "18 CheckpointError" in done.stdout


def test_the_readme_has_a_table_of_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", readme, flags=re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == exit_codes()
