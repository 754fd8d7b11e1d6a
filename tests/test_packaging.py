"""The repository as a whole: who may import whom, how long a file may be, what ships, and what setup says."""

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement

from vnp_nerf.system_needs import Need, library

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("vnp_core", "vnp_nerf")
CORE_MAY_IMPORT = {
    "vnp_core",
    "torch",
    "numpy",
    "einops",
    "jaxtyping",
    "safetensors",
    *sys.stdlib_module_names,
}
LONGEST_FILE = 400
LARGEST_FILE = 16 << 20


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_face(path: Path) -> bool:
    return f"{module_name(path)}.".startswith(("vnp_nerf.face.", "vnp_nerf.infer."))


def imported_rooms(path: Path, *, lazily: bool) -> Iterator[str]:
    """The top-level packages that a file imports: anywhere in it, or only on being imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if lazily else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def import_without(modules: list[str], absent: list[str]) -> subprocess.CompletedProcess[str]:
    """Imports `modules` in a fresh interpreter in which importing any of `absent` fails."""
    code = (
        "import sys, importlib\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240)


@pytest.fixture
def check_system(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("check_system")


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_core_imports_nothing_but_what_its_room_allows() -> None:
    outside = {
        (module_name(path), room)
        for path in sources("vnp_core")
        for room in imported_rooms(path, lazily=True)
        if room not in CORE_MAY_IMPORT
    }
    assert not outside


def test_only_the_face_knows_nerfstudio_and_nothing_imports_scripts_or_tests() -> None:
    for path in (*sources("vnp_core"), *sources("vnp_nerf")):
        rooms = set(imported_rooms(path, lazily=True))
        assert not rooms & {"scripts", "tests"}, path
        assert is_face(path) or not rooms & {"nerfstudio", "viser", "nerfacc"}, path


def test_the_core_imports_without_nerfstudio() -> None:
    done = import_without(
        [module_name(path) for path in sources("vnp_core")], ["nerfstudio", "vnp_nerf", "open3d", "tyro"]
    )
    assert done.returncode == 0, done.stderr


def test_the_field_rays_scenes_and_rendering_import_without_nerfstudio_and_open3d() -> None:
    modules = [module_name(path) for path in sources("vnp_nerf") if not is_face(path)]
    done = import_without(modules, ["nerfstudio", "open3d", "trimesh", "pymeshlab"])
    assert done.returncode == 0, done.stderr


def test_nerfstudio_finds_every_method_and_the_dataparser() -> None:
    def names(group: str) -> set[str]:
        entries = importlib.metadata.entry_points(group=group)
        ours = [entry for entry in entries if entry.value.startswith("vnp_nerf.")]
        assert all(entry.load() is not None for entry in ours)
        return {entry.name for entry in ours}

    assert names("nerfstudio.method_configs") == {"vnp-nerf", "vnp-nerf-tiny", "vnp-nerf-paper"}
    assert names("nerfstudio.dataparser_configs") == {"vnp-scene"}


@pytest.mark.parametrize("room", ["vnp_core", "vnp_nerf", "scripts", "tests"])
def test_every_file_can_be_read_in_one_sitting(room: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(room)}
    assert not {str(path): lines for path, lines in lengths.items() if lines > LONGEST_FILE}


def test_every_file_that_ships_is_under_16_mebibytes() -> None:
    rooms = (*PACKAGES, "data", "docs", "scripts", "tests")
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()]
    assert not [path for path in files if path.stat().st_size >= LARGEST_FILE]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_say_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_the_version_is_the_newest_one_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+)", changelog, flags=re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == importlib.import_module("vnp_nerf").__version__
    assert newest.group(1) == importlib.metadata.version("vnp-nerf")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert newest.group(1) == citation["version"]


def test_hooks_run_what_is_installed_and_fetch_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    assert {hook["language"] for hook in config["repos"][0]["hooks"]} == {"system"}
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_the_constraints_pin_every_dependency_once_for_each_python(python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    pins = [pin for pin in constraints() if pin.marker is None or pin.marker.evaluate(environment)]
    names = [pin.name for pin in pins]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"==[^*,]+", str(pin.specifier)) for pin in pins)
    versions = {pin.name: next(iter(pin.specifier)).version for pin in pins}
    for needed in map(Requirement, importlib.metadata.requires("vnp-nerf") or []):
        assert needed.specifier.contains(versions[needed.name]), needed


def test_the_readme_names_only_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert set(re.findall(r"\bmake ([a-z-]+)\s*(?:#|`|$)", readme, flags=re.MULTILINE)) <= targets
    for script in set(re.findall(r"\bscripts/\w+\.py\b", readme)):
        assert (ROOT / script).is_file(), script
    for folder in set(re.findall(r"^\| `([\w/]+/)`", readme, flags=re.MULTILINE)):
        assert (ROOT / folder).is_dir(), folder


def test_a_missing_library_is_named_with_the_package_that_brings_it(
    check_system: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    needs = [
        library("libsurelynotthere.so.9", "libsurelynotthere9", "for this test"),
        Need("what is there", "there", "for this test", lambda: True),
    ]
    assert check_system.main([], needs) == check_system.EXIT_MISSING
    said = capsys.readouterr().out
    assert "libsurelynotthere.so.9" in said
    assert "apt-get install libsurelynotthere9\n" in said
    assert "what is there" not in said


def test_a_plain_user_is_told_and_nothing_is_installed(
    check_system: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(check_system, "install", asked.append)
    monkeypatch.setattr(check_system.os, "geteuid", lambda: 1000)
    needs = [library("libsurelynotthere.so.9", "libsurelynotthere9", "for this test")]
    assert check_system.main(["--install"], needs) == check_system.EXIT_MISSING
    assert not asked


def test_what_only_tests_need_is_told_when_asked_for_and_stops_nobody(
    check_system: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = [Need("a browser", "surely-no-browser", "for this test", lambda: False)]
    assert check_system.main([], [], browser) == 0
    assert "browser" not in capsys.readouterr().out
    assert check_system.main(["--tests"], [], browser) == 0
    assert "apt-get install surely-no-browser\n" in capsys.readouterr().out


def test_a_complete_machine_passes(check_system: ModuleType) -> None:
    assert check_system.main([], [Need("what is there", "there", "for this test", lambda: True)]) == 0


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 13, 0)])
def test_an_unsuitable_python_is_refused_by_name(
    check_system: ModuleType,
    version: tuple[int, int, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(check_system.sys, "version_info", version)
    assert check_system.main([], []) == check_system.EXIT_MISSING
    assert "3.10, 3.11 or 3.12" in capsys.readouterr().out
