"""The focus scene in the model's frame, and which of its views the model sees."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vnp_core.errors import SceneNotFoundError, ViewCountError
from vnp_nerf.face.dataparser import VNPSceneDataParser, VNPSceneDataParserConfig
from vnp_nerf.face.dataset import FocusDataset
from vnp_nerf.readers import ReadOptions, open_scene


def parser(data: Path, **options) -> VNPSceneDataParser:
    return VNPSceneDataParser(VNPSceneDataParserConfig(data=data, **options))


def test_context_and_eval_views_part_the_scene(collection: Path) -> None:
    made = parser(collection / "test" / "f", context=(1, 4))
    assert made.get_dataparser_outputs("train").views == (1, 4)
    assert made.get_dataparser_outputs("test").views == (0, 2, 3, 5)


def test_a_number_of_context_views_is_spread_evenly(collection: Path) -> None:
    scene = collection / "test" / "f"
    assert parser(scene, num_context=2).context == (0, 3)
    assert parser(scene).context == (0, 2, 4)


@pytest.mark.parametrize(
    "options", [{"context": (0, 6)}, {"context": ()}, {"num_context": 7}, {"num_context": 0}]
)
def test_views_that_a_scene_has_not_are_refused(collection: Path, options: dict) -> None:
    with pytest.raises(ViewCountError, match="f"):
        parser(collection / "test" / "f", **options)


def test_a_collection_looks_at_its_first_val_scene_or_the_named_one(collection: Path) -> None:
    assert parser(collection).scene.name == "val/d"
    assert parser(collection, scene="test/g").scene.name == "test/g"
    with pytest.raises(SceneNotFoundError, match="such as"):
        parser(collection, scene="test/x")


def test_a_scene_with_one_view_is_compared_with_it_and_filmed_around(make_scene, tmp_path: Path) -> None:
    made = parser(make_scene(tmp_path / "one", views=1))
    assert made.get_dataparser_outputs("test").views == (0,) + (None,) * 24


def test_undoing_the_transform_gives_back_the_cameras_of_the_file(collection: Path, tmp_path: Path) -> None:
    """A capture elsewhere in the world, turned and of another size."""
    shutil.copytree(collection / "test" / "f", tmp_path / "moved")
    file = tmp_path / "moved" / "transforms.json"
    meta = json.loads(file.read_text())
    angle = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    for frame in meta["frames"]:
        pose = np.array(frame["transform_matrix"])
        pose[:3] = angle @ pose[:3]
        pose[:3, 3] = 2.5 * pose[:3, 3] + [10.0, -3.0, 7.0]
        frame["transform_matrix"] = pose.tolist()
    file.write_text(json.dumps(meta))
    scene = open_scene(tmp_path / "moved", ReadOptions(frame="capture"))
    outputs = parser(
        tmp_path / "moved", context=(0, 1, 2), read=ReadOptions(frame="capture")
    ).get_dataparser_outputs()
    world = outputs.transform_poses_to_original_space(outputs.cameras.camera_to_worlds, "opengl")
    torch.testing.assert_close(world, scene.cameras.camera_to_world[:3], atol=1e-4, rtol=0)


def test_the_tools_see_the_context_enlarged_and_virtual_cameras_about_the_object(collection: Path) -> None:
    made = parser(collection / "test" / "f", context=(0, 3), orbit_cameras=5, orbit_size=48)
    outputs = made.get_dataparser_outputs("train", orbit=True)
    assert outputs.views == (0, 3, None, None, None, None, None)
    assert outputs.cameras.height.unique().tolist() == outputs.cameras.width.unique().tolist() == [48]
    plain = made.get_dataparser_outputs("train")
    torch.testing.assert_close(outputs.cameras.fx[:2], 2 * plain.cameras.fx)


def test_pictures_fit_their_cameras_and_virtual_ones_are_empty(collection: Path) -> None:
    made = parser(collection / "test" / "f", context=(0,), orbit_cameras=1, orbit_size=48)
    dataset = FocusDataset(made.get_dataparser_outputs("train", orbit=True))
    truth = made.scene.picture(0)
    large = dataset.get_numpy_image(0)
    assert large.shape == (48, 48, 4)
    assert abs(float(large[..., 3].mean()) - float(truth[..., 3].mean())) < 2
    assert not dataset.get_numpy_image(1).any()
    plain = FocusDataset(made.get_dataparser_outputs("train"))
    assert (plain.get_numpy_image(0) == truth).all()
    white = plain[0]["image"]
    assert white.shape == (24, 24, 3)
    assert (white[0, 0] == 1).all()
