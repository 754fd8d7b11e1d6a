"""Where on a ray the field is asked: spans through the object's ball, stratified and importance samples.

Samples are given as `edges`: S + 1 increasing distances that cut a ray's span into S intervals. A field is
queried at the middle of each interval.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def ball_span(
    origins: Float[Tensor, "*R 3"], directions: Float[Tensor, "*R 3"], radius: float = 1.0
) -> tuple[Float[Tensor, "*R"], Float[Tensor, "*R"]]:
    """The part of each ray that lies in the ball of `radius` about the origin, as distances (near, far).

    Directions are unit vectors. A ray that misses the ball gets near == far, an empty span; an origin
    inside the ball starts its span at 0.
    """
    middle = -(origins * directions).sum(-1)
    squared_miss = (origins + middle[..., None] * directions).square().sum(-1)
    half = (radius * radius - squared_miss).clamp_min(0).sqrt()
    return (middle - half).clamp_min(0), (middle + half).clamp_min(0)


def stratified_edges(
    near: Float[Tensor, "*R"],
    far: Float[Tensor, "*R"],
    samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*R S+1"]:
    """Edges of `samples` intervals between near and far: equal ones, or jittered under a generator.

    With a generator each edge moves uniformly between the middles of its neighbouring intervals (NeRF,
    Mildenhall et al. 2020, section 4.1), so that training sees every depth.
    """
    steps = torch.linspace(0, 1, samples + 1, device=near.device, dtype=near.dtype)
    if generator is not None:
        middles = (steps[1:] + steps[:-1]) / 2
        lower = torch.cat([steps[:1], middles])
        upper = torch.cat([middles, steps[-1:]])
        uniform = torch.rand(
            *near.shape, samples + 1, generator=generator, device=near.device, dtype=near.dtype
        )
        steps = lower + (upper - lower) * uniform
    return near[..., None] + (far - near)[..., None] * steps


def importance_edges(
    edges: Float[Tensor, "*R S+1"],
    weights: Float[Tensor, "*R S"],
    samples: int,
    generator: torch.Generator | None = None,
    padding: float = 0.01,
) -> Float[Tensor, "*R S+N+2"]:
    """The given edges merged with `samples` + 1 new ones that follow the weights of a first pass.

    The new edges invert the piecewise linear cumulative weight at evenly spaced levels, jittered within
    their stratum under a generator (NeRF section 5.2). `padding` is added to each weight, so that no
    interval is starved.
    """
    levels = torch.linspace(0, 1 - 1 / (samples + 1), samples + 1, device=edges.device, dtype=edges.dtype)
    levels = levels.expand(*edges.shape[:-1], samples + 1).contiguous()
    if generator is None:
        levels = levels + 0.5 / (samples + 1)
    else:
        uniform = torch.rand(levels.shape, generator=generator, device=edges.device, dtype=edges.dtype)
        levels = levels + uniform / (samples + 1)
    return torch.sort(torch.cat([edges, quantiles(edges, weights + padding, levels)], dim=-1), dim=-1).values


def proposed_edges(
    edges: Float[Tensor, "*R S+1"],
    weights: Float[Tensor, "*R S"],
    samples: int,
    generator: torch.Generator | None = None,
    padding: float = 0.01,
) -> Float[Tensor, "*R N+1"]:
    """Edges of `samples` intervals over the same span that follow the weights of a first pass, in place of
    its own: each holds the same share of the weights, which `padding` is added to (see `importance_edges`).
    """
    nothing = torch.zeros_like(edges[..., 0])
    levels = stratified_edges(nothing, nothing + 1, samples, generator)
    within = quantiles(edges, weights + padding, levels[..., 1:-1].contiguous())
    return torch.cat([edges[..., :1], within, edges[..., -1:]], dim=-1)


def quantiles(
    edges: Float[Tensor, "*R S+1"], weights: Float[Tensor, "*R S"], levels: Float[Tensor, "*R N"]
) -> Float[Tensor, "*R N"]:
    """Where the cumulative weight, piecewise linear and scaled to end at 1, reaches these levels."""
    cumulative = torch.cumsum(weights / weights.sum(-1, keepdim=True), dim=-1).clamp_max(1)
    cumulative = torch.cat([torch.zeros_like(cumulative[..., :1]), cumulative], dim=-1)
    above = torch.searchsorted(cumulative, levels, right=True).clamp(1, edges.shape[-1] - 1)
    low, high = cumulative.gather(-1, above - 1), cumulative.gather(-1, above)
    start, end = edges.gather(-1, above - 1), edges.gather(-1, above)
    fraction = ((levels - low) / (high - low).clamp_min(1e-8)).clamp(0, 1)
    return start + fraction * (end - start)
