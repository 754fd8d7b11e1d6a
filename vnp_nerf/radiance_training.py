"""How `RadianceModel` is trained: what is rendered of a batch, and what is made of it.

The field at the latents' mean learns by squared errors; draws of the latents learn by likelihood, together
and, on rays that the context shows, each by itself (see `vnp_nerf.pixel_noise.negative_log_likelihoods`).
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import ConfigError
from vnp_core.precision import quick_in_bfloat16
from vnp_nerf.batches import TrainBatch
from vnp_nerf.canvas import make_canvases
from vnp_nerf.perspective_crops import perspective_crops
from vnp_nerf.pixel_noise import (
    draw_spread,
    negative_log_likelihoods,
    noise_likelihood,
    pixel_distribution,
)
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.ray_sampling import proposed_edges, stratified_edges
from vnp_nerf.ray_tokens import pixel_channels
from vnp_nerf.rendering import composite, ray_weights
from vnp_nerf.termination import termination_likelihood
from vnp_nerf.view_depth import ViewDepth, offset_likelihood, true_offsets
from vnp_nerf.views import Views

if TYPE_CHECKING:
    from vnp_nerf.radiance import Encoded, RadianceModel


def hold_still(model: "RadianceModel") -> None:
    """Takes the gradients from what `config.noise_alone` and `config.hold_view_depth` keep as it is."""
    if model.config.noise_alone:
        model.requires_grad_(False)
        model.noise.requires_grad_(True)
    elif model.config.hold_view_depth:
        assert model.unet is not None
        model.unet.requires_grad_(False)
        model.unet.to_tokens.requires_grad_(True)
        model.unet.to_features.requires_grad_(True)


def train_outputs(
    model: "RadianceModel", batch: TrainBatch, generator: torch.Generator, step: int | None = None
) -> dict[str, Tensor]:
    """Renders the batch's rays at the latents' mean and at `config.train_draws` draws from the prior.

    In the first `config.view_depth_steps` steps it renders nothing: then there is "view_depth" alone.
    """
    device = batch.origins.device
    if step is not None and step < model.config.view_depth_steps:
        with rounding(model.config, device):
            alone = view_depth_alone(model, batch.context)
        return {"view_depth": view_depth_loss(model, alone, batch)}
    background = torch.rand(*batch.origins.shape, generator=generator, device=device)
    with rounding(model.config, device):
        encoded = model.encode(batch.context)
        latents = [model.latents.draw(encoded.tokens).latents]
        if draws := model.config.train_draws:
            latents.append(model.latents.draw(encoded.tokens, generator=generator, draws=draws).latents)
        edges = edges_of(model, encoded, batch, generator)
        density, values = query_draws(model, encoded, torch.cat(latents, dim=1), batch, edges)
    seen = composite(density, values, edges[:, None], background[:, None])
    outputs = {"rgb": seen.rgb, "alpha": seen.alpha, "truth": batch.colours_over(background)}
    if model.config.depth_weight:
        weights = ray_weights(density[:, 0], edges)
        outputs["termination"] = termination_likelihood(
            weights, edges, depth_of(batch), model.config.depth_window
        )
    if model.config.view_depth and model.config.view_depth_weight:
        assert encoded.local is not None
        assert encoded.local.depth is not None
        own = encoded.local.depth.first(batch.context.count)
        outputs["view_depth"] = view_depth_loss(model, own, batch)
    if model.config.noise:
        drawn = seen.map(lambda part: part[:, 1:]) if draws else seen
        assert drawn.rgb_variance is not None
        outputs["variance"] = drawn.rgb_variance
        # Colour and geometry learn under the noise as it is, and noise from the pictures as they are.
        colours = pixel_distribution(drawn.rgb, drawn.rgb_variance.detach())
        noise = pixel_distribution(drawn.rgb.detach(), drawn.rgb_variance)
        outputs["log_probs"] = colours.log_probs(outputs["truth"])  # [B, K, R]
        outputs["noise_log_probs"] = noise.log_probs(outputs["truth"])  # [B, K, R]
    return outputs


def rounding(config: RadianceConfig, device: torch.device, *, cache_enabled: bool = True) -> torch.autocast:
    """Matrix products in bfloat16, where that is wanted and the device is quick at it."""
    enabled = config.bfloat16 and quick_in_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=cache_enabled)


def edges_of(
    model: "RadianceModel", encoded: "Encoded", batch: TrainBatch, generator: torch.Generator
) -> Float[Tensor, "B R S+1"]:
    """Where the batch's rays are asked: stratified, or by what a first pass at the latents' mean found."""
    config = model.config
    near, far = model.spans(encoded, batch.origins, batch.directions)
    first = stratified_edges(near, far, config.proposal_samples or config.train_samples, generator)
    if not config.proposal_samples:
        return first
    # A weight that autocast rounded here must not be kept for the pass that needs its gradient, whatever
    # this torch would do about it.
    with torch.no_grad(), rounding(config, near.device, cache_enabled=False):
        decoded = model.decode(encoded, model.latents.draw(encoded.tokens).latents[:, 0])
        density, _ = model.query_rays(decoded, batch.origins, batch.directions, first)
    return proposed_edges(first, ray_weights(density, first), config.train_samples, generator)


def query_draws(
    model: "RadianceModel",
    encoded: "Encoded",
    latents: Float[Tensor, "B K L Z"],
    batch: TrainBatch,
    edges: Float[Tensor, "B R S+1"],
) -> tuple[Float[Tensor, "B K R S"], Float[Tensor, "B K R S C"]]:
    """Density and what is rendered along the batch's rays, at samples that all draws share."""
    decoded = model.decode(encoded, rearrange(latents, "B K L Z -> (B K) L Z"))
    density, values = model.query_rays(decoded, batch.origins, batch.directions, edges)
    return (
        rearrange(density, "(B K) R S -> B K R S", B=len(latents)),
        rearrange(values, "(B K) R S C -> B K R S C", B=len(latents)),
    )


@torch.no_grad()
def level_spreads(
    model: "RadianceModel", batch: TrainBatch, generator: torch.Generator, draws: int = 4
) -> Float[Tensor, "L"]:
    """`draw_spread` of draws that differ in one level alone, for each level: 0 where it is dead.

    Levels above are at their means, and those below at the means that follow.
    """
    encoded = model.encode(batch.context)
    edges = edges_of(model, encoded, batch, generator)
    noise = model.latents.noise(encoded.tokens, generator, draws)
    spreads: list[Tensor] = []
    for level in range(model.config.latents.levels):
        alone = torch.zeros_like(noise)
        alone[:, :, level] = noise[:, :, level]
        latents = model.latents(encoded.tokens, alone).latents
        density, values = query_draws(model, encoded, latents, batch, edges)
        seen = composite(density, values, edges[:, None], "white")
        assert seen.rgb_variance is not None
        spreads.append(draw_spread(seen.rgb, seen.rgb_variance))
    return torch.stack(spreads)


def view_depth_alone(model: "RadianceModel", views: Views) -> ViewDepth:
    """What the U-Net makes of each view by itself, without tokens and mirror images."""
    assert model.unet is not None
    given, views = views.count, views.or_padding(model.config.canvas)
    canvases = make_canvases(views, model.config.canvas)
    scales = model.unet.read(pixel_channels(canvases, model.reading_rotation(views)))
    return model.unet.maps(scales, None)[0].first(given)


def view_depth_loss(model: "RadianceModel", own: ViewDepth, batch: TrainBatch) -> Float[Tensor, ""]:
    """Mean negative log-likelihood of the true depth of the context views, not of their mirror images.

    Raises `ConfigError` for a batch that came without depth, or whose views are cropped.
    """
    if batch.context_depth is None:
        raise ConfigError(
            "view_depth_weight asks for the true depth of context views, and batches come without: set "
            "batches.depth to True (for scenes of 'make_scenes.py --depth'), or view_depth_weight to 0"
        )
    config = model.config
    if perspective_crops(batch.context, config.canvas, config.context_crop) is not batch.context:
        raise ConfigError(
            "view_depth_weight asks for the true depth of context views, and context_crop crops them: set "
            "context_crop to 0, or view_depth_weight to 0"
        )
    canvases = make_canvases(batch.context, config.canvas)
    return offset_likelihood(own, true_offsets(batch.context_depth, batch.context, canvases))


def depth_of(batch: TrainBatch) -> Float[Tensor, "B R"]:
    """The true depth of a batch's rays. Raises `ConfigError` for a batch that came without."""
    if batch.depth is None:
        raise ConfigError(
            "depth_weight asks for the true depth of rays, and batches come without: set batches.depth to "
            "True (for scenes of 'make_scenes.py --depth'), or depth_weight to 0"
        )
    return batch.depth


def loss_terms(config: RadianceConfig, outputs: dict[str, Tensor], batch: TrainBatch) -> dict[str, Tensor]:
    """Squared errors of colour over random backgrounds and of alpha, at the latents' mean; of the colour
    of the mean of draws; and with `config.noise` the negative log-likelihoods of the rays' colours, with
    `config.depth_weight` those of where they end, nats a ray.
    """
    if "rgb" not in outputs:  # one of the first steps, which render nothing
        return {"view_depth": config.view_depth_weight * outputs["view_depth"]}
    rgb = outputs["rgb"]
    terms = {
        "rgb": F.mse_loss(rgb[:, 0], outputs["truth"]),
        "alpha": config.alpha_weight * F.mse_loss(outputs["alpha"][:, 0], batch.rgba[..., 3]),
    }
    if config.depth_weight:
        terms["termination"] = config.depth_weight * outputs["termination"]
    if "view_depth" in outputs:
        terms["view_depth"] = config.view_depth_weight * outputs["view_depth"]
    if config.train_draws:
        terms["mean_of_draws"] = F.mse_loss(rgb[:, 1:].mean(1), outputs["truth"])
    if "log_probs" in outputs:
        nll = negative_log_likelihoods(outputs["log_probs"], batch.shown)
        nll["noise"] = noise_likelihood(outputs["noise_log_probs"], batch.rgba[..., 3] > 0.5)
        terms |= {name: config.likelihood_weight * value for name, value in nll.items()}
    return terms


@torch.no_grad()
def metrics(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """PSNR of the batch's rays over random backgrounds, dB: at the latents' mean, and with draws of their
    mean and of one of them; and by how much draws differ (see `draw_spread`).
    """
    if "rgb" not in outputs:
        return {}
    rgb = outputs["rgb"]
    pictures = {"psnr": rgb[:, 0]}
    found: dict[str, Tensor] = {}
    if rgb.shape[1] > 1:
        pictures |= {"psnr_of_mean": rgb[:, 1:].mean(1), "psnr_of_draw": rgb[:, 1]}
        found["spread"] = draw_spread(rgb[:, 1:], outputs["variance"])
    errors = {name: F.mse_loss(picture, outputs["truth"]) for name, picture in pictures.items()}
    return {**{name: -10 * torch.log10(error) for name, error in errors.items()}, **found}
