"""The doctor on machines that lack one thing each, and its lines, its JSON and its exit codes."""

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from vnp_core import shipped
from vnp_nerf.doctor import command, installation, machine
from vnp_nerf.doctor.findings import Finding, examined, exit_code
from vnp_nerf.system_needs import Need, library


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


ABSENT = library("libsurelynotthere.so.9", "libsurelynotthere9", "for this test")
PRESENT = Need("what is there", "there", "for this test", lambda: True)


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 13, 0)])
def test_an_unsuitable_python_is_wrong(version: tuple[int, int, int]):
    finding = only(installation.python(version))
    assert finding.state == "wrong"
    assert "3.10, 3.11 or 3.12" in finding.found
    assert only(installation.python()).state == "ok"


def test_torch_and_packages_are_held_against_what_we_require(monkeypatch: pytest.MonkeyPatch):
    assert torch.__version__ in only(installation.torch()).found
    asked = ["torch>=999", "numpy>=1", "surely-not-there>=1", "pytest>=999; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: asked)
    finding = only(installation.torch())
    assert (finding.state, ">=999 is needed" in finding.found) == ("wrong", True)
    assert "pip install" in finding.advice
    missing = only(installation.packages())
    assert (missing.name, missing.state, missing.found) == ("surely-not-there", "wrong", "not installed")


def test_a_nerfstudio_that_does_not_know_us_is_wrong(monkeypatch: pytest.MonkeyPatch):
    assert importlib.metadata.version("nerfstudio") in only(installation.nerfstudio()).found
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: ())
    finding = only(installation.nerfstudio())
    assert finding.state == "wrong"
    assert "does not know vnp-nerf" in finding.found


def test_commands_that_are_not_on_the_path_are_found_by_activating(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    finding = only(installation.nerfstudio())
    assert finding.state == "note"
    assert finding.advice == f"source {Path(sys.prefix) / 'bin' / 'activate'}"


def test_ffmpeg_is_run_and_its_lack_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho ffmpeg version 6.1 Copyright\n")
    program.chmod(0o755)
    assert only(installation.ffmpeg(str(program))).found == f"6.1 at {program}"
    program.write_text("#!/bin/sh\nexit 3\n")
    assert only(installation.ffmpeg(str(program))).state == "wrong"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert only(installation.ffmpeg()).state == "note"
    program.unlink()
    finding = only(installation.ffmpeg())
    assert finding.state == "wrong"
    assert "apt-get install ffmpeg" in finding.advice


def test_missing_libraries_are_wrong_and_a_missing_compiler_is_not():
    libraries, compiler = installation.system_libraries([ABSENT, PRESENT], [ABSENT])
    assert libraries.state == "wrong"
    assert compiler.state == "note"
    assert libraries.advice == "sudo apt-get install libsurelynotthere9"
    assert "what is there" not in libraries.found
    assert [one.state for one in installation.system_libraries([PRESENT], [PRESENT])] == ["ok", "ok"]


def test_weights_are_held_against_the_hash_on_their_card(tmp_path: Path):
    assert {finding.state for finding in installation.weights()} == {"ok"}
    assert only(installation.weights(tmp_path)).state == "wrong"
    for file in shipped.CLONE.glob("vnp-nerf-furniture.*"):
        shutil.copy(file, tmp_path)
    assert only(installation.weights(tmp_path)).state == "ok"
    with (tmp_path / "vnp-nerf-furniture.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    finding = only(installation.weights(tmp_path))
    assert finding.state == "wrong"
    assert "its card says" in finding.found
    (tmp_path / "vnp-nerf-furniture.json").unlink()
    assert "its card says nothing" in only(installation.weights(tmp_path)).found


def test_a_wheel_without_weights_is_noted_and_a_named_folder_without_them_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(shipped.VARIABLE, raising=False)
    monkeypatch.setattr(shipped, "CLONE", tmp_path / "no" / "clone")
    finding = only(installation.weights())
    assert (finding.state, "a wheel brings none" in finding.found) == ("note", True)
    assert finding.advice.startswith("export VNP_NERF_WEIGHTS=")
    monkeypatch.setenv(shipped.VARIABLE, str(tmp_path))
    assert only(installation.weights()).state == "wrong"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU answers in the processor's place")
def test_bfloat16_and_amx_are_read_from_the_processors_flags(tmp_path: Path):
    def told(flags: str) -> Finding:
        file = tmp_path / flags
        file.write_text(f"processor : 0\nflags\t\t: fpu {flags}\n")
        return only(machine.bfloat16(file))

    assert told("amx_tile amx_bf16 avx512_bf16").found == "bfloat16 in hardware, AMX tiles"
    assert told("avx512_bf16").found == "bfloat16 in hardware, no AMX"
    assert told("avx2").state == "note"
    assert told("avx2").found.endswith("training computes in float32")
    assert only(machine.bfloat16(tmp_path / "nowhere")).state == "note"


def test_more_threads_than_a_containers_cores_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert machine.usable_cores(tmp_path) == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    finding = only(machine.threads(tmp_path))
    assert (finding.state, finding.advice) == ("note", "export OMP_NUM_THREADS=1")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert only(machine.threads(tmp_path, load=9.0)).state == "ok"
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.usable_cores(tmp_path) >= 1


def test_threads_on_a_busy_machine_are_told_to_sleep_while_they_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(machine, "usable_cores", lambda cgroup: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert only(machine.threads(tmp_path, load=1.5)).state == "ok"
    finding = only(machine.threads(tmp_path, load=5.0))
    assert (finding.state, finding.advice) == ("note", "export OMP_WAIT_POLICY=PASSIVE")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert only(machine.threads(tmp_path, load=5.0)).state == "ok"


def test_little_memory_and_little_room_are_wrong(tmp_path: Path):
    assert only(machine.memory(2**29)).state == "wrong"
    assert only(machine.memory(2**33)).found == "8.0 GiB free"
    assert only(machine.disk(tmp_path, 2**29)).state == "wrong"
    assert only(machine.disk(tmp_path, 2**33)).state == "ok"


def test_the_device_is_named():
    assert only(machine.device()).state != "wrong"


def test_an_examination_that_fails_is_a_finding_and_not_a_crash():
    def broken() -> list[Finding]:
        raise ImportError("libcudart.so:\n cannot open")

    finding = only(examined("torch", broken))
    assert (finding.state, finding.name) == ("wrong", "torch")
    assert finding.found == "could not be examined: ImportError: libcudart.so: cannot open"


def test_notes_do_not_fail_and_wrongs_exit_with_20(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fine, note = Finding("python", "ok", "3.11"), Finding("compiler", "note", "no g++", "install it")
    wrong = Finding("ffmpeg", "wrong", "not there", "sudo apt-get install ffmpeg")
    assert [exit_code(found) for found in ([], [fine, note], [fine, wrong])] == [0, 0, 20]
    monkeypatch.setattr(command, "EXAMINATIONS", {"all": lambda: [fine, note, wrong]})
    assert command.main([]) == 20
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "note", "wrong"]
    assert lines[2].endswith("->  sudo apt-get install ffmpeg")
    assert command.main(["--quiet"]) == 20
    assert capsys.readouterr().out.splitlines() == lines[2:]
    assert command.main(["--json"]) == 20
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 20
    assert told["findings"][2] == {
        "name": "ffmpeg",
        "state": "wrong",
        "found": "not there",
        "advice": "sudo apt-get install ffmpeg",
    }
    with pytest.raises(SystemExit) as stopped:
        command.main(["--nonsense"])
    assert stopped.value.code == 2


def test_every_examination_says_something_here(capsys: pytest.CaptureFixture[str]):
    command.main([])
    out = capsys.readouterr().out
    for name in ("python", "torch", "device", "bf16", "threads", "nerfstudio", "ffmpeg", "open3d", "weights"):
        assert name in out
    assert "could not be examined" not in out
