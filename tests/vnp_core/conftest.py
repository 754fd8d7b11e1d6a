"""Small tasks and models that the tests of the benchmarks share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vnp_core.bench.systems import System
from vnp_core.decoder import DecoderConfig
from vnp_core.encoder import EncoderConfig
from vnp_core.latents import LatentConfig
from vnp_core.likelihoods import GaussianMixture
from vnp_core.model import ProcessConfig
from vnp_core.objectives import BetaSchedule
from vnp_core.optimisers import OptimiserConfig
from vnp_core.peers import CNPConfig
from vnp_core.process_objectives import ObjectiveConfig
from vnp_core.results import Results
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks
from vnp_core.tokenizers import PointTokenizerConfig


@pytest.fixture
def tasks() -> GaussianProcessTasks:
    """Batches of 4 tasks of a few points."""
    return GaussianProcessTasks(GaussianProcessConfig(batch_size=4, contexts=(2, 6), targets=(2, 5)), seed=1)


@pytest.fixture(scope="session")
def tiny_vnp() -> System:
    """The smallest system with latents, a correlated head and a posterior."""
    model = ProcessConfig(
        rank=2,
        tokenizer=PointTokenizerConfig(hidden=8),
        encoder=EncoderConfig(width=8, layers=1, heads=2, hidden=8),
        latents=LatentConfig(levels=2, dim=2, hidden=8),
        decoder=DecoderConfig(width=8, layers=1, heads=2, hidden=8),
    )
    objective = ObjectiveConfig(kind="elbo", draws=2, beta=BetaSchedule(1.0, 4))
    return System("vnp", "vnp", model, objective, OptimiserConfig(lr=1e-2, warmup=2), draws=3)


@pytest.fixture(scope="session")
def tiny_cnp() -> System:
    """The smallest system without latents."""
    objective = ObjectiveConfig(kind="mixture")
    return System("cnp", "cnp", CNPConfig(width=8, layers=2), objective, OptimiserConfig(lr=1e-2))


class Guess(nn.Module):
    """Predicts the same K Gaussians everywhere, whatever the context."""

    def __init__(self, means: tuple[float, ...], std: float) -> None:
        super().__init__()
        self.means, self.std = means, std

    def predict(
        self, context: Any, x: Float[Tensor, "B M X"], draws: int, generator: Generator | None
    ) -> GaussianMixture:
        means = torch.tensor(self.means)[None, :, None, None].expand(x.shape[0], -1, x.shape[1], 1)
        return GaussianMixture(means, torch.full_like(means, self.std))


@pytest.fixture
def guess() -> type[Guess]:
    """The class above."""
    return Guess


@pytest.fixture(scope="session")
def values() -> Callable[..., dict[tuple[str, str, str], float]]:
    """Finds the values of the rows that have the wanted fields, by model, condition and metric."""

    def find(results: Results, **wanted: str) -> dict[tuple[str, str, str], float]:
        return {
            (row.model, row.condition, row.metric): row.value
            for row in results.rows
            if all(getattr(row, name) == value for name, value in wanted.items())
        }

    return find


@pytest.fixture(scope="session")
def once() -> Callable[..., float]:
    """In place of timing several runs."""

    def work_once(work: Callable[[], object], **_settings: Any) -> float:
        work()
        return 0.001

    return work_once
