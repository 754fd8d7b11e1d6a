"""Which of many tensors are not finite, and how their names are told."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

_NAMED = 8
"""So many names are told, and the others counted."""


def not_finite(named: Sequence[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors that hold a NaN or an infinity; one number is fetched where none does."""
    named = [(name, tensor.detach()) for name, tensor in named if tensor.numel()]
    if not named:
        return []
    norms = torch.stack(cast(Any, torch)._foreach_norm([tensor for _, tensor in named], math.inf))
    if bool(norms.isfinite().all()):
        return []
    values = cast("list[float]", cast(Any, norms).tolist())
    return [name for (name, _), norm in zip(named, values, strict=True) if not math.isfinite(norm)]


def listed(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
