"""Predators and prey: simulated populations to train on, and the Hudson's Bay pelts to test on.

A simulation has four kinds of events (Lotka 1925, Volterra 1926; as a jump process, Gillespie 1977). With h
thousand hares and l thousand lynx, each changes a population by one *grain*, at these rates a year:

    a hare is born       birth h / grain          a hare is eaten   eating h l / grain
    a lynx is born       breeding h l / grain     a lynx dies       death l / grain

Tau-leaping (Gillespie 2001) draws the numbers of events of a short step from Poisson distributions. Rates are
uniform on ranges around those whose cycle has the pelts' period of about ten years and their mean numbers;
runs in which a population dies out or explodes are drawn again. Values are (lynx, hare), as in the table,
seen under log-normal noise: pelts are no census.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_core.observations import PointSet
from vnp_core.tasks.csv_tasks import read_csv_functions
from vnp_core.tasks.gaussian_processes import draw_counts
from vnp_core.tasks.measured import MeasuredTasks
from vnp_core.tasks.scaling import Scaling
from vnp_core.tasks.task import TaskBatch, step_generator

PELTS = Path(__file__).resolve().parents[2] / "data" / "hudson_bay.csv"

FIRST_YEAR = 1900.0
YEARS = 20.0
POPULATIONS = Scaling(x_shift=(10.0,), x_scale=(5.0,), y_shift=(20.0, 35.0), y_scale=(15.0, 25.0))
"""Years 0 to 20 become -2 to 2; lynx and hares are divided by round numbers near the simulations' spread."""


@dataclass(frozen=True)
class LotkaVolterraConfig:
    """A distribution over tasks. Ranges are uniform; those of counts include both ends."""

    birth: tuple[float, float] = (0.35, 0.8)
    """Births a hare and year."""
    eating: tuple[float, float] = (0.018, 0.04)
    """Hares eaten, a hare, thousand lynx and year."""
    breeding: tuple[float, float] = (0.015, 0.035)
    """Lynx born, a lynx, thousand hares and year."""
    death: tuple[float, float] = (0.5, 1.1)
    """Deaths a lynx and year."""
    first_lynx: tuple[float, float] = (3.0, 60.0)
    """Thousand lynx at the start."""
    first_hares: tuple[float, float] = (10.0, 80.0)
    """Thousand hares at the start."""
    grain: tuple[float, float] = (0.05, 0.4)
    """Thousand animals an event changes: the larger, the more random is a run."""
    noise: tuple[float, float] = (0.0, 0.3)
    """Standard deviation of the logarithm of what is seen of a population; one value a task."""
    least: float = 0.5
    """A run in which a population falls below so many thousand is drawn again."""
    most: float = 150.0
    """And so is one in which it rises above this."""
    burn_in: float = 10.0
    """The most years that pass before the 20 that are seen."""
    time_step: float = 0.05
    """Years of one leap."""
    batch_size: int = 16
    """Tasks in a batch."""
    contexts: tuple[int, int] = (3, 46)
    """Range of the number of contexts."""
    targets: tuple[int, int] = (3, 46)
    """Range of the number of targets, which `total` may narrow."""
    total: int | None = 49
    """The most points that contexts and targets have together; None for no such bound."""
    batches_at_once: int = 64
    """So many batches are simulated together, for speed. Another number gives other tasks."""

    def __post_init__(self) -> None:
        for name in ("birth", "eating", "breeding", "death", "first_lynx", "first_hares", "grain"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"{name} is a range of positive numbers; given was ({low}, {high}).")
        if not 0 <= self.noise[0] <= self.noise[1]:
            raise ConfigError(f"noise is a range of numbers from 0 on; given was {self.noise}.")
        if self.total is not None and self.contexts[1] + self.targets[0] > self.total:
            raise ConfigError(
                f"{self.contexts[1]} contexts and {self.targets[0]} targets exceed a total of {self.total}."
            )


class LotkaVolterraTasks:
    """A task source of simulated populations, seen at random times of 20 years."""

    name = "lotka-volterra"
    x_dim = 1
    y_dim = 2

    def __init__(self, config: LotkaVolterraConfig, seed: int, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.seed = seed
        self.device = torch.device(device)
        self._block = -1
        self._runs = torch.empty(0)

    def batch(self, step: int) -> TaskBatch:
        """The tasks of one step. Fastest when steps are asked for in order."""
        config = self.config
        block, place = divmod(step, config.batches_at_once)
        if block != self._block:
            generator = step_generator(self.seed, block, stream=1)
            count = config.batch_size * config.batches_at_once
            self._block, self._runs = block, simulate(config, count, generator)
        runs = self._runs[place * config.batch_size : (place + 1) * config.batch_size]

        generator = step_generator(self.seed, step)
        contexts, targets = draw_counts(config.contexts, config.targets, config.total, generator)
        shape = (config.batch_size, contexts + targets)
        moments = torch.randint(runs.shape[1], shape, generator=generator)
        seen = runs.gather(1, moments[..., None].expand(-1, -1, 2))
        spread = _uniform(config.noise, config.batch_size, generator)[:, None, None]
        noise = torch.randn(seen.shape, generator=generator, dtype=seen.dtype)
        points = PointSet.present(
            (moments * config.time_step)[..., None].float(), (seen * (spread * noise).exp()).float()
        )
        scaled = POPULATIONS.apply(points)
        x, y = scaled.x, scaled.y
        batch = TaskBatch.of_points(
            PointSet.present(x[:, :contexts], y[:, :contexts]),
            PointSet.present(x[:, contexts:], y[:, contexts:]),
        )
        return batch.to(self.device)


def simulate(
    config: LotkaVolterraConfig, count: int, generator: Generator
) -> Float[Tensor, "count moments 2"]:
    """`count` runs of (lynx, hares) in thousands over 20 years, a moment every `time_step`.

    Raises `ConfigError` where hardly any run of these rates stays within `least` and `most`.
    """
    kept: list[Tensor] = []
    found = 0
    for _ in range(20):
        runs = _leap(config, count, generator)
        runs = runs[_alive(runs, config)]
        kept.append(runs)
        found += len(runs)
        if found >= count:
            return torch.cat(kept)[:count]
    raise ConfigError(
        f"Only {found} of {20 * count} simulations stayed between {config.least} and {config.most} thousand."
        " Choose rates nearer to the defaults, or wider bounds."
    )


def _leap(config: LotkaVolterraConfig, count: int, generator: Generator) -> Float[Tensor, "count moments 2"]:
    """Runs that may have died out."""
    birth, eating, breeding, death, lynx, hares, grain = (
        _uniform(bounds, count, generator)
        for bounds in (
            config.birth,
            config.eating,
            config.breeding,
            config.death,
            config.first_lynx,
            config.first_hares,
            config.grain,
        )
    )
    before = round(config.burn_in / config.time_step)
    moments = round(YEARS / config.time_step) + 1
    states = torch.empty(before + moments, count, 2, dtype=torch.float64)
    pace = config.time_step / grain
    for state in states:
        state[:, 0], state[:, 1] = lynx, hares
        # Lynx live on the hares that are left. Leaping both from the old state would widen every cycle.
        expected = torch.stack([birth * hares, eating * hares * lynx])
        born, eaten = grain * torch.poisson(expected * pace, generator=generator)
        hares = (hares + born - eaten).clamp(0, 10 * config.most)
        expected = torch.stack([breeding * hares * lynx, death * lynx])
        bred, died = grain * torch.poisson(expected * pace, generator=generator)
        lynx = (lynx + bred - died).clamp(0, 10 * config.most)
    start = torch.randint(before + 1, (count,), generator=generator)
    window = start[:, None] + torch.arange(moments)
    return states[window, torch.arange(count)[:, None]]


def _alive(runs: Float[Tensor, "count moments 2"], config: LotkaVolterraConfig) -> Bool[Tensor, "count"]:
    return (runs.amin((1, 2)) >= config.least) & (runs.amax((1, 2)) <= config.most)


def _uniform(bounds: tuple[float, float], count: int, generator: Generator) -> Float[Tensor, "count"]:
    low, high = bounds
    return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)


def hare_lynx(
    seed: int = 0, batch_size: int = 16, contexts: tuple[int, int] = (3, 18), path: Path = PELTS
) -> MeasuredTasks:
    """The pelts of 1900 to 1920 as tasks for a test, scaled as the simulations are.

    Each task is another split of the same 21 years into context and targets. Raises `DataError` where the
    file cannot be read.
    """
    table = read_csv_functions(path, x=["year"], y=["lynx", "hare"], task=None)
    scaling = replace(POPULATIONS, x_shift=(POPULATIONS.x_shift[0] + FIRST_YEAR,))
    return MeasuredTasks(
        "hudson-bay", scaling.apply(table.points), table.labels, scaling, seed, batch_size, contexts
    )
