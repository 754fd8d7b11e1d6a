"""Versatile Neural Processes (Guo et al., ICLR 2023) for signals of any dimension.

    import vnp_core

    function = vnp_core.load("rbf").infer(x, y)                        # shipped weights; x [N], y [N]
    answer = function.predict(queries)                                 # answer.mean, answer.sigma
    curves = function.sample(queries, 8)                               # functions that fit

The same in its parts, for models of your own:

    from vnp_core import PointSet, ProcessConfig, VersatileNeuralProcess

    model  = VersatileNeuralProcess(ProcessConfig(x_dim=1, y_dim=1))
    tokens = model.encode(PointSet.present(x, y))                      # x [B, N, 1], y [B, N, 1]
    draws  = model.infer(tokens).sample(8, torch.Generator().manual_seed(0))
    answer = model.decode(tokens, draws)(queries)                      # queries [B, M, 1]
    answer.mean, answer.variance

The names below are loaded when they are first used, so that `import vnp_core` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vnp_core.config import from_dict, to_dict
    from vnp_core.likelihoods import GaussianMixture, joint_score, point_score
    from vnp_core.loaded_process import InferredFunction, LoadedProcess, Prediction, load, shipped_weights
    from vnp_core.model import Field, ProcessConfig, VersatileNeuralProcess
    from vnp_core.objectives import (
        BetaSchedule,
        CollapseMonitor,
        elbo,
        importance_weighted_bound,
        mixture_log_likelihood,
    )
    from vnp_core.observations import Grid, PointSet, grid_coordinates
    from vnp_core.tasks.scaling import Scaling
    from vnp_core.tokenizers import PatchTokenizerConfig, PointTokenizerConfig
    from vnp_core.tokens import Tokens

__all__ = [
    "BetaSchedule",
    "CollapseMonitor",
    "Field",
    "GaussianMixture",
    "Grid",
    "InferredFunction",
    "LoadedProcess",
    "PatchTokenizerConfig",
    "PointSet",
    "PointTokenizerConfig",
    "Prediction",
    "ProcessConfig",
    "Scaling",
    "Tokens",
    "VersatileNeuralProcess",
    "elbo",
    "from_dict",
    "grid_coordinates",
    "importance_weighted_bound",
    "joint_score",
    "load",
    "mixture_log_likelihood",
    "point_score",
    "shipped_weights",
    "to_dict",
]

_HOMES = {
    "config": ("from_dict", "to_dict"),
    "loaded_process": ("InferredFunction", "LoadedProcess", "Prediction", "load", "shipped_weights"),
    "likelihoods": ("GaussianMixture", "joint_score", "point_score"),
    "model": ("Field", "ProcessConfig", "VersatileNeuralProcess"),
    "objectives": (
        "BetaSchedule",
        "CollapseMonitor",
        "elbo",
        "importance_weighted_bound",
        "mixture_log_likelihood",
    ),
    "observations": ("Grid", "PointSet", "grid_coordinates"),
    "tasks.scaling": ("Scaling",),
    "tokenizers": ("PatchTokenizerConfig", "PointTokenizerConfig"),
    "tokens": ("Tokens",),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"vnp_core.{module}"), name)
    raise AttributeError(f"module 'vnp_core' has no attribute '{name}'")
