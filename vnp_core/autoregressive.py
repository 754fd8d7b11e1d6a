"""A process asked for one target after another, each answer appended to the context (Bruinsma et al. 2023).

Any model's predictions per point become a joint distribution in this way, at the price of one forward pass a
target and of an answer that depends on the order.
"""

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from vnp_core.likelihoods import accumulator, target_counts
from vnp_core.model import Process
from vnp_core.objectives import log_mean_exp
from vnp_core.observations import PointSet


def autoregressive_score(
    model: Process, context: PointSet, targets: PointSet, draws: int, generator: Generator
) -> Float[Tensor, "B"]:
    """Joint log-likelihood of the targets divided by their number, one after another; nats a target.

    Each task has a random order of its own. Each target's density is the mixture over `draws` draws given the
    context and the targets before it. Padded targets change nothing.
    """
    targets = targets.cleared()
    order = _random_order(targets.mask, generator)
    targets = PointSet(
        _reordered(targets.x, order), _reordered(targets.y, order), targets.mask.gather(1, order)
    )
    total = torch.zeros(len(order), dtype=accumulator(order.device), device=order.device)
    for index in range(order.shape[1]):
        target = _single(targets, index)
        log_probs = model.predict(context, target.x, draws, generator).log_probs(target.y, target.mask)
        total = total + log_mean_exp(log_probs, 1).sum(-1)
        context = context.cat(target)
    return total / target_counts(targets.mask, total.dtype)


def autoregressive_samples(
    model: Process, context: PointSet, x: Float[Tensor, "B M X"], samples: int, generator: Generator
) -> Float[Tensor, "B S M Y"]:
    """`samples` joint samples of the targets at x, observation noise included.

    Each sample goes through the targets in a random order of its own, and draws its latents anew at each.
    """
    batch = x.shape[0]
    x = repeat(x, "b m x -> (b s) m x", s=samples)
    known = PointSet(
        *(repeat(part, "b ... -> (b s) ...", s=samples) for part in (context.x, context.y, context.mask))
    )
    given = known.x.shape[1]
    order = _random_order(torch.ones(x.shape[:2], dtype=torch.bool, device=x.device), generator)
    x = _reordered(x, order)
    for index in range(x.shape[1]):
        asked = x[:, index : index + 1]
        value = model.predict(known, asked, 1, generator).sample(generator)[:, 0]
        known = known.cat(PointSet.present(asked, value.to(known.y.dtype)))
    drawn = _reordered(known.y[:, given:], order.argsort(dim=1))
    return rearrange(drawn, "(b s) m y -> b s m y", b=batch)


def _random_order(mask: Bool[Tensor, "B M"], generator: Generator) -> Int[Tensor, "B M"]:
    """A random order of each row's present targets, then the absent ones; more padding leaves it alone."""
    keys = torch.rand(mask.T.shape, generator=generator, device=generator.device).T.to(mask.device)
    return keys.masked_fill(~mask, 2.0).argsort(dim=1)


def _reordered(values: Float[Tensor, "B M C"], order: Int[Tensor, "B M"]) -> Float[Tensor, "B M C"]:
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))


def _single(points: PointSet, index: int) -> PointSet:
    here = slice(index, index + 1)
    return PointSet(points.x[:, here], points.y[:, here], points.mask[:, here])
