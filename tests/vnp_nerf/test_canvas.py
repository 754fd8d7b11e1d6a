import torch

from vnp_nerf.cameras import look_at, pixel_rays
from vnp_nerf.canvas import make_canvases
from vnp_nerf.views import Views, premultiply


def _view(height: int, width: int, generator: torch.Generator) -> Views:
    return Views(
        rgba=torch.rand(1, 1, 4, height, width, generator=generator),
        camera_to_world=look_at(torch.tensor([[[3.0, 2.0, 1.0]]])),
        intrinsics=torch.tensor([[[40.0, 40.0, width / 2, height / 2]]]),
        sizes=torch.tensor([[[height, width]]]),
        mask=torch.ones(1, 1, dtype=torch.bool),
    )


def test_a_picture_of_the_canvas_size_is_copied(generator: torch.Generator):
    view = _view(16, 16, generator)
    canvases = make_canvases(view, 16)
    assert torch.equal(canvases.rgba, premultiply(view.rgba))
    assert canvases.filled.all()


def test_canvas_rays_are_the_pictures_rays(generator: torch.Generator):
    view = _view(32, 32, generator)
    canvases = make_canvases(view, 16)
    # Canvas pixel (column 3, row 5) covers picture pixels (6..7, 10..11), whose middle is (7, 11).
    _, expected = pixel_rays(view.camera_to_world[0, 0], view.intrinsics[0, 0], torch.tensor([7.0, 11.0]))
    assert torch.allclose(canvases.directions[0, 0, :, 5, 3], expected, atol=1e-6)


def test_an_oblong_picture_fills_its_share_and_leaves_the_rest_empty(generator: torch.Generator):
    canvases = make_canvases(_view(12, 24, generator), 16)
    assert canvases.filled[0, 0, :8].all()
    assert not canvases.filled[0, 0, 8:].any()
    assert canvases.rgba[0, 0, :, 8:].abs().max() == 0
    assert canvases.directions[0, 0, :, 8:].abs().max() == 0


def test_a_batch_of_mixed_sizes_gives_what_each_gives_alone(generator: torch.Generator):
    parts = [_view(12, 24, generator), _view(20, 10, generator), _view(16, 16, generator)]
    joined = make_canvases(Views.stack(parts), 16)
    for scene, part in enumerate(parts):
        alone = make_canvases(part, 16)
        assert torch.allclose(joined.rgba[scene], alone.rgba[0], atol=1e-6)
        assert torch.equal(joined.filled[scene], alone.filled[0])
        assert torch.allclose(joined.directions[scene], alone.directions[0])


def test_a_padded_view_is_empty_and_finite(generator: torch.Generator):
    views = _view(16, 16, generator).cat_views(Views.padding(1, 1, 16, 16))
    canvases = make_canvases(views, 16)
    assert not canvases.filled[0, 1].any()
    for part in (canvases.rgba, canvases.origins, canvases.directions):
        assert torch.isfinite(part).all()
        assert part[0, 1].abs().max() == 0
