"""A mirrored or recoloured scene is a scene: its pictures, cameras and rays agree."""

import numpy as np
import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_nerf.augmentation import Augmentation
from vnp_nerf.batches import BatchConfig
from vnp_nerf.cameras import pixel_rays
from vnp_nerf.views import Views

HEIGHT, WIDTH = 4, 6


@pytest.fixture
def views() -> Views:
    """Two scenes of two views, random cameras and pixels; one picture is narrower, one view is padding."""
    generator = torch.Generator().manual_seed(0)
    rotations, _ = torch.linalg.qr(torch.randn(2, 2, 3, 3, generator=generator))
    rotations = rotations * torch.linalg.det(rotations)[..., None, None]
    padding = Views.padding(2, 2, HEIGHT, WIDTH)
    sizes = torch.tensor([[[HEIGHT, WIDTH], [3, 5]], [[HEIGHT, WIDTH], [0, 0]]])
    mask = sizes[..., 0] > 0
    poses = torch.cat([rotations, torch.randn(2, 2, 3, 1, generator=generator)], dim=-1)
    rgba = torch.zeros(2, 2, 4, HEIGHT, WIDTH)
    for scene, view in mask.nonzero().tolist():
        height, width = sizes[scene, view].tolist()
        rgba[scene, view, :, :height, :width] = torch.rand(4, height, width, generator=generator)
    return Views(
        rgba,
        torch.where(mask[..., None, None], poses, padding.camera_to_world),
        torch.where(mask[..., None], torch.tensor([5.0, 5.5, 2.5, 1.8]), padding.intrinsics),
        sizes,
        mask,
    )


def every_ray(views: Views, scene: int, view: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Origins, directions and colours of all pixels of a view, column after column."""
    height, width = views.sizes[scene, view].tolist()
    x, y = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5
    origins, directions = pixel_rays(
        views.camera_to_world[scene, view], views.intrinsics[scene, view], pixels
    )
    return (
        origins.expand_as(directions),
        directions,
        views.rgba[scene, view][:, y.reshape(-1), x.reshape(-1)].T,
    )


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("channels", [[0, 1, 2], [2, 0, 1]])
def test_the_changed_views_show_what_the_changed_rays_see(views, channels, axis):
    change = Augmentation(torch.tensor([True, False]), torch.tensor([channels, [0, 1, 2]]), axis)
    changed = change.views(views)
    for scene, view in views.mask.nonzero().tolist():
        rays = [part[None] for part in every_ray(views, scene, view)]
        one = Augmentation(change.mirrored[[scene]], change.channels[[scene]], axis)
        expected = [part[0] for part in one.rays(*rays)]
        found = every_ray(changed, scene, view)
        if scene == 0:  # its pictures run the other way, and so does the order of its columns
            height, width = views.sizes[scene, view].tolist()
            found = [part.reshape(width, height, -1).flip(0).reshape(width * height, -1) for part in found]
        for one_part, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one_part, other)


def test_a_mirrored_camera_is_a_camera_on_the_other_side(views):
    change = Augmentation(torch.tensor([True, True]), torch.tensor([[0, 1, 2]] * 2))
    changed = change.views(views)
    rotations = changed.camera_to_world[views.mask][..., :3]
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(3))
    there, here = changed.camera_to_world[views.mask][..., 3], views.camera_to_world[views.mask][..., 3]
    torch.testing.assert_close(there, here * torch.tensor([1.0, -1.0, 1.0]))


def test_mirrored_twice_is_as_before_and_padding_stays_padding(views):
    change = Augmentation(torch.tensor([True, True]), torch.tensor([[0, 1, 2]] * 2))
    again = change.views(change.views(views))
    for name in ("rgba", "camera_to_world", "intrinsics", "sizes", "mask"):
        torch.testing.assert_close(getattr(again, name), getattr(views, name))
    once = change.views(views)
    assert torch.equal(once.camera_to_world[~views.mask], views.camera_to_world[~views.mask])
    assert torch.equal(once.intrinsics[~views.mask], views.intrinsics[~views.mask])


def test_the_shares_are_those_asked_for():
    draw = np.random.default_rng(0)
    many = Augmentation.draw(20_000, 0.25, 0.5, draw)
    assert many.mirrored.float().mean().item() == pytest.approx(0.25, abs=0.015)
    kept = (many.channels == torch.arange(3)).all(-1).float().mean().item()
    assert kept == pytest.approx(0.5 + 0.5 / 6, abs=0.015)  # a permutation in six changes nothing
    none = Augmentation.draw(100, 0.0, 0.0, draw)
    assert not none.mirrored.any()
    assert (none.channels == torch.arange(3)).all()


@pytest.mark.parametrize("name", ["mirror_fraction", "recolour_fraction"])
def test_a_share_above_one_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name} is 1.5"):
        BatchConfig(**{name: 1.5}).validate()
