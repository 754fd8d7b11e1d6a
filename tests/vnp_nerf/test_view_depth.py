"""How deep context views are: what is true of it, what is predicted, and what points are told."""

import dataclasses

import pytest
import torch
from spheres import TINY, sphere_batch, sphere_depth, sphere_model, sphere_views, train

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import picture_rays
from vnp_nerf.canvas import make_canvases
from vnp_nerf.projection import project_points, projection_matrices
from vnp_nerf.reflection import reflected_views
from vnp_nerf.view_depth import (
    SURFACE_CHANNELS,
    DepthHead,
    ViewDepth,
    offset_error,
    offset_likelihood,
    surface_features,
    true_offsets,
)
from vnp_nerf.views import Views


def test_true_offsets_are_where_surface_points_project_to():
    """Oracle: the points themselves, projected: their depth less the camera's distance."""
    views = sphere_views(3)
    depth = sphere_depth(views)
    offsets = true_offsets(depth, views, make_canvases(views, TINY.canvas))
    for view in range(3):
        origins, directions = picture_rays(
            views.camera_to_world[0, view], views.intrinsics[0, view], *depth.shape[-2:]
        )
        hit = depth[0, view].isfinite()
        points = (origins + depth[0, view][..., None] * directions)[hit]
        one = views.select_views([view])
        _, along = project_points(projection_matrices(one), points[None])
        expected = along[0, 0] - one.camera_to_world[0, 0, :, 3].norm()
        torch.testing.assert_close(offsets[0, view][hit], expected, atol=1e-5, rtol=0)


def test_offsets_of_a_larger_picture_are_read_under_the_canvas_pixels():
    coarse, fine = sphere_views(2), sphere_views(2, side=96)
    wanted = true_offsets(sphere_depth(coarse), coarse, make_canvases(coarse, TINY.canvas))
    found = true_offsets(sphere_depth(fine), fine, make_canvases(fine, TINY.canvas))
    both = wanted.isfinite() & found.isfinite()
    assert both.float().mean() > 0.9 * wanted.isfinite().float().mean()
    # Three fine pixels lie under a coarse one, the second about its middle.
    inside = sphere_depth(coarse, 0.5).isfinite()
    torch.testing.assert_close(found[inside], wanted[inside], atol=1e-4, rtol=0)


def test_only_pixels_beside_the_object_borrow_an_offset():
    views = sphere_views(1)
    depth = torch.full((1, 1, 32, 32), torch.inf)
    depth[0, 0, 10, 20], depth[0, 0, 12, 20] = 3.6, 3.9
    offsets = true_offsets(depth, views, make_canvases(views, TINY.canvas))[0, 0]
    there = offsets.isfinite().nonzero().tolist()
    assert there == [[row, column] for row in range(9, 14) for column in range(19, 22)]
    assert (offsets[11, 19:22] == offsets[10, 20]).all()  # of two the nearer
    assert (offsets[13, 19:22] == offsets[12, 20]).all()


def test_padded_views_and_none_at_all_have_no_offset():
    padded = Views.stack([sphere_views(1), sphere_views(2)])
    offsets = true_offsets(sphere_depth(padded), padded, make_canvases(padded, TINY.canvas))
    assert offsets[0, 1].isinf().all()
    assert not offsets.isnan().any()
    model = sphere_model(view_depth=True)
    batch = sphere_batch()
    batch.context = Views.empty(2, 32, 32)
    batch.context_depth = torch.zeros(2, 0, 32, 32)
    assert model.train_outputs(batch, torch.Generator().manual_seed(0))["view_depth"] == 0


def test_the_likelihood_is_laplaces():
    generator = torch.Generator().manual_seed(0)
    offset, truth = torch.randn(2, 1, 2, 4, 4, generator=generator)
    spread = torch.rand(1, 2, 4, 4, generator=generator) + 0.01
    truth[0, 0, :2] = torch.inf
    known = truth.isfinite()
    expected = -torch.distributions.Laplace(offset, spread).log_prob(torch.where(known, truth, 0.0))[known]
    torch.testing.assert_close(offset_likelihood(ViewDepth(offset, spread), truth), expected.mean())
    assert offset_likelihood(ViewDepth(offset, spread), torch.full_like(truth, torch.inf)) == 0


def test_the_error_is_the_mean_distance_where_something_is():
    truth = torch.tensor([[0.5, torch.inf], [0.2, -0.1]])[None, None]
    offset = torch.tensor([[0.4, 7.0], [0.6, -0.1]])[None, None]
    guessed = ViewDepth(offset, torch.ones_like(offset))
    assert offset_error(guessed, truth).item() == pytest.approx((0.1 + 0.4 + 0.0) / 3)
    assert offset_error(guessed, torch.full_like(truth, torch.inf)).isnan()


def test_points_are_told_how_far_behind_a_surface_they_lie_wherever_it_is():
    along, offset = torch.tensor([0.3, 0.5]), torch.tensor([0.1, 0.3])
    told = surface_features(along, offset, torch.tensor([0.1, 0.1]))
    assert told.shape == (2, SURFACE_CHANNELS)
    torch.testing.assert_close(told[0], told[1])
    assert told[0, 0].item() == pytest.approx(0.2)
    assert told[0, -2].item() == pytest.approx(torch.tanh(torch.tensor(2.0)).item())
    assert told[0, -1].item() == pytest.approx(torch.log(torch.tensor(0.1)).item())


def test_features_and_tokens_predict_the_pixels_of_their_own_places():
    head = DepthHead(token_width=7, patch=4, channels=6)
    features = torch.zeros(1, 2, 6, 4, 4, requires_grad=True)
    tokens = torch.zeros(1, 8, 7, requires_grad=True)
    predicted = head(tokens, features)
    assert predicted.offset.shape == predicted.spread.shape == (1, 2, 8, 8)
    assert predicted.spread.min() > 0
    predicted.offset[0, 1, 3, 4].backward()  # of feature (1, 2), and of the token at (0, 1)
    assert features.grad is not None
    assert tokens.grad is not None
    touched = features.grad.abs().sum(2)[0].nonzero().tolist()
    assert touched == [[1, row, column] for row in range(3) for column in range(1, 4)]
    assert tokens.grad.abs().sum(-1)[0].nonzero().flatten().tolist() == [5]


def test_what_is_predicted_reaches_density_and_learns_from_both():
    model = sphere_model(view_depth=True)
    batch = sphere_batch()
    batch.context_depth = sphere_depth(batch.context)
    heads = [model.local.depth.project.weight, model.local.depth.from_tokens.weight]
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
    for part in ("rgb", "view_depth"):
        for gradient in torch.autograd.grad(outputs[part].sum(), heads, retain_graph=True):
            assert gradient.abs().max() > 0


def test_true_depth_of_context_views_teaches_it():
    batch = sphere_batch(rays=16)
    batch.context_depth = sphere_depth(batch.context)
    errors = {}
    for weight in (0.0, 0.1):
        model = sphere_model(view_depth=True, view_depth_weight=weight)
        train(model, batch, 80)
        truth = true_offsets(batch.context_depth, batch.context, make_canvases(batch.context, 32))
        with torch.no_grad():
            predicted = model.encode(batch.context).local.depth
        errors[weight] = (predicted.offset - truth).abs()[truth.isfinite()].mean().item()
    assert errors[0.1] < 0.5 * errors[0.0]


def test_mirror_images_are_read_but_not_taught():
    batch = sphere_batch()
    batch.context_depth = sphere_depth(batch.context)
    model = sphere_model(view_depth=True, frame="canonical", mirror_views=True)
    encoded = model.encode(batch.context)
    assert encoded.local.depth.offset.shape[1] == 2 * batch.context.count
    expected = offset_likelihood(
        encoded.local.depth.first(batch.context.count),
        true_offsets(batch.context_depth, batch.context, make_canvases(batch.context, 32)),
    )
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(outputs["view_depth"], expected)


def test_twins_share_the_mean_of_their_guesses_within_a_pictures_own_width():
    """Oracle: pixel by pixel. The second picture ends at column 3, and padding lies beside it."""
    generator = torch.Generator().manual_seed(0)
    offset, spread = torch.rand(2, 1, 4, 5, 5, generator=generator)
    widths = (5, 3)
    filled = torch.arange(5) < torch.tensor(widths * 2)[:, None, None]  # [V, 1, P]
    agreed = ViewDepth(offset, spread).agreed(filled.expand(1, 4, 5, 5))
    for before, after in ((offset[0], agreed.offset[0]), (spread[0], agreed.spread[0])):
        for view, width in enumerate(widths):
            for column in range(width):
                there = width - 1 - column
                mean = (before[view, :, column] + before[view + 2, :, there]) / 2
                torch.testing.assert_close(after[view, :, column], mean)
                torch.testing.assert_close(after[view + 2, :, there], mean)


@torch.no_grad()
@pytest.mark.parametrize("unet", [0, 8])
@pytest.mark.parametrize("width", [32, 20])
def test_with_mirror_depth_a_mirrored_context_has_the_mirrored_depth(unet: int, width: int):
    views = sphere_views(2)
    views.rgba, views.sizes[..., 1] = views.rgba[..., :width], width
    model = sphere_model(
        view_depth=True, view_unet=unet, frame="canonical", mirror_views=True, mirror_depth=True
    )
    contexts = (views, reflected_views(views, "y"))
    here, there = (model.encode(context).local.depth.first(2) for context in contexts)
    for name in ("offset", "spread"):
        seen, mirrored = (getattr(depth, name)[..., :width] for depth in (here, there))
        torch.testing.assert_close(mirrored, seen.flip(-1), atol=1e-5, rtol=0)
    model.config = dataclasses.replace(model.config, mirror_depth=False)
    here, there = (model.encode(context).local.depth.first(2) for context in contexts)
    assert (there.offset[..., :width] - here.offset[..., :width].flip(-1)).abs().max() > 1e-3


def test_a_batch_without_depth_cannot_teach_it():
    with pytest.raises(ConfigError, match=r"view_depth_weight asks.*batches\.depth to True"):
        sphere_model(view_depth=True).train_outputs(sphere_batch(), torch.Generator().manual_seed(0))
    free = sphere_model(view_depth=True, view_depth_weight=0.0)
    assert "view_depth" not in free.train_outputs(sphere_batch(), torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"view_depth": True, "readings": ("planes",)}, "add 'local'"),
        ({"view_depth_weight": -1.0}, "weights of 0 or more"),
        ({"view_depth": True, "mirror_depth": True}, "mirror_views is False and view_depth True"),
    ],
)
def test_configs_that_cannot_be_are_refused(changes: dict[str, object], words: str):
    with pytest.raises(ConfigError, match=words):
        sphere_model(**changes)
