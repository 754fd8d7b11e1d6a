"""What every test may ask for: generators with a known seed, since randomness is always an argument here."""

import os

import numpy as np
import pytest

# Nothing in the tests may open a window or call home.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("WANDB_MODE", "disabled")

import torch


@pytest.fixture
def generator() -> torch.Generator:
    """A torch generator on the CPU, seeded alike for every test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator, seeded alike for every test."""
    return np.random.default_rng(0)
