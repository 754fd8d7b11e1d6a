from pathlib import Path

import pytest

from vnp_core.errors import ConfigError, OutputExistsError
from vnp_nerf.exporting.new_files import write_new


def test_files_are_written_with_their_folders(tmp_path: Path):
    write_new({tmp_path / "a" / "one": b"1", tmp_path / "b" / "two": b"2"})
    assert (tmp_path / "a" / "one").read_bytes() == b"1"
    assert (tmp_path / "b" / "two").read_bytes() == b"2"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


def test_one_that_is_there_keeps_all_from_being_written(tmp_path: Path):
    (tmp_path / "two").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="two exists already"):
        write_new({tmp_path / "one": b"1", tmp_path / "two": b"2"})
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    assert (tmp_path / "two").read_bytes() == b"mine"


def test_a_failure_half_way_leaves_nothing(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="two cannot be written"):
        write_new({tmp_path / "one": b"1", tmp_path / "file" / "two": b"2"})  # no folder can be there
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
