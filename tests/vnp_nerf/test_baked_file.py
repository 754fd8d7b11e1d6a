"""A baked field's file gives back what was written, and nothing that was tampered with."""

import dataclasses
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vnp_core.errors import CheckpointError, OutputExistsError
from vnp_core.latents import LatentConfig
from vnp_nerf.baked_field import BakedGrid
from vnp_nerf.baked_file import BakedCard, open_baked, save_baked, settings_made, source_hash
from vnp_nerf.frames import ball_frame
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.views import Views

pytestmark = pytest.mark.fault("a damaged or hostile baked field")

SIDE = 10


def _grid() -> BakedGrid:
    generator = torch.Generator().manual_seed(0)
    filled = torch.rand(SIDE, SIDE, SIDE, generator=generator) > 0.7
    count = int(filled.sum())
    density = 300 * torch.rand(count, generator=generator)
    rgb = torch.randint(256, (count, 3), generator=generator, dtype=torch.uint8)
    return BakedGrid(1.05, filled, density.half(), rgb)


def _card(draw: int | None = 3) -> BakedCard:
    frame = ball_frame(torch.tensor([1.0, 2.0, 3.0]), 2.5)
    return BakedCard("chair", draw, "0123", frame)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_baked(tmp_path / "baked.safetensors", _grid(), _card())
    return tmp_path / "baked.safetensors"


@pytest.mark.parametrize("draw", [None, 0, 7])
def test_what_was_written_comes_back(tmp_path: Path, draw: int | None):
    save_baked(tmp_path / "new" / "b.safetensors", _grid(), _card(draw))
    grid, card = open_baked(tmp_path / "new" / "b.safetensors")
    for name in ("filled", "density", "rgb"):
        assert torch.equal(getattr(grid, name), getattr(_grid(), name)), name
    assert (grid.radius, card.scene, card.draw, card.source) == (1.05, "chair", draw, "0123")
    assert torch.equal(card.frame.to_matrix(), _card().frame.to_matrix())
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["b.safetensors"]


def test_law_11_the_same_field_gives_the_same_bytes(tmp_path: Path, path: Path):
    save_baked(tmp_path / "again.safetensors", _grid(), _card())
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_nothing_is_overwritten(path: Path):
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="overwritten"):
        save_baked(path, _grid(), _card())
    assert path.read_bytes() == before


DAMAGES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "another format": lambda tensors, head: head.update(format="vnp-weights-1"),
    "a key missing": lambda tensors, head: head.pop("source"),
    "an unknown key": lambda tensors, head: head.update(more="1"),
    "a tensor missing": lambda tensors, head: tensors.pop("rgb"),
    "an unknown tensor": lambda tensors, head: tensors.update(more=torch.zeros(3)),
    "another type": lambda tensors, head: tensors.update(density=tensors["density"].float()),
    "too few colours": lambda tensors, head: tensors.update(rgb=tensors["rgb"][1:].clone()),
    "a vast resolution": lambda tensors, head: head.update(resolution=100_000),
    "no number": lambda tensors, head: head.update(resolution="ten"),
    "another resolution": lambda tensors, head: head.update(resolution=11),
    "an infinite radius": lambda tensors, head: head.update(radius=float("inf")),
    "a draw that is none": lambda tensors, head: head.update(draw=True),
    "a frame that is none": lambda tensors, head: head.update(frame={}),
    "no frame": lambda tensors, head: head.update(frame=[1.0]),
    "another colour": lambda tensors, head: tensors["rgb"].__setitem__(0, 9),
    "a density of NaN": lambda tensors, head: tensors["density"].fill_(float("nan")),
    "vertices lost": lambda tensors, head: tensors["filled"].zero_(),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_file_that_was_tampered_with_is_one_error(damage: str, path: Path):
    raw = path.read_bytes()
    (entry, text), *_ = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])["__metadata__"].items()
    head, tensors = json.loads(text), load_file(path)
    DAMAGES[damage](tensors, head)
    save_file(tensors, path, metadata={entry: json.dumps(head)})
    with pytest.raises(CheckpointError, match="baked.safetensors"):
        open_baked(path)


@pytest.mark.parametrize(
    "metadata", [None, {"more": "1"}, {"baked": "{"}, {"baked": "[" * 100_000}, {"baked": "3"}]
)
def test_a_header_that_is_none_is_one_error(metadata: dict[str, str] | None, path: Path):
    save_file(load_file(path), path, metadata=metadata)
    with pytest.raises(CheckpointError, match="baked.safetensors"):
        open_baked(path)


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_a_truncated_file_is_one_error(size: int, path: Path):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="truncated"):
        open_baked(path)


def test_a_file_that_is_not_there_is_one_error(tmp_path: Path):
    with pytest.raises(CheckpointError, match="--bake"):
        open_baked(tmp_path / "none.safetensors")


def test_the_source_tells_weights_context_draw_and_configuration_apart():
    torch.manual_seed(0)
    model, other = RadianceModel(RadianceConfig(width=8)), RadianceModel(RadianceConfig(width=8))
    plain = RadianceModel(RadianceConfig(width=8, carve=False))
    plain.load_state_dict(model.state_dict())
    views, moved = Views.padding(1, 2, 4, 4), Views.padding(1, 2, 4, 4)
    moved.camera_to_world[0, 0, 0, 3] = 1
    asked = [
        (model, views, None),
        (model, views, 0),
        (model, moved, None),
        (other, views, None),
        (plain, views, None),
    ]
    hashes = [source_hash(*question) for question in asked]
    assert len(set(hashes)) == len(hashes)
    assert source_hash(model, views, 0) == hashes[1]


def test_a_setting_that_comes_later_leaves_the_source_as_it_is():
    @dataclasses.dataclass(frozen=True)
    class Later(RadianceConfig):
        setting: float = 0.5

    today = RadianceConfig(width=8, latents=LatentConfig(levels=3))
    fields = {field.name: getattr(today, field.name) for field in dataclasses.fields(today)}
    assert settings_made(Later(**fields)) == settings_made(today)
    assert settings_made(Later(**fields, setting=1.0)) != settings_made(today)
    assert settings_made(today)["width"] == 8
