"""The smallest scene model, which tests take as it is or change in the parts that they are about."""

from vnp_core.encoder import EncoderConfig
from vnp_core.latents import LatentConfig
from vnp_nerf.radiance_config import RadianceConfig

SMALLEST = RadianceConfig(
    canvas=16,
    encoder=EncoderConfig(width=16, layers=1, heads=2, hidden=16),
    latents=LatentConfig(levels=1, dim=4, hidden=8),
    plane_cells=4,
    plane_resolution=4,
    plane_channels=4,
    plane_layers=1,
    local_channels=4,
    local_width=8,
    width=16,
    render_samples=4,
)
"""Built, saved and rendered in no time."""
