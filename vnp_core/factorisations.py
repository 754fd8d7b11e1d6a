"""PyTorch's matrix factorisations with the types that PyTorch does not declare for them."""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

_linalg = cast(Any, torch.linalg)
_cholesky = cast("Callable[[Tensor], Tensor]", _linalg.cholesky)
_eigh = cast("Callable[[Tensor], tuple[Tensor, Tensor]]", _linalg.eigh)
_solve_triangular = cast("Callable[..., Tensor]", _linalg.solve_triangular)


def cholesky(matrix: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
    """The lower factor L with L L^T = `matrix`, which is symmetric and positive definite."""
    return _cholesky(matrix)


def eigh(matrix: Float[Tensor, "*B N N"]) -> tuple[Float[Tensor, "*B N"], Float[Tensor, "*B N N"]]:
    """Eigenvalues in ascending order, and eigenvectors as columns, of a symmetric matrix."""
    values, vectors = _eigh(matrix)
    return values, vectors


def solve_lower(factor: Float[Tensor, "*B N N"], right: Float[Tensor, "*B N M"]) -> Float[Tensor, "*B N M"]:
    """L^-1 `right` for a lower triangular L."""
    return _solve_triangular(factor, right, upper=False)
