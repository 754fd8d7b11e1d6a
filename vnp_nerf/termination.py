"""Where a ray ends: the likelihood of the distance that a renderer knows.

The weights of volume rendering are a distribution over where a ray's light is absorbed, and what is left over
is that of its passing by. The squared error of a pixel asks only for their mean colour, which a fog has as
well as a surface; the likelihood of the true distance asks for the distribution itself.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_FLOOR = 1e-3
"""Probability that is added to each, so that no ray that was given up costs more than 7 nats."""


def termination_probability(
    weights: Float[Tensor, "*R S"],
    edges: Float[Tensor, "*R S+1"],
    depth: Float[Tensor, "*R"],
    window: float,
) -> Float[Tensor, "*R"]:
    """Probability, 0 to 1, that a ray ends no further than `window` from its true distance, or nowhere
    where that is infinite.

    Within an interval the light is taken to be absorbed evenly.
    """
    there = depth.isfinite()
    at = torch.where(there, depth, 0.0)[..., None]
    start, end = edges[..., :-1], edges[..., 1:]
    covered = torch.minimum(end, at + window) - torch.maximum(start, at - window)
    share = covered.clamp_min(0) / (end - start).clamp_min(1e-6)
    return torch.where(there, (weights * share.clamp_max(1)).sum(-1), 1 - weights.sum(-1))


def termination_likelihood(
    weights: Float[Tensor, "*R S"],
    edges: Float[Tensor, "*R S+1"],
    depth: Float[Tensor, "*R"],
    window: float,
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood of the true distances, nats a ray.

    Rays whose true distance lies outside their span are left out: nothing of the field can end them there.
    """
    known = depth.isinf() | ((depth > edges[..., 0]) & (depth < edges[..., -1]))
    found = termination_probability(weights, edges, depth, window)
    lost = -torch.log(found.clamp(0, 1) + _FLOOR) * known
    return lost.sum() / known.sum().clamp_min(1)
