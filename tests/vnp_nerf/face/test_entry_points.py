"""Whatever is wrong with this package or what it needs, nerfstudio's other methods go on."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from vnp_core.errors import MissingDependencyError
from vnp_nerf.face import entry_points

pytestmark = pytest.mark.fault("a broken package or another nerfstudio")

METHODS = {"vnp-nerf", "vnp-nerf-tiny", "vnp-nerf-paper"}
OPTIONAL = ("open3d", "trimesh", "lightning_fabric", "neuralprocesses", "hypothesis")
"""Packages without which nerfstudio still runs, and most of ours."""
SECONDS = 1.0

LIST_METHODS = """
import gc, json, sys, time
import importlib.metadata as metadata
spent, load = [0.0], metadata.EntryPoint.load
def timed(self):
    # A full collection takes half a second here, and whose allocation sets it off is chance.
    gc.disable()
    start = time.process_time()
    found = load(self)
    spent[0] += time.process_time() - start
    gc.enable()
    return found
metadata.EntryPoint.load = timed
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.plugins.registry_dataparser import discover_dataparsers
print(json.dumps([sorted(all_methods), sorted(discover_dataparsers()[0]), spent[0]]))
"""


def python(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Python anew; modules in `path` come before all others."""
    places = [str(place) for place in (path, os.environ.get("PYTHONPATH")) if place]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "COLUMNS": "1000", "TERM": "dumb"}
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)


def break_packages(folder: Path, names: tuple[str, ...]) -> Path:
    """A folder whose packages of these names raise when they are imported."""
    for name in names:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('{name} is broken [/here]')\n")
    return folder


def listed_methods(done: subprocess.CompletedProcess[str]) -> tuple[set[str], set[str], float]:
    assert done.returncode == 0, done.stderr[-2000:]
    methods, dataparsers, seconds = json.loads(done.stdout.splitlines()[-1])
    return set(methods), set(dataparsers), seconds


def test_with_every_optional_package_broken_all_methods_are_there_and_ours_load_within_a_second(
    tmp_path: Path,
) -> None:
    methods, dataparsers, seconds = listed_methods(
        python("-c", LIST_METHODS, path=break_packages(tmp_path, OPTIONAL))
    )
    assert {"nerfacto", "vanilla-nerf", "splatfacto", *METHODS} <= methods
    assert "vnp-scene" in dataparsers
    assert 0 < seconds < SECONDS


def test_without_a_package_that_we_need_all_other_methods_are_there_and_the_reason_is_said(
    tmp_path: Path,
) -> None:
    done = python("-c", LIST_METHODS, path=break_packages(tmp_path, ("safetensors",)))
    methods, _, _ = listed_methods(done)
    assert {"nerfacto", "vanilla-nerf", "splatfacto"} <= methods
    assert not METHODS & methods
    assert "RuntimeError: safetensors is broken [/here]" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_another_method_trains_while_ours_are_broken(tmp_path: Path, make_scene) -> None:
    scene = make_scene(tmp_path / "scene")
    for split in ("train", "val", "test"):
        shutil.copy(scene / "transforms.json", scene / f"transforms_{split}.json")
    (tmp_path / "broken").mkdir()
    program = """
import torch
import torchmetrics.image.lpip as lpip
lpip.LearnedPerceptualImagePatchSimilarity = lambda **_: torch.nn.Identity()  # it would fetch weights
from nerfstudio.scripts.train import entrypoint
entrypoint()
"""
    options = f"""vanilla-nerf --output-dir {tmp_path / "out"} --timestamp run --vis tensorboard
        --machine.device-type cpu --max-num-iterations 2 --pipeline.datamanager.train-num-rays-per-batch 16
        --pipeline.model.num-coarse-samples 4 --pipeline.model.num-importance-samples 4
        --data {scene} blender-data""".split()
    done = python("-c", program, *options, path=break_packages(tmp_path / "broken", ("safetensors",)))
    assert done.returncode == 0, done.stderr[-3000:]
    assert list((tmp_path / "out").rglob("step-000000001.ckpt"))


def test_the_range_of_nerfstudio_is_the_declared_one() -> None:
    (declared,) = (
        needed
        for needed in map(Requirement, importlib.metadata.requires("vnp-nerf") or [])
        if needed.name == "nerfstudio"
    )
    oldest, too_new = (".".join(map(str, part)) for part in (entry_points.OLDEST, entry_points.TOO_NEW))
    assert {str(part) for part in declared.specifier} == {f">={oldest}", f"<{too_new}"}


@pytest.mark.parametrize("version", ["1.1.5", "1.1.17", "1.1.5.post1"])
def test_versions_within_the_range_pass(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    entry_points.check_nerfstudio()
    assert entry_points.vnp_scene.config.data == Path()


@pytest.mark.parametrize("version", ["1.1.4", "1.2.0", "2.0", "0.3.4"])
def test_a_version_outside_the_range_is_explained(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    with pytest.raises(
        MissingDependencyError, match=rf"1\.1\.5 or later, before 1\.2; {version} is installed"
    ):
        entry_points.check_nerfstudio()
    found = entry_points.vnp_nerf
    assert isinstance(found, entry_points.Unavailable)
    assert "pip install 'nerfstudio>=1.1.5,<1.2'" in str(found)


def test_a_machine_without_nerfstudio_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(MissingDependencyError, match=r"there is none: pip install"):
        entry_points.check_nerfstudio()


def test_names_that_are_no_entry_points_are_unknown() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'vnp'"):
        _ = entry_points.vnp
