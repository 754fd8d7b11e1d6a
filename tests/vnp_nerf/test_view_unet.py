"""The U-Net over each view: what it is made of, what it joins, and what it learns alone."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from spheres import TINY, sphere_batch, sphere_depth, sphere_model, sphere_views

from vnp_core.errors import ConfigError
from vnp_core.optimisers import hidden_matrices
from vnp_nerf.canvas import make_canvases
from vnp_nerf.growth import grown
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_training import hold_still, view_depth_alone
from vnp_nerf.ray_tokens import pixel_channels
from vnp_nerf.view_depth import true_offsets
from vnp_nerf.view_unet import MatrixConv, ViewUNet
from vnp_nerf.views import Views

UNET = {"view_depth": True, "view_unet": 8}


def loud(unet: ViewUNet) -> ViewUNet:
    """With joints that have learned to say something."""
    torch.manual_seed(1)
    for joint in (unet.to_tokens, unet.from_tokens, unet.to_features):
        torch.nn.init.normal_(joint.weight, std=0.5)
    return unet


def pixels_of(views: Views) -> torch.Tensor:
    return pixel_channels(make_canvases(views, TINY.canvas), torch.eye(3).expand(len(views.mask), 3, 3))


@pytest.mark.parametrize("halve", [False, True])
def test_a_matrix_convolution_is_torchs(halve: bool):
    torch.manual_seed(0)
    ours = MatrixConv(5, 7, halve=halve)
    theirs = torch.nn.Conv2d(5, 7, 4 if halve else 3, stride=2 if halve else 1, padding=1)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight.flatten(1))
        ours.bias.copy_(theirs.bias)
    picture = torch.randn(2, 5, 8, 8)
    torch.testing.assert_close(ours(picture), theirs(picture))


def test_muon_takes_its_convolutions():
    unet = ViewUNet(8, patch=8, canvas=32, token_width=24, feature_channels=6)
    taken = {id(parameter) for parameter in hidden_matrices(unet)}
    kernels = [module.weight for module in unet.modules() if isinstance(module, MatrixConv)]
    assert len(kernels) == 3 + 2 * 3 + 2 * 2
    assert all(id(kernel) in taken for kernel in kernels)


@pytest.mark.parametrize("patch", [2, 4, 8, 16])
def test_shapes_follow_from_patch_and_canvas(patch: int):
    unet = ViewUNet(8, patch=patch, canvas=32, token_width=24, feature_channels=6)
    scales = unet.read(torch.randn(2, 3, 11, 32, 32))
    tokens = 3 * (32 // patch) ** 2
    assert unet.token_features(scales).shape == (2, tokens, 24)
    depth, features = unet.maps(scales, torch.randn(2, tokens, 24))
    assert depth.offset.shape == depth.spread.shape == (2, 3, 32, 32)
    assert depth.spread.min() > 0
    assert features.shape == (6, 6, 16, 16)


def test_a_cell_is_a_tokens_patch():
    """Row after row, view after view, in both directions."""
    unet = loud(ViewUNet(8, patch=8, canvas=32, token_width=24, feature_channels=6))
    scales = unet.read(torch.randn(1, 2, 11, 32, 32))
    scales.levels[-1] = torch.zeros_like(scales.levels[-1]).requires_grad_()
    unet.token_features(scales)[0, 16 + 4 * 1 + 2].sum().backward()
    assert scales.levels[-1].grad.abs().sum(1).nonzero().tolist() == [[1, 1, 2]]
    tokens = torch.zeros(1, 32, 24)
    before = unet.maps(scales, tokens)[0].offset
    tokens[0, 16 + 4 * 1 + 2] = torch.randn(24)
    changed = (unet.maps(scales, tokens)[0].offset - before).abs()[0]
    assert changed[0].max() == 0
    assert changed[1].max() == changed[1, 8:16, 16:24].max() > 0


def test_neither_stream_drowns_the_other():
    """However large the transformer's and the U-Net's own states have grown, each hears the other alike."""
    unet = loud(ViewUNet(8, patch=8, canvas=32, token_width=24, feature_channels=6))
    torch.nn.init.normal_(unet.places, std=300)
    pixels, tokens = torch.randn(1, 2, 11, 32, 32), torch.randn(1, 32, 24)
    scales = unet.read(pixels)
    cells = rearrange(scales.levels[-1], "M C h w -> (M h w) C")
    torch.testing.assert_close(cells.std(1, correction=0), torch.ones(32), atol=1e-3, rtol=0)
    found, wanted = unet.maps(scales, 300 * tokens)[0], unet.maps(scales, tokens)[0]
    torch.testing.assert_close(found.offset, wanted.offset, atol=1e-3, rtol=1e-3)
    assert (wanted.offset - unet.maps(scales, None)[0].offset).abs().max() > 1e-2


def test_it_joins_without_a_word():
    """Tokens and local features of a model that gets one are those of before; only depth is another."""
    torch.manual_seed(0)
    views = sphere_views(2)
    small = sphere_model(view_depth=True)
    large = RadianceModel(replace(small.config, view_unet=8)).eval()
    state, fresh = grown(small.state_dict(), small.config, large)
    assert {name.split(".")[0] for name in fresh} == {"unet"}
    large.load_state_dict(state)
    before, after = small.encode(views), large.encode(views)
    torch.testing.assert_close(after.tokens.values, before.tokens.values)
    torch.testing.assert_close(after.local.features, before.local.features)
    assert not torch.allclose(after.local.depth.offset, before.local.depth.offset)


def test_alone_each_view_is_by_itself_and_with_tokens_it_knows_the_others():
    model = sphere_model(**UNET)
    loud(model.unet)
    two, one = sphere_views(2), sphere_views(1)
    alone = view_depth_alone(model, two).offset[:, :1]
    torch.testing.assert_close(alone, view_depth_alone(model, one).offset)
    together, by_itself = (model.encode(views).local.depth.offset[:, :1] for views in (two, one))
    assert (together - by_itself).abs().max() > 1e-3


def test_padded_views_change_nothing():
    model = sphere_model(**UNET)
    loud(model.unet)
    padded = Views.stack([sphere_views(1), sphere_views(2)])
    found, wanted = model.encode(padded).local, model.encode(sphere_views(1)).local
    torch.testing.assert_close(found.depth.offset[:1, :1], wanted.depth.offset, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.features[:1, :1], wanted.features, atol=1e-5, rtol=1e-5)


def test_all_of_it_learns_from_colours():
    model = sphere_model(**UNET)
    loud(model.unet)
    outputs = model.train_outputs(with_depth(), torch.Generator().manual_seed(0))
    outputs["rgb"].sum().backward()
    for name, parameter in model.unet.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def with_depth():
    batch = sphere_batch(rays=16)
    batch.context_depth = sphere_depth(batch.context)
    return batch


def test_first_steps_teach_depth_and_nothing_else():
    model = sphere_model(**UNET, view_depth_steps=3, view_depth_weight=0.1)
    batch = with_depth()
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0), 2)
    assert set(outputs) == {"view_depth"}
    assert model.metrics(outputs, batch) == {}
    (term,) = model.loss_terms(outputs, batch, 2).values()
    torch.testing.assert_close(term, 0.1 * outputs["view_depth"])
    term.backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert learning
    assert {name.split(".")[0] for name in learning} == {"unet"}
    for step in (3, None):
        assert "rgb" in model.train_outputs(batch, torch.Generator().manual_seed(0), step)


def test_a_batch_without_views_teaches_it_nothing():
    model = sphere_model(**UNET, view_depth_steps=3)
    batch = with_depth()
    batch.context, batch.context_depth = Views.empty(2, 32, 32), torch.zeros(2, 0, 32, 32)
    for step in (0, 3):
        outputs = model.train_outputs(batch, torch.Generator().manual_seed(0), step)
        assert outputs["view_depth"] == 0
        outputs["view_depth"].backward()


def test_alone_it_learns_where_a_sphere_is():
    """Over unseen views: the depth of a sphere, by steps that render nothing and show it from all sides."""
    model = sphere_model(**UNET, view_depth_steps=100)
    batch, unseen = with_depth(), sphere_views(4, seed=1000)
    truth = true_offsets(sphere_depth(unseen), unseen, make_canvases(unseen, TINY.canvas))
    known = truth.isfinite()

    def error() -> float:
        with torch.no_grad():
            return (view_depth_alone(model, unseen).offset - truth).abs()[known].mean().item()

    before = error()
    optimiser = torch.optim.Adam(model.unet.parameters(), 1e-3)
    for step in range(80):
        batch.context = sphere_views(4, seed=step)
        batch.context_depth = sphere_depth(batch.context)
        outputs = model.train_outputs(batch, torch.Generator().manual_seed(step), step)
        optimiser.zero_grad()
        outputs["view_depth"].backward()
        optimiser.step()
    spread = (truth[known] - truth[known].median()).abs().mean().item()
    assert error() < min(0.3 * before, 0.7 * spread)


def test_a_depth_that_is_held_stays_while_all_else_learns():
    model = sphere_model(**UNET, hold_view_depth=True)
    loud(model.unet)
    hold_still(model)
    batch, views = with_depth(), sphere_views(3)
    before = model.encode(views)
    torch.testing.assert_close(before.local.depth.offset[:, :3], view_depth_alone(model, views).offset)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for step in range(2):
        outputs = model.train_outputs(batch, torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        sum(model.loss_terms(outputs, batch, step).values()).backward()
        optimiser.step()
    after = model.encode(views)
    assert torch.equal(after.local.depth.offset, before.local.depth.offset)
    assert torch.equal(after.local.depth.spread, before.local.depth.spread)
    assert not torch.equal(after.local.features, before.local.features)
    assert not torch.equal(after.tokens.values, before.tokens.values)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, state[name])}
    learned = {".".join(name.split(".")[:2]) for name in changed if name.startswith("unet.")}
    assert learned == {"unet.to_tokens", "unet.to_features"}


def test_through_a_depth_that_is_held_nothing_learns():
    """However loud the tokens' word to it: its loss tells how good it is, and has no gradient."""
    model = sphere_model(**UNET, hold_view_depth=True)
    loud(model.unet)
    hold_still(model)
    outputs = model.train_outputs(with_depth(), torch.Generator().manual_seed(0))
    assert outputs["rgb"].requires_grad
    assert not outputs["view_depth"].requires_grad


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"view_unet": 8}, "set view_depth to True"),
        ({"view_depth": True, "hold_view_depth": True}, "view_unet is 0"),
        ({**UNET, "hold_view_depth": True, "view_depth_steps": 9}, "the steps to 0"),
        ({"view_depth": True, "view_unet": 12}, "a multiple of 8 channels"),
        ({"view_depth": True, "view_unet": -8}, "a multiple of 8 channels"),
        ({"view_depth": True, "view_unet": 8, "patch": 32}, "a patch of 2, 4, 8 or 16"),
        ({"view_depth": True, "view_depth_steps": 5}, "teach the U-Net alone"),
        ({**UNET, "view_depth_steps": 5, "view_depth_weight": 0.0}, "view_depth_weight above 0"),
        ({**UNET, "view_depth_steps": -1}, "0 or more"),
    ],
)
def test_configs_that_cannot_be_are_refused(changes: dict[str, object], words: str):
    with pytest.raises(ConfigError, match=words):
        sphere_model(**changes)
