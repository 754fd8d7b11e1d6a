"""What every test may ask for: generators with a known seed, since randomness is always an argument here."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Imports a program of scripts/ by its name."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).resolve().parents[1] / "scripts" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their own module up
        spec.loader.exec_module(module)
        return module

    return load
