"""The gallery: pictures show what their captions say, and the page shows the pictures that are there."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vnp_nerf
from vnp_nerf import gallery
from vnp_nerf.gallery import Exhibit, hidden_sides, sigmas, turntable, turntables, write_gif

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exhibit(tmp_path_factory: pytest.TempPathFactory) -> Exhibit:
    """A demo object in pictures of 16 x 16."""
    folder = tmp_path_factory.mktemp("small") / "cupcake"
    shutil.copytree(ROOT / "data/demo/furniture/blendswap-cc-0-cupcake", folder)
    for path in folder.glob("train/*.png"):
        Image.open(path).resize((16, 16), Image.Resampling.BOX).save(path)
    meta = json.loads((folder / "transforms.json").read_text())
    small = {name: value for name, value in meta.items() if name not in ("w", "h")}
    (folder / "transforms.json").write_text(json.dumps(small))
    return Exhibit(vnp_nerf.load("furniture", device="cpu"), vnp_nerf.open_scene(folder))


def test_a_turn_goes_about_the_object_from_where_it_was_told_to_start(
    exhibit: Exhibit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "SIDE", 16)
    field = exhibit.field(1)
    whole = turntable(field, 4, 0.0)
    later = turntable(field, 4, np.pi / 2)
    assert torch.equal(later[0], whole[1])
    assert torch.equal(later[3], whole[0])
    assert not torch.equal(whole[0], whole[2])


def test_turntables_stand_side_by_side_below_what_was_given(
    exhibit: Exhibit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "SIDE", 16)
    frames = turntables([exhibit, exhibit], (1, 2), 3)
    assert len(frames) == 3
    for top in (42, 100):  # of what turns; words and what was given are above
        left, right = (frames[1][top : top + 16, start : start + 16] for start in (8, 32))
        assert (left == right).all()  # the same object twice
        assert (left != frames[0][top : top + 16, 8:24]).any()
    write_gif(tmp_path / "turn.gif", frames, seconds=3)
    with Image.open(tmp_path / "turn.gif") as film:
        assert (film.n_frames, film.info["loop"], film.info["duration"]) == (3, 0, 1000)
        film.seek(2)
        error = np.abs(np.array(film.convert("RGB")).astype(int) - frames[2])
    assert error.mean() < 2


def test_the_hidden_side_is_seen_from_the_other_side(exhibit: Exhibit) -> None:
    positions = exhibit.scene.model_cameras().positions
    assert float(positions[exhibit.hidden_view(0)] @ positions[0]) < 0
    ((name, panels),) = hidden_sides([exhibit], draws=2)
    assert name == "cupcake"
    assert [panel.caption.split(",")[0] for panel in panels] == [
        "given",
        "its other side",
        "inferred: mean",
        "draw 0",
        "draw 1",
        "sigma",
    ]
    mean = exhibit.field(1).render(exhibit.scene.cameras[exhibit.hidden_view(0)], draws=0)
    assert torch.equal(panels[2].picture, mean.rgb)
    assert not torch.equal(panels[3].picture, panels[4].picture)


def test_more_views_leave_less_error(exhibit: Exhibit) -> None:
    rows = sigmas(exhibit, (1, 8))
    errors = [(panels[1].picture - panels[0].picture).square().mean() for _, panels in rows]
    assert errors[1] < errors[0]
    assert [name for name, _ in rows] == [
        "cupcake from 1 view",
        "cupcake from 8 views",
    ]


def test_the_page_shows_every_picture_and_no_other_and_they_are_small() -> None:
    page, folder = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8"), ROOT / "docs" / "gallery"
    assert set(re.findall(r"\(gallery/([\w.-]+)\)", page)) == {path.name for path in folder.iterdir()}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000


def test_the_command_makes_every_picture_of_the_page(
    load_script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load_script("make_gallery")
    made = []
    for name in ("write_gif", "write_png", "draw_predictions", "draw_completions"):
        monkeypatch.setattr(script, name, lambda path, *_, **__: made.append(path.name))
    monkeypatch.setattr(script, "turntables", lambda *_: [])
    monkeypatch.setattr(script, "hidden_sides", lambda *_, **__: [])
    monkeypatch.setattr(script, "sigmas", lambda *_: [])
    monkeypatch.setattr(script, "open_pictures", lambda *_: _grey_set())
    tmp_path.joinpath("gallery").mkdir()
    script.main(script.MakeGallery(output=tmp_path / "gallery"))
    assert set(made) == {path.name for path in (ROOT / "docs" / "gallery").iterdir()}


def _grey_set():
    from vnp_core.tasks.picture_data import PictureData
    from vnp_core.tasks.pictures import Pictures

    pixels = torch.full((2, 1, 28, 28), 128, dtype=torch.uint8)
    pictures = Pictures(pixels, torch.zeros(2, dtype=torch.int64))
    return PictureData("fashion-mnist", pictures, pictures)
