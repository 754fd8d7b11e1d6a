"""The systems of `bench_2d`: ours on points and on patches, and its peers at about as many parameters."""

from collections.abc import Mapping
from dataclasses import replace

from vnp_core.bench.systems import System
from vnp_core.decoder import DecoderConfig
from vnp_core.encoder import EncoderConfig
from vnp_core.fourier import FourierConfig
from vnp_core.latents import LatentConfig
from vnp_core.model import ProcessConfig
from vnp_core.objectives import BetaSchedule
from vnp_core.optimisers import OptimiserConfig
from vnp_core.peers import ANPConfig, CNPConfig, NPConfig, TNPConfig
from vnp_core.process_objectives import ObjectiveConfig
from vnp_core.rotary import RotaryConfig
from vnp_core.tasks.pictures import ROUNDING_STD
from vnp_core.tokenizers import PatchTokenizerConfig, PointTokenizerConfig

OURS = "vnp"
"""The system that the others are compared with."""
PATCHES = "vnp-patches"
"""The same model on patches of the masked picture."""

SIGMA_FLOOR = round(ROUNDING_STD, 5)
"""Smallest standard deviation that any system can predict: that of a value spread evenly over its grey level.
A channel then scores at most 5.36 nats. Transformer neural processes were published with .05, under which it
scores at most 2.077; half of all pixels of Fashion-MNIST are exactly black, and meet that bound."""

_PLACE = FourierConfig(count=8, octaves=4.5)
"""Pictures are not the same everywhere: absolute places, from one period on [-2, 2] to one on 2.5 pixels."""
_VNP = ProcessConfig(
    x_dim=2,
    sigma_floor=SIGMA_FLOOR,
    rank=64,
    rotary=RotaryConfig(lowest=0.5, highest=40.0),
    factor_rotary=RotaryConfig(lowest=0.5, highest=12.0),
    tokenizer=PointTokenizerConfig(fourier=_PLACE, hidden=224),
    encoder=EncoderConfig(width=112, layers=5, hidden=224),
    latents=LatentConfig(levels=2, dim=32, hidden=112),
    decoder=DecoderConfig(width=112, fourier=_PLACE, layers=4, hidden=224),
)
_VNP_OBJECTIVE = ObjectiveConfig(kind="mixture", draws=8, point_weight=0.5)
_MUON = OptimiserConfig(kind="muon", lr=3e-3, weight_decay=0.01)
_LATENT = ObjectiveConfig(kind="elbo", beta=BetaSchedule(1.0, 2000), free_nats=0.1)
_MIXTURE = ObjectiveConfig(kind="mixture")

SYSTEMS_2D: dict[str, System] = {
    system.name: system
    for system in (
        System(OURS, "vnp", _VNP, _VNP_OBJECTIVE, _MUON, draws=50),
        System("tnp", "tnp", TNPConfig(width=144, hidden=380, sigma_floor=SIGMA_FLOOR), _MIXTURE, _MUON),
        System(
            "anp",
            "anp",
            ANPConfig(width=192, latent_dim=192, sigma_floor=SIGMA_FLOOR),
            _LATENT,
            _MUON,
            draws=50,
        ),
        System("cnp", "cnp", CNPConfig(width=464, sigma_floor=SIGMA_FLOOR), _MIXTURE, _MUON),
        System(
            "np",
            "np",
            NPConfig(width=344, latent_dim=344, sigma_floor=SIGMA_FLOOR),
            _LATENT,
            _MUON,
            draws=50,
        ),
        System(
            PATCHES,
            "vnp",
            replace(_VNP, tokenizer=PatchTokenizerConfig(patch=4)),
            _VNP_OBJECTIVE,
            _MUON,
            draws=50,
        ),
        System(
            "vnp-L0",
            "vnp",
            replace(_VNP, latents=replace(_VNP.latents, levels=0)),
            replace(_VNP_OBJECTIVE, draws=1),
            _MUON,
        ),
    )
}
"""The systems of `bench_2d`, each of about as many parameters as `vnp`, all with the same floor of sigma."""


def with_floor(systems: Mapping[str, System], floor: float) -> dict[str, System]:
    """The same systems under another floor of sigma."""
    return {
        name: replace(system, model=replace(system.model, sigma_floor=floor))
        for name, system in systems.items()
    }
