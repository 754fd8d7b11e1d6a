"""What is installed: Python, packages, nerfstudio, ffmpeg, system libraries, weights."""

import hashlib
import importlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vnp_nerf.doctor.findings import Finding
from vnp_nerf.system_needs import COMPILER, LIBRARIES, Need, find_missing, packages_of

_INSTALL = 'pip install -c constraints.txt -e ".[bench,dev]"'
_ACTIVATE = f"source {Path(sys.prefix) / 'bin' / 'activate'}"
_OLDEST, _NEWEST = (3, 10), (3, 12)
_METHODS = "nerfstudio.method_configs"


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Iterator[Finding]:
    """The interpreter's version."""
    found = f"{'.'.join(map(str, version))} at {sys.executable}"
    if _OLDEST <= tuple(version[:2]) <= _NEWEST:
        yield Finding("python", "ok", found)
    else:
        yield Finding(
            "python",
            "wrong",
            f"{found}; nerfstudio needs 3.10, 3.11 or 3.12",
            "make PYTHON=/path/to/python3.12",
        )


def torch() -> Iterator[Finding]:
    """That torch can be imported, and is new enough."""
    loaded = importlib.import_module("torch")
    cuda = loaded.version.cuda
    built = f"{loaded.__version__}, built {f'for CUDA {cuda}' if cuda else 'without CUDA'}"
    yield _held_against_requirement("torch", built)


def nerfstudio() -> Iterator[Finding]:
    """Its version, whether it knows our methods, and whether its commands are at hand; it is not imported."""
    finding = _held_against_requirement("nerfstudio")
    if finding.state == "ok":
        ours = {entry.name for entry in importlib.metadata.entry_points(group=_METHODS)}
        if "vnp-nerf" not in ours:
            finding = Finding("nerfstudio", "wrong", f"{finding.found}; it does not know vnp-nerf", _INSTALL)
        elif shutil.which("ns-train") is None:
            finding = Finding(
                "nerfstudio",
                "note",
                f"{finding.found}; ns-train is not on the PATH",
                _ACTIVATE,
            )
    yield finding


def packages() -> Iterator[Finding]:
    """All other packages that this one requires."""
    findings = [
        _held_against_requirement(name) for name in _requirements() if name not in ("torch", "nerfstudio")
    ]
    unfit = [finding for finding in findings if finding.state != "ok"]
    yield from unfit
    if not unfit:
        yield Finding("packages", "ok", f"all {len(findings)} others are there, in versions that fit")


def ffmpeg(program: str | None = None) -> Iterator[Finding]:
    """The program that nerfstudio writes videos with. program: its path, in place of looking."""
    program = program or shutil.which("ffmpeg")
    advice = "sudo apt-get install ffmpeg; or make, which links the one of imageio-ffmpeg into .venv/bin"
    if program is None:
        beside = Path(sys.prefix) / "bin" / "ffmpeg"
        if beside.exists():
            yield Finding("ffmpeg", "note", f"{beside}, which is not on the PATH: no videos", _ACTIVATE)
        else:
            yield Finding("ffmpeg", "wrong", "not on the PATH: no videos", advice)
        return
    done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30)
    if done.returncode == 0:
        version = " ".join(done.stdout.split()[:3]).removeprefix("ffmpeg version ")
        yield Finding("ffmpeg", "ok", f"{version} at {program}")
    else:
        yield Finding("ffmpeg", "wrong", f"{program} does not run", advice)


def system_libraries(
    libraries: Sequence[Need] = LIBRARIES, compiler: Sequence[Need] = COMPILER
) -> Iterator[Finding]:
    """Shared libraries that pip does not bring, and what torch.compile needs."""
    yield _system("open3d's libraries", libraries, "wrong")
    yield _system("compiler", compiler, "note")


def weights(folder: Path | None = None) -> Iterator[Finding]:
    """Each shipped file of weights, held against the hash on its card."""
    shipped = importlib.import_module("vnp_core.shipped")
    folder = folder or shipped.weights_folder()
    assert folder is not None
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        wheel = folder == shipped.CLONE and not folder.is_dir()
        yield Finding(
            "weights",
            "note" if wheel else "wrong",
            f"none in {folder}" + (": a wheel brings none, so give them by path" if wheel else ""),
            f"export {shipped.VARIABLE}=CLONE/data/weights, with CLONE a clone of the repository",
        )
    for file in files:
        card = file.with_suffix(".json")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        stated = json.loads(card.read_text(encoding="utf-8")).get("sha256") if card.is_file() else None
        if digest == stated:
            size = file.stat().st_size / 2**20
            yield Finding("weights", "ok", f"{file.stem}: {size:.1f} MiB, SHA-256 {digest[:16]}")
        else:
            why = f"SHA-256 {digest[:16]}, its card says {stated[:16] if stated else 'nothing'}"
            yield Finding("weights", "wrong", f"{file.stem}: {why}", f"git checkout -- {file} {card}")


def _system(name: str, needs: Sequence[Need], state: str) -> Finding:
    missing = find_missing(needs)
    if not missing:
        return Finding(name, "ok", ", ".join(need.name for need in needs))
    lacks = "; ".join(f"no {need.name} ({need.purpose})" for need in missing)
    advice = f"sudo apt-get install {packages_of(missing)}"
    return Finding(name, "note" if state == "note" else "wrong", lacks, advice)


def _requirements() -> dict[str, str]:
    """What the installed package asks for, extras left out: name and bounds of the version."""
    from packaging.requirements import Requirement

    asked = map(Requirement, importlib.metadata.requires("vnp-nerf") or [])
    wanted = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    return {requirement.name: str(requirement.specifier) for requirement in wanted}


def _held_against_requirement(name: str, words: str | None = None) -> Finding:
    """words: what to say that is there, instead of the version."""
    from packaging.specifiers import SpecifierSet

    bounds = _requirements().get(name, "")
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "wrong", "not installed", _INSTALL)
    if SpecifierSet(bounds).contains(version, prereleases=True):
        return Finding(name, "ok", words or version)
    return Finding(name, "wrong", f"{words or version}; {bounds} is needed", _INSTALL)
