"""What a notebook does: load, infer, render, sample, mesh; on a demo scene with shipped weights."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vnp_nerf
from vnp_core.errors import CameraError, CheckpointError, ConfigError, DataError, PictureError, ViewCountError
from vnp_nerf.cameras import Cameras
from vnp_nerf.culled_field import CulledField
from vnp_nerf.inferred_field import InferredField
from vnp_nerf.library import build_model, save_model
from vnp_nerf.loaded_model import LoadedModel
from vnp_nerf.paper import PaperConfig
from vnp_nerf.rendering import render_picture
from vnp_nerf.views import Views

TEDDY = Path(__file__).parents[2] / "data/demo/furniture/blendswap-cc-0-teddybear"
CONTEXT = [0, 8, 16]
SIZE = (24, 24)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return vnp_nerf.load("furniture", device="cpu")


@pytest.fixture(scope="module")
def scene() -> vnp_nerf.Scene:
    return vnp_nerf.open_scene(str(TEDDY))


@pytest.fixture(scope="module")
def field(model: LoadedModel, scene: vnp_nerf.Scene) -> InferredField:
    return model.infer(scene, views=CONTEXT)


@pytest.fixture(scope="module")
def pictures(scene: vnp_nerf.Scene) -> list[np.ndarray]:
    return [scene.picture(view) for view in CONTEXT]


def test_a_picture_is_what_the_models_own_field_shows(
    model: LoadedModel, scene: vnp_nerf.Scene, field: InferredField
):
    seen = field.render(scene.cameras[4], size=SIZE, draws=0)
    camera = scene.model_cameras()[4].scaled_to(*SIZE)
    with torch.no_grad():
        encoded = model.model.encode(Views.from_scene(scene, CONTEXT))
        slow = model.model.infer_field(encoded)
        expected = render_picture(
            CulledField(slow), camera.camera_to_world[0], camera.intrinsics[0], *SIZE, background="white"
        )
        twin = render_picture(slow, camera.camera_to_world[0], camera.intrinsics[0], *SIZE)
    assert torch.allclose(seen.rgb, expected.rgb, atol=1e-5)
    assert torch.allclose(seen.accumulation, expected.alpha, atol=1e-5)
    assert torch.allclose(seen.depth, expected.depth / scene.frame.scale, atol=1e-4)
    assert (seen.rgb - twin.rgb).abs().max() < 0.02
    assert seen.sigma is None
    assert seen.image().size == (24, 24)
    truth = torch.from_numpy(scene.picture(4)).float() / 255
    mask = torch.nn.functional.adaptive_avg_pool2d(truth[None, ..., 3], SIZE)[0]
    assert (seen.accumulation - mask).abs().mean() < 0.1


def test_a_wider_picture_shows_more_at_the_sides(scene: vnp_nerf.Scene, field: InferredField):
    square = field.render(scene.cameras[4], size=SIZE, draws=0)
    wide = field.render(scene.cameras[4], size=(24, 36), draws=0)
    assert wide.rgb.shape == (24, 36, 3)
    torch.testing.assert_close(wide.rgb[:, 6:30], square.rgb, atol=1e-3, rtol=0)
    assert square.accumulation.max() > 0.9


@pytest.mark.parametrize("form", ["cameras", "matrices", "scene"])
def test_arrays_and_cameras_give_the_field_that_the_scene_gives(
    form: str,
    model: LoadedModel,
    scene: vnp_nerf.Scene,
    field: InferredField,
    pictures: list[np.ndarray],
):
    if form == "cameras":
        other = model.infer(pictures, scene.cameras[CONTEXT], frame="canonical")
    elif form == "matrices":
        matrices = scene.cameras.camera_to_world[CONTEXT].numpy()
        other = model.infer(pictures, matrices, field_of_view=30, frame="canonical")
    else:
        other = model.infer(pictures, scene, views=CONTEXT)
    expected = field.render(scene.cameras[4], size=SIZE, draws=0)
    seen = other.render(scene.cameras[4], size=SIZE, draws=0)
    assert torch.allclose(seen.rgb, expected.rgb, atol=1e-4)


def test_a_pose_alone_is_seen_with_the_lens_of_the_first_context_camera(
    scene: vnp_nerf.Scene, field: InferredField
):
    by_pose = field.render(scene.cameras.camera_to_world[4].tolist(), size=SIZE, draws=0)
    by_angle = field.render(scene.cameras.camera_to_world[4], size=SIZE, field_of_view=30, draws=0)
    expected = field.render(scene.cameras[4], size=SIZE, draws=0)
    assert torch.allclose(by_pose.rgb, expected.rgb, atol=1e-5)
    assert torch.allclose(by_angle.rgb, expected.rgb, atol=1e-3)


def test_sigma_is_the_spread_of_the_sampled_fields(scene: vnp_nerf.Scene, field: InferredField):
    seen = field.render(scene.cameras[4], size=SIZE, draws=3)
    draws = [draw.render(scene.cameras[4], size=SIZE) for draw in field.sample(3)]
    assert all(draw.sigma is None for draw in draws)
    spread = torch.stack([draw.rgb for draw in draws]).double().var(dim=0).mean(-1).sqrt()
    assert seen.sigma is not None
    assert seen.sigma.max() > 1e-4
    # Seen together, the draws share the space that any of them fills: faint cells of the others count too.
    assert (seen.sigma - spread).abs().max() < 0.25 * spread.max()
    assert seen.sigma.mean() == pytest.approx(float(spread.mean()), rel=0.1)


def test_the_same_seed_is_the_same_field_and_others_differ(scene: vnp_nerf.Scene, field: InferredField):
    (second,) = field.sample(1, seed=1)
    first, again = (draw.render(scene.cameras[4], size=SIZE).rgb for draw in field.sample(2))
    assert torch.equal(second.render(scene.cameras[4], size=SIZE).rgb, again)
    assert not torch.equal(first, again)


def moved(cameras: Cameras) -> tuple[Cameras, torch.Tensor, float]:
    """The same cameras in a world of other axes, origin and unit of length."""
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    shift, scale = torch.tensor([30.0, -7, 12]), 25.0
    poses = turn @ cameras.camera_to_world
    poses[:, :, 3] = scale * poses[:, :, 3] + shift
    return Cameras(poses, cameras.intrinsics, cameras.sizes), shift, scale


def test_pictures_depths_and_meshes_are_in_the_world_that_the_user_gave(
    model: LoadedModel, scene: vnp_nerf.Scene, field: InferredField, pictures: list[np.ndarray]
):
    cameras, shift, scale = moved(scene.cameras)
    place: dict[str, Any] = {"centre": shift.tolist(), "radius": scale / scene.frame.scale}
    other = model.infer(pictures, cameras[CONTEXT], frame="canonical", **place)
    here, there = (
        one.render(of[4], size=SIZE, draws=0) for one, of in ((field, scene.cameras), (other, cameras))
    )
    assert torch.allclose(here.accumulation, there.accumulation, atol=0.1)
    assert torch.allclose(here.depth, there.depth / scale, atol=0.1)
    mesh, expected = other.mesh(24, draws=0), field.mesh(24, draws=0)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(scale**3 * expected.volume, rel=0.1)
    assert np.abs(mesh.bounds - shift.numpy()).max() < 1.1 * scale


def test_a_meshes_vertices_have_colours_and_sigmas(field: InferredField):
    plain, mesh = field.mesh(16, draws=0), field.mesh(16, draws=2)
    assert "colour_sigma" not in plain.vertex_attributes
    assert np.allclose(plain.vertices, mesh.vertices)
    assert mesh.visual.vertex_colors.shape == (len(mesh.vertices), 4)
    assert mesh.vertex_attributes["colour_sigma"].shape == (len(mesh.vertices),)
    assert mesh.vertex_attributes["density_sigma"].max() > 0


def test_masks_cut_the_object_out_and_their_lack_is_told(
    model: LoadedModel, scene: vnp_nerf.Scene, pictures: list[np.ndarray], field: InferredField
):
    flat = [picture[..., :3] for picture in pictures]
    masks = [picture[..., 3] for picture in pictures]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked = model.infer(flat, scene, views=CONTEXT, masks=masks)
    expected = field.render(scene.cameras[4], size=SIZE, draws=0)
    assert torch.equal(masked.render(scene.cameras[4], size=SIZE, draws=0).rgb, expected.rgb)
    with pytest.warns(UserWarning, match="masks="):
        model.infer(flat, scene, views=CONTEXT)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ConfigError, "no cameras"),
        (
            {"cameras": np.eye(4)[None].repeat(2, 0), "focal": 9},
            CameraError,
            "3 pictures came with 2 cameras",
        ),
        ({"cameras": np.eye(4), "focal": 9}, CameraError, "3 pictures came with 1 cameras"),
        ({"cameras": np.eye(4)[None].repeat(3, 0)}, ConfigError, "given: none"),
        ({"cameras": np.eye(4)[None].repeat(3, 0), "views": [1]}, ConfigError, "without views"),
        ({"cameras": 5.0}, CameraError, "shape"),
        ({"cameras": None, "masks": [np.zeros((2, 2))]}, DataError, "1 masks"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments: dict, error: type[Exception], words: str, model: LoadedModel, pictures: list[np.ndarray]
):
    with pytest.raises(error, match=words):
        model.infer(pictures, **arguments)


def test_scenes_refuse_what_they_know_themselves(
    model: LoadedModel, scene: vnp_nerf.Scene, pictures: list[np.ndarray]
):
    with pytest.raises(ConfigError, match="without focal"):
        model.infer(scene, focal=3)
    with pytest.raises(ViewCountError, match="views 0 to 23"):
        model.infer(scene, views=[24])
    with pytest.raises(CameraError, match="3 pictures came with 24 cameras"):
        model.infer(pictures, scene)
    with pytest.raises(PictureError, match="picture 0 has 64 x 128"):
        model.infer([picture[::2] for picture in pictures], scene, views=CONTEXT)
    with pytest.raises(DataError, match="no pictures"):
        model.infer([], scene)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"draws": 1}, ConfigError, "no spread"),
        ({"background": "pink", "draws": 0}, ConfigError, "pink"),
        ({"background": torch.zeros(24, 24, 3), "draws": 0}, ConfigError, r"colour \[3\]"),
        ({"size": (0, 4)}, CameraError, "size is"),
        ({"focal": 3.0}, ConfigError, "has a lens"),
    ],
)
def test_pictures_that_cannot_be_are_refused(
    changes: dict, error: type[Exception], words: str, scene: vnp_nerf.Scene, field: InferredField
):
    with pytest.raises(error, match=words):
        field.render(scene.cameras[4], **{"size": SIZE, **changes})


def test_render_takes_one_camera_and_sample_one_draw_or_more(scene: vnp_nerf.Scene, field: InferredField):
    with pytest.raises(CameraError, match="one camera a call; given: 24"):
        field.render(scene.cameras)
    with pytest.raises(ConfigError, match="0 draws"):
        field.sample(0)


def test_a_coloured_background_is_seen_where_the_object_is_not(scene: vnp_nerf.Scene, field: InferredField):
    seen = field.render(scene.cameras[4], size=SIZE, background=torch.tensor([0.2, 0.4, 0.6]), draws=0)
    assert torch.allclose(seen.rgb[0, 0], torch.tensor([0.2, 0.4, 0.6]))


def test_unknown_weights_and_the_papers_model_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="furnitures"):
        vnp_nerf.load("furnitures")
    with torch.device("meta"):
        paper = build_model(PaperConfig())
    save_model(tmp_path / "paper.safetensors", paper.to_empty(device="cpu"), {})
    with pytest.raises(ConfigError, match="vnp-infer"):
        vnp_nerf.load(tmp_path / "paper.safetensors")
