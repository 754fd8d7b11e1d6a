"""nerfstudio's own programs, called in this process, on what `vnp-infer` writes.

The field is an opaque ball of a known radius, so that what they make has a closed form.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from vnp_nerf.context_choice import choose_context

WORLD_RADIUS = 4 * math.sin(math.radians(15))
"""World length of one model unit: the ball that just fits into the made scenes' views."""
STEP = 2 * 0.7 / 32
"""Length of a rendering interval through the ball's middle, model units."""


@pytest.fixture(scope="module")
def loaded(ball_run: Path):
    from nerfstudio.utils.eval_utils import eval_setup

    return eval_setup(ball_run)[1]


def test_every_output_of_a_ray_through_a_solid_ball_has_its_closed_form(loaded, ball_radius: float) -> None:
    from nerfstudio.cameras.rays import RayBundle

    origins = torch.tensor([[3.0, 0, 0], [0, 0, 3.0], [3.0, 0, 0]])
    directions = torch.tensor([[-1.0, 0, 0], [0, 0, -1.0], [0, 0, 1.0]])
    outputs = loaded.model(RayBundle(origins, directions, torch.ones(3, 1)))
    alpha, depth, normals = (outputs[name] for name in ("accumulation", "depth", "normals"))
    torch.testing.assert_close(alpha[:, 0], torch.tensor([1.0, 1.0, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(depth[:2, 0], torch.full((2,), 3 - ball_radius), atol=STEP, rtol=0)
    assert depth[2, 0] > 3 + 1  # behind all that an export looks at
    assert torch.equal(outputs["rgb"][2], torch.ones(3))
    torch.testing.assert_close(normals[:2] * 2 - 1, -directions[:2], atol=0.15, rtol=0)
    assert float(normals.min()) >= 0
    assert float(normals.max()) <= 1


def test_an_rgba_picture_is_free_of_its_background(loaded) -> None:
    alpha = torch.tensor([[1.0], [0.5], [0.0]])
    colour = torch.tensor([0.2, 0.4, 0.6])
    rgba = loaded.model.get_rgba_image({"rgb": alpha * colour + (1 - alpha), "accumulation": alpha})
    torch.testing.assert_close(rgba[:2, :3], colour.expand(2, 3))
    torch.testing.assert_close(rgba[:, 3:], alpha)


def test_a_crop_leaves_the_part_of_the_ball_inside_it(loaded, ball_radius: float) -> None:
    from nerfstudio.cameras.rays import RayBundle

    bundle = RayBundle(torch.tensor([[3.0, 0, 0]]), torch.tensor([[-1.0, 0, 0]]), torch.ones(1, 1))
    bundle.nears, bundle.fars = torch.tensor([[3.0]]), torch.tensor([[6.0]])  # the far half
    outputs = loaded.model.get_outputs(bundle)
    assert float(outputs["depth"]) == pytest.approx(3.0, abs=0.1)
    bundle.nears, bundle.fars = torch.tensor([[4.0]]), torch.tensor([[6.0]])
    assert float(loaded.model.get_outputs(bundle)["accumulation"]) == 0


def test_chunks_of_any_size_give_the_same_picture(loaded) -> None:
    camera = loaded.datamanager.eval_dataset.cameras[0:1]
    pictures = []
    for chunk in (64, 100_000):
        loaded.model.config.eval_num_rays_per_chunk = chunk
        pictures.append(loaded.model.get_outputs_for_camera(camera)["rgb"])
    torch.testing.assert_close(*pictures, atol=1e-5, rtol=0)


def test_pictures_are_those_of_nerfstudios_own_rays(loaded) -> None:
    camera = loaded.datamanager.eval_dataset.cameras[1:2]
    theirs = loaded.model.get_outputs_for_camera_ray_bundle(camera.generate_rays(0, keep_shape=True))
    for name, picture in loaded.model.get_outputs_for_camera(camera).items():
        torch.testing.assert_close(picture, theirs[name], atol=1e-3, rtol=0, msg=name)


def test_pixels_wider_than_the_fields_rays_are_means_over_several(loaded, monkeypatch) -> None:
    camera = loaded.datamanager.eval_dataset.cameras[1:2]
    fine = camera[0:1]
    fine.rescale_output_resolution(2)
    rays = loaded.model.get_outputs_for_camera(fine)
    one = loaded.model.get_outputs_for_camera(camera)
    pixel = float(camera.camera_to_worlds[0, :, 3].norm() / camera.fx)
    monkeypatch.setattr(loaded.model.field(), "ray_width", pixel / 2, raising=False)
    seen = loaded.model.get_outputs_for_camera(camera)
    assert set(seen) == set(one)

    def parts(name: str) -> torch.Tensor:
        return torch.stack([rays[name][y::2, x::2] for y in (0, 1) for x in (0, 1)])

    for name, picture in seen.items():
        assert picture.shape == one[name].shape
        if name in ("rgb", "depth", "accumulation", "normals") or name.startswith("sample_"):
            expected = parts(name).amin(0) if name == "depth" else parts(name).mean(0)
            torch.testing.assert_close(picture, expected, atol=1e-5, rtol=0, msg=name)
    # Draws disagree about the pixel, not about each of its rays; noise is that of its rays.
    draws = torch.stack([picture for name, picture in seen.items() if name.startswith("sample_")])
    torch.testing.assert_close(
        seen["epistemic"], draws.var(0).mean(-1, keepdim=True).sqrt(), atol=1e-5, rtol=0
    )
    noise = (parts("rgb_std").square() - parts("epistemic").square()).mean(0)
    variance = noise + seen["epistemic"].square()
    torch.testing.assert_close(seen["rgb_std"].square(), variance, atol=1e-5, rtol=0)
    assert bool((seen["epistemic"] < parts("epistemic").mean(0) - 1e-4).any())
    edge = (seen["accumulation"] > 0.2) & (seen["accumulation"] < 0.8)
    assert int(edge.sum()) > int(((one["accumulation"] > 0.2) & (one["accumulation"] < 0.8)).sum())


def test_a_picture_that_is_to_come_at_once_takes_one_ray_a_pixel(loaded, monkeypatch) -> None:
    camera = loaded.datamanager.eval_dataset.cameras[1:2]
    one = loaded.model.get_outputs_for_camera(camera)["rgb"]
    monkeypatch.setattr(loaded.model.field(), "ray_width", 1e-3, raising=False)
    assert not torch.equal(loaded.model.get_outputs_for_camera(camera)["rgb"], one)
    monkeypatch.setattr(loaded.model, "hurried", lambda: True)
    assert torch.equal(loaded.model.get_outputs_for_camera(camera)["rgb"], one)


def test_ns_eval_scores_the_unseen_views_of_the_scene(ball_run: Path, tmp_path: Path) -> None:
    from nerfstudio.scripts.eval import ComputePSNR

    ComputePSNR(ball_run, tmp_path / "scores.json", tmp_path / "pictures").main()
    results = json.loads((tmp_path / "scores.json").read_text())["results"]
    assert results["pictures"] == 4  # six views, two of them context
    assert {"psnr", "psnr_std", "psnr_fg", "ssim", "ssim_fg", "fps"} <= set(results)
    assert results["per_scene"]["ball"]["psnr"] == results["psnr"]
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 4


def test_ns_render_follows_the_turntable_that_infer_writes(ball_run: Path, tmp_path: Path) -> None:
    from nerfstudio.scripts.render import RenderCameraPath

    path = json.loads((ball_run.parent / "turntable.json").read_text())
    path["camera_path"] = path["camera_path"][::24]
    (tmp_path / "path.json").write_text(json.dumps(path))
    RenderCameraPath(
        load_config=ball_run,
        output_path=tmp_path / "images",
        output_format="images",
        image_format="png",
        camera_path_filename=tmp_path / "path.json",
        downscale_factor=8,
        rendered_output_names=["rgb", "depth", "normals"],
    ).main()
    pictures = [iio.imread(file) for file in sorted((tmp_path / "images").glob("*.png"))]
    assert [picture.shape for picture in pictures] == [(32, 96, 3)] * 3
    for picture in pictures:  # the ball in the middle of white, from every side
        assert (picture[0, :32] == 255).all()
        assert (picture[16, 16] != 255).any()


@pytest.mark.parametrize("command", ["interpolate", "spiral"])
def test_ns_render_makes_videos_along_its_own_paths(command: str, ball_run: Path, tmp_path: Path) -> None:
    from nerfstudio.scripts.render import RenderInterpolated, SpiralRender

    common = {"load_config": ball_run, "output_path": tmp_path / "film.mp4"}
    if command == "interpolate":
        RenderInterpolated(**common, interpolation_steps=2).main()
    else:
        SpiralRender(**common, seconds=0.25).main()
    assert iio.improps(tmp_path / "film.mp4").shape[1:] == (24, 24, 3)


def test_ns_render_dataset_writes_every_output_beside_the_truth(ball_run: Path, tmp_path: Path) -> None:
    from nerfstudio.scripts.render import DatasetRender

    DatasetRender(ball_run, tmp_path, split="test", image_format="png").main()
    deviations = {"rgb_std", "epistemic", "accumulation_std", "depth_std"}
    pictures = {"gt-rgb", "rgb", "depth", "accumulation", "normals", *(f"sample_{n}" for n in range(4))}
    assert {folder.name for folder in (tmp_path / "test").iterdir()} == pictures | deviations
    assert len(list((tmp_path / "test" / "rgb").rglob("*.png"))) == 4


def test_ns_render_dataset_renders_another_scene_at_another_size(
    ball_run: Path, collection: Path, tmp_path: Path
) -> None:
    from nerfstudio.scripts.render import DatasetRender

    DatasetRender(
        ball_run, tmp_path, data=collection / "test" / "g", downscale_factor=2, rendered_output_names=["rgb"]
    ).main()
    pictures = [iio.imread(file) for file in (tmp_path / "test" / "rgb").rglob("*.jpg")]
    assert [picture.shape for picture in pictures] == [(12, 12, 3)] * 4


def test_ns_export_cameras_lists_all_cameras(ball_run: Path, tmp_path: Path) -> None:
    from nerfstudio.scripts.exporter import ExportCameraPoses

    ExportCameraPoses(ball_run, tmp_path).main()
    assert len(json.loads((tmp_path / "transforms_train.json").read_text())) == 2 + 24
    assert len(json.loads((tmp_path / "transforms_eval.json").read_text())) == 4


def test_ns_export_pointcloud_covers_the_ball_in_the_world_frame(
    ball_run: Path, tmp_path: Path, ball_radius: float
) -> None:
    import open3d
    from nerfstudio.scripts.exporter import ExportPointCloud

    ExportPointCloud(
        ball_run, tmp_path, num_points=2000, num_rays_per_batch=4096, save_world_frame=True
    ).main()
    cloud = open3d.io.read_point_cloud(str(tmp_path / "point_cloud.ply"))
    points, normals = np.asarray(cloud.points), np.asarray(cloud.normals)
    radii = np.linalg.norm(points, axis=1)
    assert abs(np.median(radii) - ball_radius * WORLD_RADIUS) < STEP
    assert np.percentile(np.abs(radii - ball_radius * WORLD_RADIUS), 95) < 2 * STEP
    outward = (normals * points / radii[:, None]).sum(axis=1)
    assert np.median(outward) > 0.9
    octants = (points > 0).astype(int) @ [1, 2, 4]
    assert (
        np.bincount(octants, minlength=8) > len(points) / 40
    ).all()  # all sides, though two views were given


def test_ns_export_tsdf_gives_a_closed_ball(ball_run: Path, tmp_path: Path, ball_radius: float) -> None:
    import trimesh
    from nerfstudio.scripts.exporter import ExportTSDFMesh

    ExportTSDFMesh(ball_run, tmp_path, resolution=[48, 48, 48], num_pixels_per_side=64).main()
    mesh = trimesh.load(tmp_path / "tsdf_mesh.ply", force="mesh")
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert np.percentile(np.abs(radii - ball_radius), 95) < 2 * 2 / 48
    assert mesh.is_watertight
    assert (tmp_path / "mesh.obj").exists()
    assert (tmp_path / "material_0.png").exists()


def test_ns_export_poisson_gives_the_ball(ball_run: Path, tmp_path: Path, ball_radius: float) -> None:
    import trimesh
    from nerfstudio.scripts.exporter import ExportPoissonMesh

    ExportPoissonMesh(
        ball_run, tmp_path, num_points=3000, num_rays_per_batch=4096, texture_method="point_cloud"
    ).main()
    mesh = trimesh.load(tmp_path / "poisson_mesh.ply", force="mesh")
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert abs(np.median(radii) - ball_radius) < STEP


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    """The viewer calls back from threads of its own."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ns_viewer_renders_what_a_visitor_sees(
    loaded, ball_run: Path, tmp_path: Path, ball_radius: float
) -> None:
    from threading import Lock
    from unittest.mock import MagicMock

    from nerfstudio.cameras.cameras import CameraType
    from nerfstudio.configs.base_config import ViewerConfig
    from nerfstudio.viewer.render_state_machine import RenderStateMachine
    from nerfstudio.viewer.utils import CameraState
    from nerfstudio.viewer.viewer import Viewer

    viewer = Viewer(ViewerConfig(), tmp_path / "log.txt", tmp_path, loaded, train_lock=Lock())
    try:
        viewer.init_scene(loaded.datamanager.train_dataset, "completed", loaded.datamanager.eval_dataset)
        pose = torch.tensor([[0.0, 0, 1, 3], [1, 0, 0, 0], [0, 1, 0, 0]])
        outputs = RenderStateMachine(viewer, 10.0, MagicMock())._render_img(
            CameraState(fov=0.6, aspect=1.0, c2w=pose, camera_type=CameraType.PERSPECTIVE)
        )
        model, field = loaded.model, loaded.model.field()
        elements = {path.split("/")[-1]: element for path, element in viewer.viewer_elements}
        elements["latents_draw"].value = 7
        wait_until(lambda: model.config.draw == 7 and model.field() is not field)
        elements["latents_draw"].value = -1
        wait_until(lambda: model.config.draw is None)
        elements["context_count"].value = 5
        chosen = " ".join(map(str, choose_context(loaded.datamanager.dataparser.scene, None, 5)))
        wait_until(lambda: elements["context_views"].value == chosen)
        wait_until(lambda: len(viewer.camera_handles) == 5)
    finally:
        viewer.viser_server.stop()
        loaded.vnp.set_context(loaded.datamanager.focus_context)
    height, width = outputs["rgb"].shape[:2]
    assert float(outputs["accumulation"][height // 2, width // 2]) == pytest.approx(1, abs=1e-3)
    assert float(outputs["gl_z_buf_depth"][height // 2, width // 2]) == pytest.approx(
        3 - ball_radius, abs=2 * STEP
    )
