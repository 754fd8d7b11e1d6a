"""Weights by name: out of a clone, out of a folder that the environment names, or by path."""

from pathlib import Path

import pytest

from vnp_core import shipped
from vnp_core.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone's folder with weights of two kinds."""
    monkeypatch.delenv(shipped.VARIABLE, raising=False)
    monkeypatch.setattr(shipped, "CLONE", tmp_path / "clone")
    for name in ("clone/a-one", "clone/1d/b-two"):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_names_need_no_prefix_and_are_looked_up_room_by_room(folder: Path) -> None:
    assert shipped.shipped_names((".", "1d")) == ["a-one", "b-two"]
    assert shipped.find_weights("one", "a-") == folder / "clone" / "a-one.safetensors"
    assert shipped.find_weights("a-one", "a-") == folder / "clone" / "a-one.safetensors"
    assert shipped.find_weights("two", "b-", ("1d", "2d")) == folder / "clone" / "1d" / "b-two.safetensors"
    with pytest.raises(CheckpointError, match=r"called 'two'.*a-one"):
        shipped.find_weights("two", "b-")


def test_a_path_wins_over_names_and_the_environments_folder_over_the_clones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "mine").mkdir()
    mine = folder / "mine" / "a-one.safetensors"
    mine.touch()
    assert shipped.find_weights(mine, "a-") == mine
    monkeypatch.setenv(shipped.VARIABLE, str(folder / "mine"))
    assert shipped.find_weights("one", "a-") == mine


def test_where_there_are_none_the_error_says_what_to_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "CLONE", folder / "site-packages")
    with pytest.raises(CheckpointError, match=r"set VNP_NERF_WEIGHTS to a folder.*a wheel brings none"):
        shipped.find_weights("furniture", "vnp-nerf-")
    with pytest.raises(CheckpointError, match=r"no weights at .*nowhere\.safetensors"):
        shipped.find_weights(folder / "nowhere.safetensors", "a-")
