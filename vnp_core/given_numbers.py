"""Numbers as a notebook holds them (arrays, tensors, lists), made into float64 tensors on the CPU."""

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from vnp_core.errors import DataError

Numbers = Tensor | np.ndarray[Any, Any] | list[Any] | tuple[Any, ...] | float
"""What torch or numpy makes an array of."""


def as_tensor(given: Numbers, what: str) -> Float64[Tensor, "*shape"]:
    """A copy of what was given. Raises `DataError`, which calls it `what`, for what holds no numbers."""
    try:
        if isinstance(given, Tensor):
            return given.detach().to("cpu", torch.float64, copy=True)
        return cast(Any, torch).from_numpy(np.array(given, dtype=np.float64))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{what} is no array of numbers ({error}): give an array, a tensor or a list."
        ) from error


def with_channels(values: Float64[Tensor, "*shape"], count: int, what: str) -> Float64[Tensor, "*shape C"]:
    """The same with its `count` channels as the last axis, which a single channel may lack.

    Raises `DataError` for another number of channels.
    """
    if values.ndim == 1 and not len(values):  # none at all, of which a list cannot say more
        return values.reshape(0, count)
    if count == 1 and (values.ndim < 2 or values.shape[-1] != 1):
        return values[..., None]
    if values.ndim == 0 or values.shape[-1] != count:
        raise DataError(f"{what} has {count} channels, its last axis; given was {list(values.shape)}.")
    return values


def is_bytes(given: Numbers) -> bool:
    """Whether it is an array or tensor of unsigned bytes."""
    return cast(Any, getattr(given, "dtype", None)) in (torch.uint8, np.dtype(np.uint8))
