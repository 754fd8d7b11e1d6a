import numpy as np
import pytest
import torch

from vnp_core.errors import DataError, ViewCountError
from vnp_nerf.cameras import orbit_cameras, project
from vnp_nerf.readers import open_scene
from vnp_nerf.views import Views, premultiply


def views_of(rng: np.random.Generator, sizes: list[tuple[int, int]]) -> tuple[Views, list[np.ndarray]]:
    pictures = [rng.integers(0, 256, (*size, 4), dtype=np.uint8) for size in sizes]
    cameras = orbit_cameras(len(sizes), 4.0, 10.0, 40.0, 4, 4)
    return Views.from_pictures(pictures, cameras), pictures


def assert_same(first: Views, second: Views) -> None:
    for name in ("rgba", "camera_to_world", "intrinsics", "sizes", "mask"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


def test_pictures_are_padded_at_the_bottom_and_the_right(rng):
    views, pictures = views_of(rng, [(3, 5), (4, 2)])
    assert views.rgba.shape == (1, 2, 4, 4, 5)
    assert views.sizes.tolist() == [[[3, 5], [4, 2]]]
    for index, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        expected = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        torch.testing.assert_close(views.rgba[0, index, :, :height, :width], expected)
        assert views.rgba[0, index, :, height:].abs().sum() == 0
        assert views.rgba[0, index, :, :, width:].abs().sum() == 0


def test_views_of_a_scene_are_in_the_models_frame(tmp_path, write_scene):
    scene = open_scene(write_scene(tmp_path / "s", bounding_centre=[0.5, 0, 0], bounding_radius=2.0))
    views = Views.from_scene(scene, [4, 1])
    expected = (scene.cameras.positions[[4, 1]] - torch.tensor([0.5, 0, 0])) / 2
    torch.testing.assert_close(views.camera_to_world[0, :, :, 3], expected)
    assert (views.batch, views.count) == (1, 2)
    assert (views.rgba[0, :, 2, 0, 0] * 255).round().tolist() == [4, 1]
    assert views.mask.all()


def test_views_that_a_scene_has_not_are_refused(tmp_path, write_scene):
    scene = open_scene(write_scene(tmp_path / "s", views=3))
    with pytest.raises(ViewCountError, match=r"\[3, -1\].*0 to 2"):
        Views.from_scene(scene, [0, 3, -1])


def test_stacking_pads_and_each_scene_can_be_cut_out_again(rng):
    first, _ = views_of(rng, [(3, 5), (4, 2)])
    second, _ = views_of(rng, [(6, 3)])
    both = Views.stack([first, second])
    assert both.rgba.shape == (2, 2, 4, 6, 5)
    assert both.mask.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(both.rgba[0, :, :, :4, :5], first.rgba[0])
    torch.testing.assert_close(both.rgba[1, 0, :, :, :3], second.rgba[0, 0])
    torch.testing.assert_close(both.intrinsics[1, 0], second.intrinsics[0, 0])


def test_padded_views_give_finite_rays(rng):
    first, _ = views_of(rng, [(3, 5), (4, 2)])
    second, _ = views_of(rng, [(6, 3)])
    padded = Views.stack([first, second]).select_scenes([1]).select_views([1])
    assert not padded.mask.any()
    assert padded.rgba.abs().sum() == 0
    assert padded.sizes.abs().sum() == 0
    assert (padded.intrinsics[..., :2] > 0).all()
    assert torch.linalg.det(padded.camera_to_world[0, 0, :, :3]) == 1


def test_joining_and_selecting_views_undo_each_other(rng):
    first, _ = views_of(rng, [(3, 5), (4, 2)])
    second, _ = views_of(rng, [(4, 5)])
    joined = first.cat_views(second)
    assert_same(joined.select_views([0, 1]), first)
    assert_same(joined.select_views(slice(2, 3)), second)
    assert_same(joined.select_views(torch.tensor([1, 0, 2])).select_views([1, 0, 2]), joined)
    assert joined.select_views([0, 0]).count == 2


def test_no_views_at_all_are_legal_and_join_with_others(rng):
    some, _ = views_of(rng, [(3, 5)])
    empty = Views.empty(1)
    assert (empty.batch, empty.count) == (1, 0)
    assert_same(empty.cat_views(some), some)
    assert_same(some.select_views([]).cat_views(some), some)
    assert Views.from_pictures([], orbit_cameras(0, 4.0, 10.0, 40.0, 4, 4)).count == 0


def test_what_does_not_fit_together_is_refused(rng):
    some, pictures = views_of(rng, [(3, 5)])
    with pytest.raises(DataError, match="scenes"):
        some.cat_views(Views.stack([some, some]))
    with pytest.raises(DataError, match="no views"):
        Views.stack([])
    with pytest.raises(DataError, match="cameras"):
        Views.from_pictures(pictures, orbit_cameras(2, 4.0, 10.0, 40.0, 4, 4))


def test_moving_to_a_device_keeps_everything(rng):
    some, _ = views_of(rng, [(3, 5)])
    assert_same(some.to("cpu"), some)


def test_smaller_pictures_are_averages_and_see_the_same_places(rng):
    views, pictures = views_of(rng, [(7, 9), (4, 6)])
    small = views.shrunk(2)
    assert small.sizes.tolist() == [[[3, 4], [2, 3]]]
    for index, picture in enumerate(pictures):
        straight = torch.from_numpy(picture).double() / 255
        light = torch.cat([straight[..., :3] * straight[..., 3:], straight[..., 3:]], dim=-1)
        height, width = small.sizes[0, index].tolist()
        expected = torch.stack(
            [
                torch.stack([light[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((0, 1)) for x in range(width)])
                for y in range(height)
            ]
        )
        found = premultiply(small.rgba)[0, index].permute(1, 2, 0)
        torch.testing.assert_close(found[:height, :width], expected.float(), atol=1e-6, rtol=0)
        assert found[height:].abs().sum() == found[:, width:].abs().sum() == 0
    points = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.5, -0.4]])
    for index in range(2):
        pose = views.camera_to_world[0, index]
        before, _ = project(points, pose, views.intrinsics[0, index])
        after, _ = project(points, pose, small.intrinsics[0, index])
        torch.testing.assert_close(after, before / 2)
    assert_same(views.shrunk(1), views)
    assert Views.empty(3).shrunk(4).count == 0


def test_padded_views_stay_padded_when_pictures_are_made_smaller(rng):
    first, _ = views_of(rng, [(4, 4), (4, 2)])
    second, _ = views_of(rng, [(6, 4)])
    small = Views.stack([first, second]).shrunk(2)
    padded = small.select_scenes([1]).select_views([1])
    assert_same(padded, Views.padding(1, 1, *small.rgba.shape[-2:]))


def test_pictures_cannot_be_made_smaller_than_one_pixel(rng):
    views, _ = views_of(rng, [(8, 8), (8, 3)])
    with pytest.raises(DataError, match="pictures of 3 pixels cannot be made smaller by 4"):
        views.shrunk(4)
