"""What is rendered of a batch in training, and what is made of it."""

import dataclasses

import pytest
import torch
from spheres import TINY, sphere_batch, sphere_model, sphere_views, train

from vnp_core.errors import ConfigError
from vnp_nerf import radiance_training
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_training import edges_of, hold_still, level_spreads, query_draws
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.rendering import ray_weights
from vnp_nerf.views import Views


def silent_parameters(model: RadianceModel) -> list[str]:
    """Those that a training step gives no gradient."""
    batch = sphere_batch()
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
    sum(model.loss_terms(outputs, batch, 10).values()).backward()
    return [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]


def test_every_parameter_gets_a_gradient():
    model = RadianceModel(dataclasses.replace(TINY, readings=("point", "planes", "local")))
    assert silent_parameters(model) == []


def test_a_first_pass_takes_no_gradient_from_the_second():
    """A weight that the pass without gradients rounds must be rounded anew for the one with them."""
    model = sphere_model(proposal_samples=16, bfloat16=True, readings=("point", "planes", "local"))
    assert silent_parameters(model) == []


def test_samples_go_where_the_first_pass_found_density():
    batch = sphere_batch()
    model = sphere_model(proposal_samples=32, train_samples=16)
    encoded = model.encode(batch.context)
    edges = edges_of(model, encoded, batch, torch.Generator().manual_seed(0))
    even = edges_of(sphere_model(train_samples=16), encoded, batch, torch.Generator().manual_seed(0))
    assert edges.shape == even.shape
    latents = model.latents.draw(encoded.tokens).latents
    weights = [
        ray_weights(query_draws(model, encoded, latents, batch, found)[0][:, 0], found)
        for found in (edges, even)
    ]
    seen = weights[1].sum(-1) > 0.2
    assert seen.any()
    largest = [part.amax(-1)[seen].mean() for part in weights]
    assert largest[0] < largest[1]  # shares are evener


def test_the_true_depth_of_rays_teaches_where_they_end():
    batch = sphere_batch(rays=128)
    near, far = ball_span(batch.origins, batch.directions, 0.6)
    batch.depth = torch.where(far > near, near, torch.inf)
    losses = {}
    for weight in (0.0, 0.05):
        torch.manual_seed(0)
        model = RadianceModel(dataclasses.replace(TINY, depth_weight=weight))
        train(model, batch, 30)
        model.config = dataclasses.replace(TINY, depth_weight=1.0)
        losses[weight] = model.train_outputs(batch, torch.Generator().manual_seed(0))["termination"].item()
    assert losses[0.05] < 0.8 * losses[0.0]


def test_a_batch_without_depth_cannot_teach_it():
    model = sphere_model(depth_weight=0.01)
    with pytest.raises(ConfigError, match=r"batches\.depth to True"):
        model.train_outputs(sphere_batch(), torch.Generator().manual_seed(0))


def test_training_on_one_batch_lowers_its_loss():
    torch.manual_seed(0)
    model = RadianceModel(TINY)
    batch = sphere_batch(rays=128)
    losses = train(model, batch, 40)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_bfloat16_training_outputs_are_close_to_float32(monkeypatch):
    monkeypatch.setattr(radiance_training, "quick_in_bfloat16", lambda _: True)
    batch = sphere_batch()
    model = sphere_model()
    half = sphere_model(bfloat16=True)
    exact = model.train_outputs(batch, torch.Generator().manual_seed(0))
    rough = half.train_outputs(batch, torch.Generator().manual_seed(0))
    assert rough["rgb"].dtype == torch.float32
    assert 0 < (exact["rgb"] - rough["rgb"]).abs().mean() < 0.02
    assert torch.equal(exact["truth"], rough["truth"])
    # Where it would be emulated, it is not asked for.
    monkeypatch.setattr(radiance_training, "quick_in_bfloat16", lambda _: False)
    spared = half.train_outputs(batch, torch.Generator().manual_seed(0))
    assert torch.equal(spared["rgb"], exact["rgb"])


def test_draws_of_several_scenes_together_are_what_each_is_alone():
    model = sphere_model(readings=("point", "planes", "local"))
    views = [sphere_views(2, seed=seed) for seed in (1, 2)]
    together = model.encode(Views.stack(views))
    latents = model.latents.draw(together.tokens, generator=torch.Generator().manual_seed(0), draws=3).latents
    points = torch.rand(2, 400, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    density, values = model.query(model.decode(together, latents.flatten(0, 1)), points)
    assert density.shape == (6, 400)
    assert values.shape == (6, 400, 5)
    for scene in range(2):
        encoded = model.encode(views[scene])
        for draw in range(3):
            one = model.decode(encoded, latents[scene, draw][None])
            alone, value = model.query(one, points[scene][None])
            assert torch.allclose(density[3 * scene + draw], alone[0], atol=1e-4)
            assert torch.allclose(values[3 * scene + draw], value[0], atol=1e-4)
    assert not torch.allclose(density[0], density[1], atol=1e-3)


def test_the_loss_knows_how_far_the_model_says_the_truth_may_lie():
    model, batch = sphere_model(), sphere_batch()
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
    terms = model.loss_terms(outputs, batch, 0)
    assert set(terms) == {"rgb", "alpha", "mean_of_draws", "joint", "point", "shown", "noise"}
    rays = outputs["log_probs"].shape[-1]
    assert outputs["rgb"].shape[:3] == (2, 1 + model.config.train_draws, rays)
    heads = (model.noise.of_state.weight, model.network.density.weight)
    for name, taught in (("noise", (True, False)), ("point", (False, True))):
        found = torch.autograd.grad(terms[name], heads, retain_graph=True, allow_unused=True)
        assert [gradient is not None and bool(gradient.any()) for gradient in found] == list(taught)


def test_a_model_without_draws_is_deterministic_and_keeps_its_noise():
    model, batch = sphere_model(train_draws=0), sphere_batch()
    outputs = [model.train_outputs(batch, torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(outputs[0]["rgb"], outputs[1]["rgb"])
    assert outputs[0]["rgb"].shape[1] == outputs[0]["log_probs"].shape[1] == 1
    assert set(model.metrics(outputs[0], batch)) == {"psnr"}
    silent = sphere_model(noise=False, train_draws=0)
    assert set(silent.loss_terms(silent.train_outputs(batch, torch.Generator()), batch, 0)) == {
        "rgb",
        "alpha",
    }
    with pytest.raises(ConfigError, match="noise"):
        sphere_model(noise=False)


def test_a_level_that_nothing_listens_to_has_no_spread():
    model, batch = sphere_model(), sphere_batch()
    alive = level_spreads(model, batch, torch.Generator().manual_seed(0))
    assert (alive > 0).all()
    dim = model.config.latents.dim
    with torch.no_grad():
        model.network.styles[1][0].weight.zero_()
        for layer in model.planes.from_latents:
            layer.weight[:, dim:] = 0
    spreads = level_spreads(model, batch, torch.Generator().manual_seed(0))
    assert spreads[1] == 0
    assert spreads[0] > 0


def test_a_noise_that_learns_alone_leaves_pictures_as_they_are():
    torch.manual_seed(0)
    batch = sphere_batch(rays=128)
    model = sphere_model(train_draws=0, noise_alone=True, likelihood_weight=1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hold_still(model)
    seen = model.train_outputs(batch, torch.Generator().manual_seed(7))
    losses = train(model, batch, 40)
    again = model.train_outputs(batch, torch.Generator().manual_seed(7))
    assert torch.equal(seen["rgb"], again["rgb"])
    assert torch.equal(seen["alpha"], again["alpha"])
    assert losses[-1] < losses[0] - 0.3  # nats a ray
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"noise.of_state.weight", "noise.of_state.bias"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noise": False, "train_draws": 0}, "set noise to True"),
        ({"likelihood_weight": 0.0}, "the weight above 0"),
        ({"view_depth": True, "view_unet": 8, "view_depth_steps": 5}, "first 5 steps"),
    ],
)
def test_a_noise_that_could_not_learn_is_refused(changes: dict[str, object], words: str):
    with pytest.raises(ConfigError, match=words):
        sphere_model(noise_alone=True, **changes)
