"""Checkpoints of runs: damage is found, and the one before steps in; nothing in them runs."""

import os
import pickle
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vnp_core.errors import CheckpointError
from vnp_nerf.face.checkpoints import read_checkpoint, read_latest_checkpoint, write_checkpoint

pytestmark = pytest.mark.fault("a damaged or hostile checkpoint")


def state(step: int) -> dict:
    return {"step": step, "pipeline": {"_model.weight": torch.full((4096,), float(step))}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of the steps 1, 2 and 3."""
    for step in (1, 2, 3):
        write_checkpoint(tmp_path / "models" / f"step-{step:09d}.ckpt", state(step), workspace=tmp_path)
    return tmp_path / "models"


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_the_latest_is_read_in_silence(folder: Path, capsys) -> None:
    path, read = read_latest_checkpoint(folder)
    assert (path.name, read["step"]) == ("step-000000003.ckpt", 3)
    assert capsys.readouterr().err == ""


def test_a_single_flipped_bit_is_found(folder: Path) -> None:
    path = folder / "step-000000003.ckpt"
    flip_a_bit(path)
    assert torch.load(path, weights_only=True)["step"] == 3  # torch itself does not look
    with pytest.raises(CheckpointError, match=r"step-000000003\.ckpt cannot be read: it is damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_a_corrupt_newest_checkpoint_falls_back_to_the_one_before_loudly(
    folder: Path, damage: str, capsys
) -> None:
    newest = folder / "step-000000003.ckpt"
    if damage == "flipped":
        flip_a_bit(newest)
    else:
        newest.write_bytes(newest.read_bytes()[: 5000 if damage == "truncated" else 0])
    path, read = read_latest_checkpoint(folder)
    assert (path.name, read["step"]) == ("step-000000002.ckpt", 2)
    said = capsys.readouterr().err
    assert "WARNING" in said
    assert "step-000000003.ckpt" in said
    assert "of step 2" in said


def test_a_step_that_was_asked_for_is_never_replaced_by_another(folder: Path) -> None:
    flip_a_bit(folder / "step-000000003.ckpt")
    with pytest.raises(CheckpointError, match="step-000000003"):
        read_latest_checkpoint(folder, step=3)
    assert read_latest_checkpoint(folder, step=1)[1]["step"] == 1


def test_where_all_are_corrupt_the_newest_is_named(folder: Path) -> None:
    for path in folder.iterdir():
        flip_a_bit(path)
    with pytest.raises(CheckpointError, match="step-000000003"):
        read_latest_checkpoint(folder)


def test_a_disk_that_takes_no_more_leaves_earlier_checkpoints_and_nothing_else(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written.*earlier checkpoints are intact"):
            write_checkpoint(folder / "step-000000004.ckpt", state(4), workspace=folder.parent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["models"]


def test_an_archive_that_unfolds_is_refused(folder: Path) -> None:
    path = folder / "step-000000003.ckpt"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


class Payload:
    """Unpickling one would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_in_a_checkpoint_does_not_run(tmp_path: Path, zipped: bool) -> None:
    mark, path = tmp_path / "mark", tmp_path / "step-000000001.ckpt"
    loaded = {"step": 1, "pipeline": {"a": torch.ones(1)}, "payload": Payload(mark)}
    torch.save(loaded, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # the payload is a live one


def test_a_pipeline_that_holds_something_else_than_tensors_is_refused(tmp_path: Path) -> None:
    for pipeline in ({"a": 3}, [1], {1: torch.ones(1)}):
        torch.save({"step": 1, "pipeline": pipeline}, tmp_path / "step-000000001.ckpt")
        with pytest.raises(CheckpointError, match="no tensors"):
            read_checkpoint(tmp_path / "step-000000001.ckpt")


class Maker:
    """Unpickling one calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("made", [Maker(bytearray, 10**11), Maker(torch.Tensor, 10**9, 100)])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_makes_as_large_a_thing_as_it_is_told_is_refused_unmade(
    folder: Path, made: Maker, protocol: int
) -> None:
    path = folder / "step-000000003.ckpt"
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    entries[pickled] = pickle.dumps({"step": 3, "pipeline": {"a": made}}, protocol=protocol)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match="cannot be read") as refused:
        read_checkpoint(path)
    assert "which no checkpoint of ours does" in str(refused.value.__cause__)
