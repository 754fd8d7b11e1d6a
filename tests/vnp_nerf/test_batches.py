import json
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vnp_core.errors import ConfigError, PictureError, SceneError, SceneNotFoundError, ViewCountError
from vnp_nerf.batches import BatchConfig, SceneSampler, TrainBatch
from vnp_nerf.cameras import project
from vnp_nerf.readers import open_scene
from vnp_nerf.views import Views

CONFIG = BatchConfig(scenes_per_batch=3, rays_per_scene=40, cache_mebibytes=8)
TENSORS = ("rgba", "camera_to_world", "intrinsics", "sizes", "mask")


@pytest.fixture
def folders(tmp_path, write_scene) -> list[Path]:
    """Five scenes of six views; the fourth has larger pictures."""
    sizes = [(16, 20)] * 3 + [(24, 18)] + [(16, 20)]
    return [write_scene(tmp_path / f"s{i}", height=h, width=w) for i, (h, w) in enumerate(sizes)]


def flat(batch: TrainBatch) -> list[torch.Tensor]:
    views = [getattr(part, name) for part in (batch.context, batch.targets) for name in TENSORS]
    return [*views, batch.origins, batch.directions, batch.rgba]


def assert_same(first: TrainBatch, second: TrainBatch) -> None:
    assert first.scene_names == second.scene_names
    for one, other in zip(flat(first), flat(second), strict=True):
        assert torch.equal(one, other)


def view_numbers(views: Views, row: int) -> list[int]:
    """The fixture's pictures carry the number of their view in blue."""
    return [int(value) for value in (views.rgba[row, views.mask[row], 2, 0, 0] * 255).round()]


def test_a_batch_has_the_shapes_that_its_config_says(folders):
    batch = SceneSampler(folders, replace(CONFIG, min_context_views=2, max_context_views=2)).batch(0)
    assert batch.context.rgba.shape[:3] == (3, 2, 4)
    assert batch.targets.rgba.shape[:3] == (3, 2, 4)
    assert batch.origins.shape == batch.directions.shape == (3, 40, 3)
    assert batch.rgba.shape == (3, 40, 4)
    assert len(set(batch.scene_names)) == 3
    torch.testing.assert_close(batch.directions.norm(dim=-1), torch.ones(3, 40))


def test_each_ray_carries_the_pixel_that_it_passes_through(folders):
    # Red and green of these pictures are column and row, so each ray's colour says where it must project to.
    for step in range(5):
        batch = SceneSampler(folders, CONFIG).batch(step)
        found = torch.zeros(3, 40, dtype=torch.bool)
        for view in range(2):
            pose = batch.targets.camera_to_world[:, None, view]
            pixels, _ = project(
                batch.origins + 2 * batch.directions, pose, batch.targets.intrinsics[:, None, view]
            )
            own = (batch.origins - pose[..., 3]).norm(dim=-1) < 1e-6
            blue = batch.targets.rgba[:, view, 2, 0, 0]
            own &= batch.rgba[..., 2] == blue[:, None]
            expected = (batch.rgba[..., :2] * 255).round() + 0.5
            torch.testing.assert_close(pixels[own], expected[own], atol=1e-3, rtol=0)
            found |= own
        assert found.all()


def with_depth(folder: Path, edit_scene) -> Path:
    """Levels of a view that say view, row and column."""
    meta = json.loads((folder / "transforms.json").read_text())
    for view in range(len(meta["frames"])):
        with Image.open(folder / f"r_{view}.png") as picture:
            width, height = picture.size
        y, x = np.mgrid[:height, :width]
        Image.fromarray((10000 * view + 100 * y + x).astype(np.uint16)).save(folder / f"d_{view}.png")

    def change(meta: dict) -> None:
        meta["depth_scale"] = 0.001
        for view, frame in enumerate(meta["frames"]):
            frame["depth_path"] = f"d_{view}.png"

    return edit_scene(folder, change)


def test_each_ray_carries_the_depth_of_its_pixel(folders, edit_scene):
    scenes = [with_depth(folder, edit_scene) for folder in folders]
    scales = {folder.name: open_scene(folder).frame.scale for folder in scenes}
    config = replace(CONFIG, depth=True, mirror_fraction=0.5)
    for step in range(3):
        batch = SceneSampler(scenes, config).batch(step)
        assert batch.depth is not None
        scale = torch.tensor([[0.001 * scales[name]] for name in batch.scene_names])
        column, row, view = (batch.rgba[..., :3] * 255).round().unbind(-1)
        levels = 10000 * view + 100 * row + column
        expected = torch.where(levels > 0, levels * scale, torch.inf)
        torch.testing.assert_close(batch.depth, expected)
        assert torch.equal(batch.to("cpu").depth, batch.depth)
        # And so does each pixel of the context, mirrored or not; beyond a picture all is 0.
        assert batch.context_depth is not None
        column, row, view = (batch.context.rgba[:, :, :3] * 255).round().unbind(2)
        levels = 10000 * view + 100 * row + column
        expected = torch.where(levels > 0, levels * scale[..., None, None], torch.inf)
        torch.testing.assert_close(batch.context_depth, expected)
    same = SceneSampler(scenes, replace(config, depth=False)).batch(2)
    assert same.depth is None
    assert same.context_depth is None
    assert_same(same, batch)


def test_a_context_can_be_coarser_than_what_rays_learn_from(folders, edit_scene):
    scenes = [with_depth(folder, edit_scene) for folder in folders]
    config = replace(CONFIG, depth=True, max_context_views=3)
    for step in range(3):
        fine = SceneSampler(scenes, config).batch(step)
        batch = SceneSampler(scenes, replace(config, context_shrink=3)).batch(step)
        for one, other in zip(flat(fine)[5:], flat(batch)[5:], strict=True):
            assert torch.equal(one, other)
        assert_views(batch.context, fine.context.shrunk(3))
        # The depth of a small pixel is that of the one in its middle.
        assert fine.context_depth is not None
        assert batch.context_depth is not None
        for row, sizes in enumerate(batch.context.sizes.tolist()):
            for view, (height, width) in enumerate(sizes):
                whole = fine.context_depth[row, view, 1::3, 1::3]
                assert torch.equal(batch.context_depth[row, view, :height, :width], whole[:height, :width])


def assert_views(first: Views, second: Views) -> None:
    for name in TENSORS:
        torch.testing.assert_close(getattr(first, name), getattr(second, name))


def test_scenes_without_depth_cannot_give_it(folders):
    with pytest.raises(SceneError, match=r"without depth, and batches\.depth.*make_scenes\.py --depth"):
        SceneSampler(folders, replace(CONFIG, depth=True)).batch(0)


def test_the_views_of_a_batch_are_those_of_the_scene_in_the_models_frame(folders):
    batch = SceneSampler(folders, CONFIG).batch(3)
    for row, name in enumerate(batch.scene_names):
        scene = open_scene(next(folder for folder in folders if folder.name == name))
        expected = Views.from_scene(scene, view_numbers(batch.context, row))
        height, width = expected.rgba.shape[-2:]
        assert torch.equal(batch.context.rgba[row : row + 1, :, :, :height, :width], expected.rgba)
        assert batch.context.rgba[row, :, :, height:].abs().sum() == 0
        for field in TENSORS[1:]:
            assert torch.equal(getattr(batch.context, field)[row : row + 1], getattr(expected, field))


def test_context_and_targets_share_no_view_and_vary(folders):
    sampler = SceneSampler(folders, CONFIG)
    counts, views = set(), set()
    for step in range(40):
        batch = sampler.batch(step)
        counts.add(batch.context.count)
        for row in range(3):
            context, targets = view_numbers(batch.context, row), view_numbers(batch.targets, row)
            assert len({*context, *targets}) == len(context) + len(targets)
            views |= {*context}
    assert counts == {1, 2, 3}
    assert views == set(range(6))


def test_foreground_rays_stay_in_the_objects_box_and_the_others_go_everywhere(tmp_path, write_scene):
    folder = write_scene(tmp_path / "s", height=32, width=32, margin=12)
    config = BatchConfig(scenes_per_batch=1, rays_per_scene=4000, foreground_fraction=0.75)
    places = (SceneSampler([folder], config).batch(0).rgba[0, :, :2] * 255).round()
    inside = ((places >= 10) & (places < 22)).all(-1)  # the margin of 12, less 2 pixels on each side
    assert inside[:3000].all()
    share = (12 / 32) ** 2
    assert abs(float(inside[3000:].float().mean()) - share) < 5 * (share * (1 - share) / 1000) ** 0.5
    assert (places[3000:].amin(0) == 0).all()
    assert (places[3000:].amax(0) == 31).all()


def test_pixels_are_drawn_evenly(tmp_path, write_scene):
    folder = write_scene(tmp_path / "s", height=4, width=5, margin=0)
    config = BatchConfig(scenes_per_batch=1, rays_per_scene=20000)
    places = (SceneSampler([folder], config).batch(0).rgba[0, :, :2] * 255).round().long()
    counts = torch.bincount(places[:, 1] * 5 + places[:, 0], minlength=20).double()
    # Pearson's statistic with 19 degrees of freedom passes 43.8 once in a thousand draws.
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 43.8


def test_a_batch_depends_on_seed_and_step_alone(folders):
    first, second = SceneSampler(folders, CONFIG, seed=5), SceneSampler(folders, CONFIG, seed=5)
    stream = [next(first) for _ in range(4)]
    for step in (3, 0, 2):
        assert_same(second.batch(step), stream[step])
    assert not torch.equal(stream[0].rgba, stream[1].rgba)
    other_seed = SceneSampler(folders, CONFIG, seed=6).batch(0)
    assert other_seed.rgba.shape != stream[0].rgba.shape or not torch.equal(other_seed.rgba, stream[0].rgba)


def test_a_resumed_stream_goes_on_exactly_where_it_stopped(folders):
    sampler = SceneSampler(folders, CONFIG)
    stream = [next(sampler) for _ in range(5)]
    assert sampler.step == 5
    resumed = SceneSampler(folders, CONFIG, start=3)
    assert_same(next(resumed), stream[3])
    sampler.step = 1
    assert_same(next(sampler), stream[1])


def test_a_small_cache_changes_no_batch(folders):
    large, none = SceneSampler(folders, CONFIG), SceneSampler(folders, replace(CONFIG, cache_mebibytes=0))
    large.preload(progress=False)
    for step in range(3):
        assert_same(large.batch(step), none.batch(step))


def test_opened_scenes_serve_as_well_as_paths(folders):
    scenes = [open_scene(folder) for folder in folders]
    assert_same(SceneSampler(scenes, CONFIG).batch(1), SceneSampler(folders, CONFIG).batch(1))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_same_bytes_in_the_same_order(folders, workers):
    plain = SceneSampler(folders, CONFIG, start=2)
    parallel = SceneSampler(folders, replace(CONFIG, workers=workers), start=2)
    for _ in range(5):
        assert_same(next(parallel), next(plain))
    parallel.step = plain.step = 0
    assert_same(next(parallel), next(plain))


def test_an_error_in_a_worker_is_raised_here_with_its_own_words(folders):
    for picture in folders[0].glob("*.png"):
        picture.write_bytes(picture.read_bytes()[:50])
    sampler = SceneSampler(folders[:1], replace(CONFIG, workers=1))
    with pytest.raises(PictureError) as caught:
        next(sampler)
    assert str(caught.value).startswith(str(folders[0])) or "r_" in str(caught.value)
    assert "Traceback" not in str(caught.value)


DEAD_WORKER = """
import os, signal, sys
from pathlib import Path
from vnp_core.errors import DataError
from vnp_nerf.batches import BatchConfig, SceneSampler

sampler = SceneSampler([Path(sys.argv[1])], BatchConfig(scenes_per_batch=1, workers=1))
next(sampler)
try:
    os.kill(sampler._stream._workers[0].pid, signal.SIGKILL)
    for _ in range(100):  # a few batches that it had already sent may still come
        next(sampler)
except (DataError, RuntimeError) as error:  # the latter is torch's own, between two batches
    print("worker" in str(error))
"""


@pytest.mark.fault("a dead data worker")
def test_a_dead_worker_is_an_error_and_not_a_wait(folders):
    # In a process of its own: torch raises from a signal handler, wherever the program happens to be.
    command = [sys.executable, "-c", DEAD_WORKER, str(folders[0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_a_sampler_can_be_pickled_for_workers_that_are_not_forked(folders):
    maker = SceneSampler(folders, CONFIG)._maker
    maker.batch(0)
    assert_same(pickle.loads(pickle.dumps(maker)).batch(4), maker.batch(4))


def test_more_scenes_than_there_are_means_repeats(folders):
    batch = SceneSampler(folders[:1], replace(CONFIG, scenes_per_batch=4)).batch(0)
    assert batch.scene_names == ["s0"] * 4


def test_scenes_with_few_views_get_padding_or_share_views(tmp_path, write_scene):
    small = write_scene(tmp_path / "small", views=2)
    large = write_scene(tmp_path / "large", views=6)
    config = replace(CONFIG, scenes_per_batch=2, min_context_views=1, max_context_views=5)
    sampler = SceneSampler([small, large], config)
    for step in range(10):
        batch = sampler.batch(step)
        row = batch.scene_names.index("small")
        assert int(batch.context.mask[row].sum()) == min(batch.context.count, 2)
        assert batch.context.mask[1 - row].all()
        assert batch.targets.mask.all()


def test_an_empty_context_is_legal(folders):
    batch = SceneSampler(folders, replace(CONFIG, min_context_views=0, max_context_views=0)).batch(0)
    assert batch.context.mask.shape == (3, 0)
    assert batch.targets.mask.all()


def test_fewer_views_than_asked_for_are_an_error(tmp_path, write_scene):
    folder = write_scene(tmp_path / "s", views=2)
    with pytest.raises(ViewCountError, match="has 2 views"):
        SceneSampler([folder], replace(CONFIG, min_context_views=3)).batch(0)
    with pytest.raises(ViewCountError, match="has 2 views"):
        SceneSampler([folder], replace(CONFIG, target_views=3)).batch(0)


def test_only_train_views_are_drawn(tmp_path, write_scene):
    lists = {"train_filenames": ["r_5.png", "r_1.png", "r_0.png"], "val_filenames": ["r_2.png"]}
    sampler = SceneSampler([write_scene(tmp_path / "s", nerfstudio=True, **lists)], CONFIG)
    for step in range(10):
        batch = sampler.batch(step)
        drawn = [
            view
            for row in range(3)
            for part in (batch.context, batch.targets)
            for view in view_numbers(part, row)
        ]
        assert set(drawn) <= {0, 1, 5}


@pytest.mark.parametrize(
    "change",
    [
        {"scenes_per_batch": 0},
        {"rays_per_scene": 0},
        {"target_views": 0},
        {"min_context_views": -1},
        {"min_context_views": 4},
        {"foreground_fraction": 1.5},
        {"context_share": -0.1},
        {"workers": -1},
        {"cache_mebibytes": -1},
    ],
)
def test_configs_that_make_no_batch_are_refused(folders, change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        SceneSampler(folders, replace(CONFIG, **change))


def test_no_scenes_are_an_error():
    with pytest.raises(SceneNotFoundError):
        SceneSampler([], CONFIG)


def test_a_batch_moves_whole(folders):
    batch = SceneSampler(folders, CONFIG).batch(0)
    assert_same(batch.to("cpu"), batch)
    assert {tensor.device.type for tensor in flat(batch.to("meta"))} == {"meta"}


def test_a_batch_from_the_cache_takes_milliseconds(tmp_path, write_scene):
    folders = [write_scene(tmp_path / f"s{i}", height=64, width=64) for i in range(10)]
    sampler = SceneSampler(folders, BatchConfig())
    sampler.preload(progress=False)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        next(sampler)
        seconds.append(time.perf_counter() - start)
    assert np.min(seconds) < 0.015


def test_a_share_of_the_rays_goes_through_the_first_context_view(folders):
    config = replace(CONFIG, min_context_views=2, max_context_views=2, rays_per_scene=400, context_share=0.25)
    batch = SceneSampler(folders, config).batch(0)
    assert batch.targets.rgba.shape[1] == config.target_views + 1
    for row in range(config.scenes_per_batch):
        assert view_numbers(batch.targets, row)[-1] == view_numbers(batch.context, row)[0]
        camera = batch.context.camera_to_world[row, 0, :, 3]
        share = ((batch.origins[row] - camera).norm(dim=-1) < 1e-6).float().mean()
        assert 0.15 < share < 0.35
    without = SceneSampler(folders, replace(config, min_context_views=0, max_context_views=0)).batch(0)
    assert without.targets.rgba.shape[1] == config.target_views
