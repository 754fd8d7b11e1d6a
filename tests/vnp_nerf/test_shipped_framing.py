"""Photographs of another framing than that of training, and an object whose place nobody states: what crops
and outlines are worth to the weights that ship.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vnp_nerf.cameras import pixel_centres, pixel_rays
from vnp_nerf.evaluation import pictures_over_white
from vnp_nerf.image_metrics import foreground, psnr
from vnp_nerf.library import load_model
from vnp_nerf.making import shapes
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.making.writer import WriterConfig, write_category
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.readers import ReadOptions, open_scene
from vnp_nerf.views import Views

pytest.importorskip("open3d")

CONTEXT, QUERY = (0, 1, 2), (5, 9)
ASIDE = Orbit(16, field_of_view=50.0, aside=8.0, roll=20.0)


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three test cars, small, aside and aslant in pictures of 128 x 128."""
    root = tmp_path_factory.mktemp("framing")
    names = shapes.identities("cars", 100)
    tested = shapes.split_identities(names)["test"][:3]
    sources = {name: shapes.ShapeSource("cars", 0, names.index(name)) for name in tested}
    config = WriterConfig(ASIDE, size=128)
    write_category(root, "cars", {"test": tested}, sources, shapes.load_shape, config, processes=1)
    return [root / "cars" / name for name in tested]


def _without_ball(folder: Path) -> Path:
    """The scene, which says no more where its object is."""
    file = folder / "transforms.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in meta.items() if "bounding" not in key}))
    return folder


@torch.no_grad()
def _scores(model: RadianceModel, folders: list[Path], options: ReadOptions) -> Tensor:
    """PSNR of each object's own pixels, dB, from three views."""
    found = []
    for folder in folders:
        scene = open_scene(folder, options)
        field = model.infer_field(model.encode(Views.from_scene(scene, CONTEXT)))
        query = Views.from_scene(scene, QUERY)
        seen, true = [], []
        for view, picture in enumerate(pictures_over_white(query)):
            shown = foreground(query.rgba[0, view])
            height, width = shown.shape
            pixels = pixel_centres(height, width)[shown]
            origins, directions = pixel_rays(
                query.camera_to_world[0, view], query.intrinsics[0, view], pixels
            )
            seen.append(field.render(origins.contiguous(), directions, background="white").rgb)
            true.append(picture[shown])
        found.append(psnr(torch.cat(seen)[None], torch.cat(true)[None]))
    return torch.tensor(found)


@pytest.mark.slow
def test_crops_and_outlines_bring_weights_what_they_know(cars: list[Path]):
    model, _ = load_model("shapes-cars-large")
    assert isinstance(model, RadianceModel)
    cropped = _scores(model, cars, ReadOptions())
    model.config = replace(model.config, context_crop=0.0)
    as_they_are = _scores(model, cars, ReadOptions())
    model.config = replace(model.config, context_crop=1.0)
    unstated = [_without_ball(folder) for folder in cars]
    by_outlines = _scores(model, unstated, ReadOptions(ball="outlines"))
    by_cameras = _scores(model, unstated, ReadOptions(ball="cameras"))
    print(f"cropped {cropped}, as they are {as_they_are}, outlines {by_outlines}, cameras {by_cameras}")
    assert cropped.mean() > 19
    assert cropped.mean() > as_they_are.mean() + 1
    assert by_outlines.mean() > cropped.mean() - 5
    assert by_outlines.mean() > by_cameras.mean() + 3
