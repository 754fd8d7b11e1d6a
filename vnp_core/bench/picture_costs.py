"""What it costs to complete a large picture, from points and from patches: seconds and bytes against pixels.

Half of all pixels are known. Encoding is measured by itself, and with the decoding of all pixels in chunks,
which is what a user waits for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor

from vnp_core.bench.encoding_cost import Cost, fastest, peak_bytes
from vnp_core.model import ProcessConfig, VersatileNeuralProcess
from vnp_core.observations import Observations, grid_coordinates
from vnp_core.results import Row
from vnp_core.tasks.picture_tasks import chosen_pixels, observed_grid
from vnp_core.tokenizers import PatchTokenizerConfig, PointTokenizerConfig

POINTS, PATCHES = "points", "patches"
"""The two ways to read a picture."""
CHUNK = 1024
"""Pixels times draws that are decoded at once: few enough to stay in a processor's cache."""


@dataclass(frozen=True)
class PictureCost:
    """Of one picture: to encode what is known of it, and to complete it."""

    side: int
    encoding: Cost
    completion: Cost


def picture_costs(
    config: ProcessConfig,
    sides: Mapping[str, Sequence[int]],
    *,
    patch: int = 8,
    device: torch.device | str = "cpu",
) -> dict[str, list[PictureCost]]:
    """Costs of both ways, by name, for square pictures of these sides: one draw, weights without training.

    Full attention over points grows with the square of their number, so each way has sides of its own.
    """
    device = torch.device(device)
    tokenizers = {POINTS: PointTokenizerConfig(), PATCHES: PatchTokenizerConfig(patch=patch)}
    if isinstance(config.tokenizer, PointTokenizerConfig):
        tokenizers[POINTS] = config.tokenizer
    found: dict[str, list[PictureCost]] = {}
    for name, tokenizer in tokenizers.items():
        model = VersatileNeuralProcess(replace(config, tokenizer=tokenizer)).eval().to(device)
        found[name] = [_cost(model, side, device) for side in sorted(sides[name])]
    return found


def picture_cost_rows(costs: dict[str, list[PictureCost]], model: str) -> list[Row]:
    """Seconds and bytes of each, and how many times cheaper patches are at sides that both have."""
    rows: list[Row] = []

    def row(name: str, side: int, work: str, metric: str, value: float) -> None:
        condition = f"side={side},work={work}"
        rows.append(Row(f"{model}-{name}", "pictures", "speed", condition, metric, value, None, 1))

    points = {cost.side: cost for cost in costs[POINTS]}
    for name, curve in costs.items():
        for cost in curve:
            for work, part in (("encoding", cost.encoding), ("completion", cost.completion)):
                row(name, cost.side, work, "seconds", part.seconds)
                row(name, cost.side, work, "peak_bytes", part.peak_bytes)
                if name == PATCHES and cost.side in points:
                    other = points[cost.side].encoding if work == "encoding" else points[cost.side].completion
                    row(name, cost.side, work, "ratio_seconds", other.seconds / part.seconds)
                    row(name, cost.side, work, "ratio_bytes", other.peak_bytes / max(1, part.peak_bytes))
    return rows


def field_means(
    model: VersatileNeuralProcess,
    context: Observations,
    x: Float[Tensor, "B M 2"],
    draws: int,
    generator: Generator | None,
    *,
    chunk: int = CHUNK,
) -> Float[Tensor, "B M C"]:
    """The mean over draws at each x, so many places at a time: chunks change nothing, and save memory."""
    tokens = model.encode(context)
    field = model.decode(tokens, model.infer(tokens).sample(draws, generator), ready=True)
    parts = [x[:, start : start + chunk] for start in range(0, x.shape[1], chunk)]
    return torch.cat([field.means(part).mean(1) for part in parts], dim=1)


def completion_seconds(
    config: ProcessConfig,
    side: int,
    batch: int,
    draws: int,
    device: torch.device | str = "cpu",
    *,
    patch: int = 8,
) -> dict[tuple[str, str], float]:
    """Seconds to complete a batch of pictures with some draws, from a quarter of their pixels: by way to read
    them, and by precision of the matrix products.
    """
    device = torch.device(device)
    tokenizers = {POINTS: config.tokenizer, PATCHES: PatchTokenizerConfig(patch=patch)}
    found: dict[tuple[str, str], float] = {}
    for name, tokenizer in tokenizers.items():
        model = VersatileNeuralProcess(replace(config, tokenizer=tokenizer)).eval().to(device)
        generator = torch.Generator().manual_seed(side)
        context, x = _partly_known(model, side, batch, generator, device, share=4)

        def complete(model: Any = model, context: Any = context, x: Any = x) -> None:
            generator = torch.Generator().manual_seed(side)
            field_means(model, context, x, draws, generator, chunk=max(1, CHUNK // draws)).sum().item()

        for precision in ("float32", "bfloat16"):
            rounded = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
            with torch.inference_mode(), rounded:
                found[name, precision] = fastest(complete)
    return found


def _partly_known(
    model: VersatileNeuralProcess,
    side: int,
    batch: int,
    generator: Generator,
    device: torch.device,
    share: int = 2,
) -> tuple[Observations, Float[Tensor, "B M 2"]]:
    """Noise of which one pixel in `share` is known, as the model reads it; and the places of all pixels."""
    values = torch.rand(batch, model.config.y_dim, side, side, generator=generator) - 0.5
    known = torch.rand(batch, side * side, generator=generator).argsort(dim=-1)[:, : side * side // share]
    in_patches = isinstance(model.config.tokenizer, PatchTokenizerConfig)
    read = observed_grid if in_patches else chosen_pixels
    x = rearrange(grid_coordinates(side, side, device), "h w two -> 1 (h w) two").expand(batch, -1, -1)
    return read(values.to(device), known.to(device)), x


def _cost(model: VersatileNeuralProcess, side: int, device: torch.device) -> PictureCost:
    generator = torch.Generator().manual_seed(side)
    context, x = _partly_known(model, side, 1, generator, device)

    def waited(result: object) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def encode() -> None:
        waited(model.encode(context))

    def complete() -> None:
        waited(field_means(model, context, x, 1, None))

    with torch.inference_mode():
        encoding, completion = (
            Cost(side * side, fastest(work, least=1), peak_bytes(work, device)) for work in (encode, complete)
        )
    return PictureCost(side, encoding, completion)
