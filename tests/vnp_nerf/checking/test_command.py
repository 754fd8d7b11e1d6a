"""`vnp-scenes check` as a program: words, JSON, exit codes, and a drawing of each kind of capture."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vnp_nerf.checking import command
from vnp_nerf.checking.drawing import WIDTH

RED = np.array([215, 60, 50])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    monkeypatch.setattr(sys, "argv", ["vnp-scenes", "check", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    return stopped.value.code


def red_words(drawing: Path) -> int:
    """Red pixels in the lines of words at the top."""
    pixels = np.array(Image.open(drawing))
    assert pixels.shape[1] == WIDTH
    return int((np.abs(pixels[30:52].astype(int) - RED).sum(-1) < 60).sum())


def test_a_good_scene_exits_with_0_and_is_drawn(
    spoilt: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, spoilt()) == 0
    said = capsys.readouterr().out
    assert "bear: 24 views; the model would see views 0, 6, 20." in said
    assert "Nothing looks wrong." in said
    (drawing,) = Path("outputs/bear/vnp-scenes").glob("*.png")
    assert str(drawing) in said
    assert red_words(drawing) == 0


def test_a_spoilt_one_says_what_is_wrong_in_words_in_json_and_in_the_drawing(
    spoilt: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    folder = spoilt(poses=lambda poses: poses * np.array([1, -1, -1, 1]))
    drawing = tmp_path / "a" / "drawing.png"
    assert run(monkeypatch, folder, "--output", drawing, "--context", 1, 2) == 16
    said = capsys.readouterr().out
    assert "views 1, 2." in said
    assert "wrong: convention:" in said
    assert red_words(drawing) > 50
    assert Image.open(drawing).height < 1100  # without an epipolar check
    assert run(monkeypatch, folder, "--output", drawing) == 19
    assert run(monkeypatch, folder, "--output", tmp_path / "b.png", "--json") == 16
    told = json.loads(capsys.readouterr().out)
    assert [one["subject"] for one in told["diagnoses"]] == ["convention"]
    assert told["exit_code"] == 16


@pytest.mark.parametrize("views", [1, 2])
def test_few_views_without_a_common_object_are_drawn_as_well(
    views: int, spoilt: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = spoilt(views=views, nerfstudio=True)
    assert run(monkeypatch, folder, "--output", tmp_path / "drawing.png") == 17
    assert red_words(tmp_path / "drawing.png") > 50


def test_no_scene_and_unknown_options_have_codes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert run(monkeypatch, tmp_path, "--output", tmp_path / "drawing.png") == 14
    assert run(monkeypatch, tmp_path, "--nonsense") == 2
    assert not (tmp_path / "drawing.png").exists()
