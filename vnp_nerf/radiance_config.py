"""What can be chosen about the radiance field: architecture, sampling and objective."""

import math
from dataclasses import dataclass, field
from typing import Literal

from vnp_core.encoder import EncoderConfig
from vnp_core.errors import ConfigError
from vnp_core.latents import LatentConfig
from vnp_nerf.reflection import Axis

READINGS = ("point", "planes", "local")


@dataclass(frozen=True)
class RadianceConfig:
    """Architecture, sampling and objective of `vnp-nerf`."""

    kind: Literal["radiance"] = "radiance"
    """Which model this configures."""
    readings: tuple[str, ...] = ("planes", "local")
    """How a point reads the context: any of 'point', 'planes', 'local'."""
    frame: Literal["azimuth", "canonical"] = "azimuth"
    """Heading of the frame that the network reads in: the first context camera's azimuth, or the scene's
    own.
    """
    mirror_views: bool = False
    """Each context view is read together with its mirror image: for corpora whose objects are symmetric and
    stand in one frame. The mask of a mirror image carves nothing.
    """
    mirror_axis: Axis = "y"
    """Axis of the model frame that mirror images turn round, from the objects' left to their right."""
    mirror_marks: bool = False
    """Mirror images are marked, so that the model can believe a view itself more: what is not symmetric
    can then be told.
    """
    view_directions: bool = False
    """Colour may depend on the viewing direction."""
    canvas: int = 64
    """Side of the square canvas that each context view is read at, pixels."""
    patch: int = 8
    """Side of a token's patch, canvas pixels."""
    context_crop: float = 0.0
    """How context views are framed: half of a picture's side over the radius of the outline of the object's
    ball in it. Views of another framing are cropped to this one (`vnp_nerf.perspective_crops`); 0 reads
    all views as they are. It is 1 of scenes whose ball is the one that just fits into their views, as it is
    where no scene states another.
    """
    encoder: EncoderConfig = field(
        default_factory=lambda: EncoderConfig(width=192, layers=4, heads=3, hidden=384)
    )
    """Self-attention over the tokens."""
    latents: LatentConfig = field(default_factory=lambda: LatentConfig(levels=2, dim=8, hidden=192))
    """The stack of global latents."""
    plane_cells: int = 8
    """Cells a side that each plane is attended with."""
    plane_resolution: int = 32
    """Cells a side of the planes that points read."""
    plane_channels: int = 24
    """Features of each plane."""
    plane_layers: int = 2
    """Cross-attention layers of the plane decoder."""
    local_channels: int = 24
    """Features of the maps that points are projected into."""
    local_width: int = 32
    """Width of each view's evidence at a point."""
    point_layers: int = 2
    """Cross-attention layers of the 'point' reading."""
    view_depth: bool = False
    """The depth of each context view's pixels is predicted, and points are told how far behind it they lie;
    for the reading 'local'.
    """
    view_unet: int = 0
    """Channels of the finest level of a U-Net over each view, which then predicts its depth; its coarsest
    level has as many times more as a patch has pixels a side. 0: tokens and local maps predict it.
    """
    mirror_depth: bool = False
    """A view and its mirror image are taken to have one depth: the mean of what is predicted of each."""
    view_depth_steps: int = 0
    """First steps of training that teach the U-Net the views' depth and render nothing."""
    hold_view_depth: bool = False
    """The U-Net keeps the views' depth as it was taught alone, which other losses soon undo: it hears no
    tokens, and only what it adds to tokens and to local maps learns.
    """
    width: int = 64
    """Width of the point network."""
    position_octaves: int = 5
    """Octaves of the Fourier features of a point's position."""
    carve: bool = True
    """Space that a context view's mask shows to be background is empty; switch off where masks cannot be
    trusted.
    """
    radius: float = 1.05
    """Radius of the ball that holds the object, model units; the field is empty outside."""
    train_samples: int = 24
    """Samples a ray in training: stratified, or with `proposal_samples` where these found density."""
    proposal_samples: int = 0
    """Stratified samples a ray of a first pass of training, without gradients; 0: there is none."""
    render_samples: int = 48
    """Evenly spaced samples a ray in rendering."""
    ray_width: float = 0.0
    """What a ray stands for at the object's middle, model units: the width of the pixels of training. A
    picture of wider pixels shows means over several rays a pixel, at most 4 x 4; 0: always one.
    """
    importance_samples: int = 0
    """Further samples a ray where the first pass found density."""
    bfloat16: bool = True
    """Training computes matrix products in bfloat16 where the device is quick at it; rendering sums, KL and
    losses stay in float32.
    """
    alpha_weight: float = 0.2
    """Weight of the squared error of alpha in the loss."""
    depth_weight: float = 0.0
    """Weight of the negative log-likelihood of the distance at which rays truly end, nats a ray; for batches
    with depth.
    """
    depth_window: float = 0.04
    """A ray ends where it should if it does so within this distance of the truth, model units."""
    view_depth_weight: float = 0.01
    """Weight of the negative log-likelihood of the context views' true depth, nats a pixel; for batches with
    depth, and 0 without.
    """
    noise: bool = True
    """Points have a noise of colour and of opacity, rendered along the ray and trained by likelihood."""
    noise_alone: bool = False
    """Nothing but the noise learns: for weights that have none, whose pictures then stay as they are."""
    noise_factor: float = 1.0
    """Times every noise; other than 1 where weights were calibrated after training (`scripts/calibrate.py`).
    """
    likelihood_weight: float = 0.005
    """Weight of the rays' negative log-likelihoods, nats a ray, beside the squared errors."""
    train_draws: int = 4
    """Draws of the latents of each scene that a training step compares; 0 trains at their mean alone, which
    makes the model deterministic.
    """

    def __post_init__(self) -> None:
        unknown = set(self.readings) - set(READINGS)
        if unknown or not self.readings:
            raise ConfigError(f"readings {self.readings} are not of {READINGS}: give at least one of these")
        if self.mirror_views and self.frame != "canonical":
            raise ConfigError(
                f"mirror_views reflects in a plane of the scene's own frame, and frame is {self.frame!r}: "
                "set it to 'canonical'"
            )
        if self.view_depth and "local" not in self.readings:
            raise ConfigError(
                f"view_depth is read where points project into views, and readings are {self.readings}: add "
                "'local', or set view_depth to False"
            )
        if self.view_unet and not self.view_depth:
            raise ConfigError(
                f"view_unet is {self.view_unet}, and what it learns from is views' depth: set view_depth to "
                "True, or view_unet to 0"
            )
        if self.view_unet % 8 or self.view_unet < 0 or (self.view_unet and self.patch not in (2, 4, 8, 16)):
            raise ConfigError(
                f"view_unet is {self.view_unet} and patch {self.patch}: give a multiple of 8 channels, and a "
                "patch of 2, 4, 8 or 16 pixels, which is how often the U-Net halves a view"
            )
        if self.view_depth_steps < 0:
            raise ConfigError(f"view_depth_steps is {self.view_depth_steps}: give 0 or more")
        if self.view_depth_steps and not (self.view_unet and self.view_depth_weight):
            raise ConfigError(
                f"view_depth_steps is {self.view_depth_steps}, and these steps teach the U-Net alone: set "
                "view_unet and view_depth_weight above 0, or view_depth_steps to 0"
            )
        if self.hold_view_depth and (not self.view_unet or self.view_depth_steps):
            raise ConfigError(
                f"hold_view_depth keeps what a U-Net has learned, and view_unet is {self.view_unet} and "
                f"view_depth_steps {self.view_depth_steps}: set view_unet above 0 and the steps to 0, or "
                "hold_view_depth to False"
            )
        if self.mirror_marks and not self.mirror_views:
            raise ConfigError("mirror_marks marks mirror images, and mirror_views is off: set both to True")
        if self.mirror_depth and not (self.mirror_views and self.view_depth):
            raise ConfigError(
                f"mirror_depth is a mean over views and their mirror images, and mirror_views is "
                f"{self.mirror_views} and view_depth {self.view_depth}: set all three to True"
            )
        if self.train_draws and not self.noise:
            raise ConfigError(
                f"train_draws is {self.train_draws}, and only a likelihood compares draws: set noise to True"
            )
        if self.noise_alone and not (self.noise and self.likelihood_weight > 0):
            raise ConfigError(
                f"noise_alone asks for noise, which learns by likelihood, and noise is {self.noise} and "
                f"likelihood_weight {self.likelihood_weight}: set noise to True and the weight above 0"
            )
        if self.noise_alone and self.view_depth_steps:
            raise ConfigError(
                f"noise_alone teaches nothing but noise, and the first {self.view_depth_steps} steps nothing "
                "but the views' depth: set noise_alone to False, or view_depth_steps to 0"
            )
        if min(self.depth_weight, self.view_depth_weight) < 0 or not self.depth_window > 0:
            raise ConfigError(
                f"depth_weight is {self.depth_weight}, view_depth_weight {self.view_depth_weight} and "
                f"depth_window {self.depth_window}: give weights of 0 or more, and a window above 0"
            )
        if not (self.context_crop == 0 or 1 <= self.context_crop < math.inf):
            raise ConfigError(
                f"context_crop is {self.context_crop}: give 0, or at least 1: less cuts the object's ball"
            )
        if not 0 <= self.ray_width < math.inf:
            raise ConfigError(f"ray_width is {self.ray_width}: give a width in model units, or 0")
        if not 0 < self.noise_factor < math.inf:
            raise ConfigError(f"noise_factor is {self.noise_factor}: it must be positive and finite")
        if "local" in self.readings and self.canvas % 2:
            raise ConfigError(
                f"the canvas of {self.canvas} pixels is odd, and feature maps are half as wide: make it even"
            )
        if self.canvas % self.patch:
            raise ConfigError(
                f"the canvas of {self.canvas} pixels is not a multiple of the patch of {self.patch}"
            )
