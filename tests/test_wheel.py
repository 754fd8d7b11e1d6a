"""The sdist and the wheel, built and installed as a stranger would: nothing of the repository is in reach.

The environment is a fresh one, which borrows the packages that we need from the one that the tests run in.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vnp_nerf import __version__

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "data" / "weights"
SCENE = ROOT / "data" / "demo" / "furniture" / "blendswap-cc-0-armchair"

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the sdist and of the wheel that was built out of it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in ("vnp_core", "vnp_nerf"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    return target


@pytest.fixture(scope="module")
def elsewhere(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command in a folder of its own, in an environment into which only the wheel was installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    wheel = built / f"vnp_nerf-{__version__}-py3-none-any.whl"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, timeout=200)
    # What stands in a folder that a .pth file names is found; .pth files in there are not obeyed, so that the
    # repository's own editable install stays out of sight.
    own = sysconfig.get_path("purelib", vars={"base": str(folder / "venv")})
    (Path(own) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "work").mkdir()
    kept = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VNP_NERF_WEIGHTS")
    }
    path = os.pathsep.join([str(python.parent), str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            cwd=folder / "work",
            env={**kept, "PATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=200,
        )

    return run


def test_the_wheel_holds_both_packages_their_types_and_the_licence_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built / f"vnp_nerf-{__version__}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
    assert {name.partition("/")[0] for name in names} == {
        "vnp_core",
        "vnp_nerf",
        f"vnp_nerf-{__version__}.dist-info",
    }
    assert {"vnp_core/py.typed", "vnp_nerf/py.typed"} <= names
    assert any(name.endswith("/LICENSE") for name in names)
    sources = {
        str(path.relative_to(ROOT))
        for package in ("vnp_core", "vnp_nerf")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == sources
    with tarfile.open(built / f"vnp_nerf-{__version__}.tar.gz") as sdist:
        assert f"vnp_nerf-{__version__}/vnp_core/model.py" in sdist.getnames()


def test_both_packages_are_the_wheels_and_nerfstudio_finds_what_they_bring(elsewhere: Run) -> None:
    code = (
        "import importlib.metadata as metadata, json, vnp_core, vnp_nerf\n"
        "from nerfstudio.plugins.registry import discover_methods\n"
        "from nerfstudio.plugins.registry_dataparser import discover_dataparsers\n"
        "print(json.dumps([vnp_core.__file__, vnp_nerf.__file__, metadata.version('vnp-nerf'),\n"
        "    sorted(discover_methods()[0]), sorted(discover_dataparsers()[0])]))\n"
    )
    done = elsewhere("python", "-c", code)
    assert done.returncode == 0, done.stderr
    core, nerf, version, methods, parsers = json.loads(done.stdout.splitlines()[-1])
    assert not any(Path(file).is_relative_to(ROOT) for file in (core, nerf))
    assert all("elsewhere" in file for file in (core, nerf))
    assert version == __version__
    assert {"vnp-nerf", "vnp-nerf-tiny", "vnp-nerf-paper"} <= set(methods)
    assert "vnp-scene" in parsers


def test_the_doctor_runs_there_and_says_where_weights_come_from(elsewhere: Run) -> None:
    done = elsewhere("vnp-doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["nerfstudio"]["state"] == "ok"
    assert findings["packages"]["state"] == "ok"
    assert findings["weights"]["state"] == "note"
    assert "VNP_NERF_WEIGHTS" in findings["weights"]["advice"]
    done = elsewhere("vnp-doctor", "--json", VNP_NERF_WEIGHTS=str(WEIGHTS))
    told = [one for one in json.loads(done.stdout)["findings"] if one["name"] == "weights"]
    assert {one["state"] for one in told} == {"ok"}


def test_an_object_is_inferred_there_by_path_or_by_name_once_it_is_known_where_names_are(
    elsewhere: Run,
) -> None:
    arguments = ("vnp-infer", "--data", SCENE, "--context", 0, 8, "--output-dir")
    path = WEIGHTS / "vnp-nerf-furniture.safetensors"
    done = elsewhere(*arguments, "by_path", "--weights", path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert Path(told["config"]).is_file()
    assert told["context"] == [0, 8]
    done = elsewhere(*arguments, "by_name", "--weights", "furniture")
    assert done.returncode == 18
    assert "set VNP_NERF_WEIGHTS to a folder of weights" in done.stderr
    code = (
        "import vnp_nerf\n"
        f"scene = vnp_nerf.open_scene({str(SCENE)!r})\n"
        "field = vnp_nerf.load('furniture').infer(scene, views=[0, 8])\n"
        "print(float(field.render(scene.cameras[4], size=(16, 16)).rgb.mean()))\n"
    )
    done = elsewhere("python", "-c", code, VNP_NERF_WEIGHTS=str(WEIGHTS))
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 1
