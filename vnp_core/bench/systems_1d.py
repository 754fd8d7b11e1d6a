"""The systems of `bench_1d`: ours, its ablations, and its peers at about as many parameters."""

from dataclasses import replace

from vnp_core.bench.outside import ConvGNPConfig
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
from vnp_core.tokenizers import PointTokenizerConfig

OURS = "vnp"
"""The system that the others are compared with."""

_BLIND = FourierConfig(count=0, raw=False)
_RANK = 64
"""With rotary factors 32 frequencies: they draw any stationary covariance of the domain up to the highest."""
_VNP = ProcessConfig(
    rank=_RANK,
    rotary=RotaryConfig(lowest=0.4, highest=30.0),
    tokenizer=PointTokenizerConfig(fourier=_BLIND, hidden=128),
    encoder=EncoderConfig(width=64, layers=4, hidden=128),
    latents=LatentConfig(levels=2, dim=16, hidden=64),
    decoder=DecoderConfig(width=64, fourier=_BLIND, layers=4, hidden=128),
)
_VNP_OBJECTIVE = ObjectiveConfig(kind="mixture", draws=4, point_weight=0.5)
_MUON = OptimiserConfig(kind="muon", lr=3e-3, weight_decay=0.01)
_ADAMW = OptimiserConfig(lr=1e-3, weight_decay=0.01)
"""For the outside model: it is made of convolutions, and Muon is for matrices."""
_LATENT = ObjectiveConfig(kind="elbo", beta=BetaSchedule(1.0, 2000), free_nats=0.1)
_MIXTURE = ObjectiveConfig(kind="mixture")


def _vnp(
    name: str, *, levels: int = 2, rank: int = _RANK, objective: ObjectiveConfig = _VNP_OBJECTIVE
) -> System:
    model = replace(_VNP, rank=rank, latents=replace(_VNP.latents, levels=levels))
    objective = objective if levels else replace(objective, draws=1)
    return System(name, "vnp", model, objective, _MUON, draws=50 if levels else 1)


SYSTEMS_1D: dict[str, System] = {
    system.name: system
    for system in (
        _vnp(OURS),
        _vnp("vnp-diagonal", rank=0),
        _vnp("vnp-diagonal-L0", rank=0, levels=0),
        _vnp("vnp-elbo", objective=_LATENT),
        System("cnp", "cnp", CNPConfig(width=256), _MIXTURE, _MUON),
        System("np", "np", NPConfig(width=188, latent_dim=188), _LATENT, _MUON, draws=50),
        System("anp", "anp", ANPConfig(width=104, latent_dim=104), _LATENT, _MUON, draws=50),
        System("tnp", "tnp", TNPConfig(width=84, hidden=176), _MIXTURE, _MUON),
        System("convgnp", "convgnp", ConvGNPConfig(channels=70, rank=_RANK), _MIXTURE, _ADAMW),
        *(_vnp(f"vnp-L{levels}", levels=levels) for levels in (0, 1, 4)),
    )
}
"""The systems of `bench_1d`, each of about as many parameters as `vnp`. Peers have the sigma floor 0 too."""

PEERS_1D = ("cnp", "np", "anp", "tnp", "convgnp")
"""The models of others."""

ABLATIONS_1D = ("vnp-diagonal", "vnp-diagonal-L0", "vnp-elbo", "vnp-L0", "vnp-L1", "vnp-L4")
"""Ours with something changed: independent targets, the paper's objective, other numbers of levels."""

LEVELS_1D = {0: "vnp-L0", 1: "vnp-L1", 2: OURS, 4: "vnp-L4"}
"""Which system has how many latent levels."""
