"""What a context costs to encode as it grows: through the bottleneck, and by full self-attention.

Time is the least of a few runs. Memory is the most that tensors held at once beyond the context itself and
the weights, temporary ones inside of operations included.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from vnp_core.errors import ConfigError
from vnp_core.model import Process, ProcessConfig, VersatileNeuralProcess
from vnp_core.observations import PointSet
from vnp_core.results import Row
from vnp_core.tokenizers import PointTokenizerConfig

BOTTLENECK = "bottleneck"
FULL = "self-attention"


@dataclass(frozen=True)
class Cost:
    """Of one encoding."""

    contexts: int
    seconds: float
    peak_bytes: int


def encoding_costs(
    config: ProcessConfig, sizes: Sequence[int], *, tokens: int = 64, device: torch.device | str = "cpu"
) -> dict[str, list[Cost]]:
    """Costs of both ways to encode one context, by name, with `tokens` learned tokens in the bottleneck.

    Full self-attention is as configured; through the bottleneck, rotary attention is left out of it.
    """
    if not isinstance(config.tokenizer, PointTokenizerConfig):
        raise ConfigError("Costs of encoding are measured on points; this model reads patches.")
    device = torch.device(device)
    found: dict[str, list[Cost]] = {}
    for name, count in ((BOTTLENECK, tokens), (FULL, 0)):
        tokenizer = replace(config.tokenizer, bottleneck=count)
        sized = replace(config, tokenizer=tokenizer, rotary=None if count else config.rotary)
        model = VersatileNeuralProcess(sized).eval().to(device)
        found[name] = [_cost(model, size, device) for size in sorted(sizes)]
    return found


def _cost(model: VersatileNeuralProcess, size: int, device: torch.device) -> Cost:
    generator = torch.Generator().manual_seed(size)
    x = torch.rand(1, size, model.config.x_dim, generator=generator) * 4 - 2
    y = torch.randn(1, size, model.config.y_dim, generator=generator)
    context = PointSet.present(x.to(device), y.to(device))

    def encode() -> None:
        model.encode(context)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        return Cost(size, fastest(encode), peak_bytes(encode, device))


def cost_rows(costs: dict[str, list[Cost]], model: str) -> list[Row]:
    """Seconds and bytes of each encoding, and at the end the power of the size that time grows with."""
    rows: list[Row] = []
    for name, curve in costs.items():

        def row(condition: str, metric: str, value: float, name: str = name) -> Row:
            return Row(f"{model}-{name}", "encoding", "speed", condition, metric, value, None, 1)

        for cost in curve:
            rows.append(row(f"contexts={cost.contexts}", "seconds", cost.seconds))
            rows.append(row(f"contexts={cost.contexts}", "peak_bytes", cost.peak_bytes))
        if len(curve) > 1:
            before, last = curve[-2:]
            power = math.log(last.seconds / before.seconds) / math.log(last.contexts / before.contexts)
            rows.append(row(f"contexts={before.contexts} to {last.contexts}", "power", power))
    return rows


def prediction_seconds(
    model: Process, x_dim: int, y_dim: int, *, contexts: int = 50, targets: int = 50, batch: int = 16
) -> float:
    """Seconds of one prediction of a batch with one draw, where the model lives: the least of a few."""
    device = next(model.parameters()).device if isinstance(model, nn.Module) else torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, contexts + targets, x_dim, generator=generator) * 4 - 2
    y = torch.randn(batch, contexts, y_dim, generator=generator)
    context = PointSet.present(x[:, :contexts].to(device), y.to(device))
    asked = x[:, contexts:].to(device)

    def predict() -> None:
        model.predict(context, asked, 1, generator)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        return fastest(predict, least=20)


def fastest(work: Callable[[], object], *, least: int = 3, budget: float = 0.3) -> float:
    """Seconds of the fastest run, of `least` and as many more as fit into `budget` seconds."""
    times: list[float] = []
    while len(times) < least or sum(times) < budget:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
        if sum(times) > 20 * budget:  # slow enough for noise not to matter
            break
    return min(times)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes that tensors made by `work` held at once."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    profiler: Any = torch.profiler
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
