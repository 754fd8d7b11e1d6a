"""Factorisations: each puts its matrix together again."""

import torch

from vnp_core.factorisations import cholesky, eigh, solve_lower


def test_factors_give_the_matrix_back():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(5, dtype=torch.float64)
    factor = cholesky(matrix)
    torch.testing.assert_close(factor @ factor.mT, matrix)
    assert torch.equal(factor, factor.tril())
    values, vectors = eigh(matrix)
    torch.testing.assert_close(vectors @ torch.diag_embed(values) @ vectors.mT, matrix)
    assert (values.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(factor @ solve_lower(factor, root), root)
