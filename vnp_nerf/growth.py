"""A larger model that begins as a smaller one: the same function, with room to learn more (Net2Net, Chen et
al. 2016).

New channels are computed from the start, and what was there before reads them with weights 0. New layers add
nothing until they have learned to.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig

_WRITES = re.compile(
    r"(encoder\.blocks|planes\.blocks)\.\d+\.(attention\.to_output|feed_forward\.2)\."
    r"|planes\.from_latents\.\d+\."
)
"""Tensors of a layer by which it adds to the stream of states."""


def grown(
    given: Mapping[str, Tensor], config: RadianceConfig, model: RadianceModel
) -> tuple[dict[str, Tensor], list[str]]:
    """The state of a fresh `model`, filled with `given` tensors of a model of `config` as far as they go.

    What has its shape is taken as it is. Points' and views' networks may be wider, planes and local maps may
    have more channels, and encoder and plane decoder more layers: the function stays the same. Returns the
    state and the names of the tensors for which nothing was given that fits: these stay fresh, and with
    them the function is another.
    """
    state, fresh = model.state_dict(), list[str]()
    old, new = _joined_inputs(config), _joined_inputs(model.config)
    for name, own in state.items():
        before = given.get(name)
        if before is not None and before.shape == own.shape:
            state[name] = before
        elif before is not None and _can_grow(name, before, own, config, model.config):
            unnumbered = re.sub(r"residual\.\d+\.", "residual.N.", name)
            state[name] = _widened(before, own, old.get(unnumbered, ()), new.get(unnumbered, ()))
        elif before is None and _is_new_layer(name, given):
            state[name] = torch.zeros_like(own) if _WRITES.match(name) else own
        else:
            fresh.append(name)
    return state, fresh


def _joined_inputs(config: RadianceConfig) -> dict[str, tuple[int, ...]]:
    """Of maps whose input is several things side by side: how long each of them is."""
    planes = (config.plane_channels,) * 3 if "planes" in config.readings else ()
    local = (config.local_width, config.local_width, 1) if "local" in config.readings else ()
    towards = (3,) if config.view_directions else ()
    return {
        "network.enter.weight": (3 + 6 * config.position_octaves, *planes, *local),
        "network.residual.N.mlp.0.weight": (config.width, config.width),
        "local.mix.0.weight": (config.local_channels, config.local_channels),
        "local.per_view.0.weight": (config.local_channels,),
        "blend.query.weight": (config.width, *towards),
        "blend.own.weight": (config.width, *towards),
    }


def _can_grow(name: str, before: Tensor, own: Tensor, old: RadianceConfig, new: RadianceConfig) -> bool:
    """Whether a tensor of this name is one whose new rows and columns can be told from its old ones."""
    if before.ndim != own.ndim or any(a > b for a, b in zip(before.shape, own.shape, strict=True)):
        return False
    if before.shape[2:] != own.shape[2:]:
        return False
    if name == "network.enter.weight":
        return (old.readings, old.position_octaves) == (new.readings, new.position_octaves)
    if name.startswith("planes."):
        cells = (old.plane_cells, old.plane_resolution) == (new.plane_cells, new.plane_resolution)
        return cells and name.startswith(("planes.expand.", "planes.refine."))
    if name.startswith("network.styles."):
        return False
    return name.startswith(("network.", "local.", "blend.", "noise."))


def _is_new_layer(name: str, given: Mapping[str, Tensor]) -> bool:
    """Whether a tensor belongs to a further layer of a stack that was given."""
    stack = re.match(r"(encoder\.blocks|planes\.blocks|planes\.from_latents)\.\d+\.", name)
    return stack is not None and any(other.startswith(stack[1]) for other in given)


def _widened(before: Tensor, own: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """`own`, fresh, with the old rows in the place of its first ones: these do not read new columns.

    old, new: how long the parts are that the columns consist of, as far as that is not one alone.
    """
    rows = len(before)
    widened = own.clone()
    if before.ndim == 1:
        widened[:rows] = before
        return widened
    widened[:rows] = 0
    columns = _kept_columns(before.shape[1], own.shape[1], old, new)
    widened[:rows, columns] = before
    return widened


def _kept_columns(before: int, own: int, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """Where each old column lies among the new ones; what the parts leave over is one more."""
    old, new = (*old, before - sum(old)), (*new, own - sum(new))
    starts = torch.tensor([0, *new]).cumsum(0)
    return torch.cat([start + torch.arange(length) for start, length in zip(starts, old, strict=False)])
