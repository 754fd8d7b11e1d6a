"""Packages fetched by their clients, with clients that the test brings."""

import os
import tarfile
from pathlib import Path

import pytest

from vnp_core.errors import DataError, MissingDependencyError
from vnp_core.packages import unpack_debian, unpack_npm


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs come before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def write_client(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_debian_package_is_downloaded_and_unpacked(tmp_path: Path, clients: Path) -> None:
    write_client(clients, "apt-get", '[ "$1" = download ] && echo content > "$2_1.0_all.deb"')
    write_client(clients, "dpkg-deb", 'mkdir -p "$3" && cp "$2" "$3/unpacked"')
    unpacked = unpack_debian("things", tmp_path / "work")
    assert (unpacked / "unpacked").read_text() == "content\n"


def test_an_npm_package_is_packed_and_unpacked(tmp_path: Path, clients: Path) -> None:
    (tmp_path / "file.json").write_text("{}")
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        archive.add(tmp_path / "file.json", "package/file.json")
    write_client(clients, "npm", f'cp "{tmp_path / "made.tgz"}" "$3-1.0.tgz"')
    unpacked = unpack_npm("things", tmp_path / "work")
    assert (unpacked / "file.json").read_text() == "{}"
    assert not list((tmp_path / "work").glob("*.tgz"))
    write_client(clients, "npm", 'echo torn > "$3-1.0.tgz"')
    with pytest.raises(DataError, match="can't be unpacked"):
        unpack_npm("things", tmp_path / "torn")


def test_failures_tell_what_the_client_said_and_what_to_do(tmp_path: Path, clients: Path) -> None:
    write_client(clients, "apt-get", "echo no such package >&2; exit 100")
    with pytest.raises(DataError, match="no such package.*or do it by hand"):
        unpack_debian("things", tmp_path / "work", advice="or do it by hand")
    write_client(clients, "apt-get", "exit 0")
    with pytest.raises(DataError, match="left no file"):
        unpack_debian("things", tmp_path / "work")
    write_client(clients, "npm", "exit 0")
    with pytest.raises(DataError, match="left no file"):
        unpack_npm("things", tmp_path / "work")
    with pytest.raises(DataError, match=r"absent\.deb doesn't exist.*packages\.debian\.org/things"):
        unpack_debian("things", tmp_path / "work", tmp_path / "absent.deb")


def test_machines_without_the_clients_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for unpack in (unpack_debian, unpack_npm):
        with pytest.raises(MissingDependencyError, match="isn't on this machine"):
            unpack("things", tmp_path / "work")
