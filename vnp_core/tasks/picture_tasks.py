"""Pictures as functions from a place to a colour: which pixels are known, and which are asked for.

    random   n_c known pixels and n_t others asked for, as published
    block    a square of half the side is missing, and asked for
    half     the lower half is missing, and asked for
    coarse2  a grid of half as many pixels a side is known, each the mean of four; all fine ones asked for
    coarse4  the same with a quarter, each the mean of sixteen

Every batch is a function of seed and step. It is drawn where the pictures lie: on a GPU by its own generator,
so that training waits for nothing; tests keep their pictures on the CPU, and are the same everywhere.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_core.observations import Grid, PointSet, grid_coordinates
from vnp_core.tasks.gaussian_processes import draw_counts
from vnp_core.tasks.pictures import Pictures, levels_to_values, spread_levels
from vnp_core.tasks.task import TaskBatch, step_generator

PictureTaskKind = Literal["random", "block", "half", "coarse2", "coarse4"]
COARSE: dict[PictureTaskKind, int] = {"coarse2": 2, "coarse4": 4}
"""How many times fewer pixels a side the known grid has."""


@dataclass(frozen=True)
class PictureTasksConfig:
    """Which tasks; the defaults are the published protocol. Pairs are inclusive ranges, each value alike."""

    kinds: tuple[PictureTaskKind, ...] = ("random",)
    """Kinds of tasks, of which each batch has one, drawn evenly."""
    batch_size: int = 16
    """Tasks in a batch, which share their kind and their numbers of pixels."""
    contexts: tuple[int, int] = (3, 196)
    """Range of the number of known pixels, of `random`."""
    targets: tuple[int, int] = (3, 196)
    """Range of the number of pixels asked for, of `random`; `total` narrows it."""
    total: int = 199
    """The most pixels that both have together."""
    spread: bool = False
    """Spread what is asked for evenly over its grey level, so that densities of 8-bit values are bounded
    (Theis et al. 2016). What is known stays as it is."""

    def __post_init__(self) -> None:
        if not self.kinds or set(self.kinds) - set(get_args(PictureTaskKind)):
            raise ConfigError(f"Kinds of tasks are {get_args(PictureTaskKind)}; given were {self.kinds}.")
        for name, least in (("contexts", 0), ("targets", 1)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ConfigError(f"{name} is a range of counts from {least} on; given was ({low}, {high}).")
        if self.batch_size < 1 or self.contexts[1] + self.targets[0] > self.total:
            raise ConfigError(
                f"batch_size is 1 or more, and {self.contexts[1]} contexts with {self.targets[0]} targets "
                f"must fit into a total of {self.total}; given was {self}."
            )

    @classmethod
    def for_size(cls, height: int, width: int) -> "PictureTasksConfig":
        """The published ranges; for pictures of fewer than 784 pixels, up to a quarter of them are known."""
        most = max(3, min(196, height * width // 4))
        return cls(contexts=(3, most), targets=(3, most), total=most + 3)

    def sized(self, contexts: int, targets: int) -> "PictureTasksConfig":
        """Tasks `random` of exactly so many pixels."""
        return replace(
            self,
            kinds=("random",),
            contexts=(contexts, contexts),
            targets=(targets, targets),
            total=contexts + targets,
        )


@dataclass(frozen=True)
class PictureTasks:
    """A task source over pictures, drawn with replacement. Raises `ConfigError` where they are too small."""

    name: str
    pictures: Pictures
    config: PictureTasksConfig
    seed: int = 0
    as_grids: bool = False
    """Give what is known as a partly observed `Grid`, for models that read patches; same pixels."""
    x_dim: int = field(default=2, init=False)

    def __post_init__(self) -> None:
        height, width = self.pictures.size
        if "random" in self.config.kinds and self.config.total > height * width:
            raise ConfigError(
                f"Pictures of {self.name} have {height * width} pixels, fewer than a task's "
                f"{self.config.total}. Ask for fewer contexts and targets."
            )
        for kind in self.config.kinds:
            factor = COARSE.get(kind, 1)
            if height % factor or width % factor:
                raise ConfigError(f"'{kind}' needs sides that {factor} divides; {self.name} has {height}.")
            if factor > 1 and self.as_grids:
                raise ConfigError(
                    f"A coarse grid ('{kind}') is no part of the fine one: patches cannot read it."
                )

    @property
    def y_dim(self) -> int:
        """Channels of a picture."""
        return self.pictures.channels

    def gridded(self) -> "PictureTasks":
        """The same tasks, with partly observed grids as their contexts."""
        return replace(self, as_grids=True)

    def batch(self, step: int) -> TaskBatch:
        """The tasks of one step."""
        host = step_generator(self.seed, step)
        kinds = self.config.kinds
        kind = kinds[int(torch.randint(len(kinds), (), generator=host))]
        contexts, targets = draw_counts(self.config.contexts, self.config.targets, self.config.total, host)
        device = self.pictures.pixels.device
        drawing = host
        if device.type != "cpu":
            drawing = Generator(device).manual_seed(host.initial_seed())
        size, pixels = self.config.batch_size, math.prod(self.pictures.size)
        chosen = torch.randint(len(self.pictures.labels), (size,), generator=drawing, device=device)
        values = levels_to_values(self.pictures.pixels[chosen])
        asked_values = spread_levels(values, drawing) if self.config.spread else values
        if kind in COARSE:
            return coarse_tasks(values, COARSE[kind], asked_values)
        if kind == "random":
            order = torch.rand(size, pixels, generator=drawing, device=device).argsort(dim=-1)
            known, asked = order[:, :contexts], order[:, contexts : contexts + targets]
        else:
            known, asked = _cut(values, kind, drawing)
        return _tasks(values, asked_values, known, asked, as_grids=self.as_grids)


def coarse_tasks(
    values: Float[Tensor, "B C H W"], factor: int, asked_values: Float[Tensor, "B C H W"] | None = None
) -> TaskBatch:
    """Super-resolution: means over squares of `factor` x `factor` pixels are known, all pixels asked for.

    What is asked for has `asked_values` where they are given.
    """
    coarse = F.avg_pool2d(values, factor)
    known = torch.ones_like(coarse[:, 0], dtype=torch.bool)
    everywhere = torch.ones_like(values[:, 0], dtype=torch.bool)
    fine = values if asked_values is None else asked_values
    return TaskBatch.of_points(Grid(coarse, known).points(), Grid(fine, everywhere).points())


def chosen_pixels(values: Float[Tensor, "B C H W"], indices: Int64[Tensor, "B N"]) -> PointSet:
    """The pixels at these places of the flattened pictures, as points."""
    height, width = values.shape[2:]
    places = rearrange(grid_coordinates(height, width, values.device), "h w two -> (h w) two")
    flat = rearrange(values, "b c h w -> b (h w) c")
    y = flat.gather(1, indices[..., None].expand(-1, -1, flat.shape[-1]))
    return PointSet.present(places[indices], y)


def observed_grid(values: Float[Tensor, "B C H W"], indices: Int64[Tensor, "B N"]) -> Grid:
    """The pictures, of which the pixels at these places of the flattened ones are observed, the rest 0."""
    batch, _, height, width = values.shape
    mask = torch.zeros(batch, height * width, dtype=torch.bool, device=values.device)
    mask = rearrange(mask.scatter(1, indices, True), "b (h w) -> b h w", h=height)
    return Grid(values.masked_fill(~mask[:, None], 0.0), mask)


def _tasks(
    values: Float[Tensor, "B C H W"],
    asked_values: Float[Tensor, "B C H W"],
    known: Int64[Tensor, "B N"],
    asked: Int64[Tensor, "B M"],
    *,
    as_grids: bool,
) -> TaskBatch:
    targets = chosen_pixels(asked_values, asked)
    if as_grids:
        context = observed_grid(values, known)
        answers = observed_grid(asked_values, asked)
        everything = Grid(context.values + answers.values, context.mask | answers.mask)
        return TaskBatch(context, targets, everything)
    return TaskBatch.of_points(chosen_pixels(values, known), targets)


def _cut(
    values: Float[Tensor, "B C H W"], kind: PictureTaskKind, generator: Generator
) -> tuple[Int64[Tensor, "B N"], Int64[Tensor, "B M"]]:
    """Which pixels are known and which are missing, where a whole part of the picture is."""
    batch, _, height, width = values.shape
    rows = torch.arange(height, device=values.device)[None, :, None]
    columns = torch.arange(width, device=values.device)[None, None, :]
    if kind == "half":
        missing = (rows >= height // 2).expand(batch, -1, width)
        count = (height - height // 2) * width
    else:
        sides = (height // 2, width // 2)
        tops, lefts = (
            torch.randint(whole - side + 1, (batch, 1, 1), generator=generator, device=values.device)
            for whole, side in zip((height, width), sides, strict=True)
        )
        within = (rows >= tops) & (rows < tops + sides[0])
        missing = within & (columns >= lefts) & (columns < lefts + sides[1])
        count = sides[0] * sides[1]
    # Known pixels first, each part in its own order; the counts are the same for all pictures.
    order = rearrange(missing, "b h w -> b (h w)").to(torch.uint8).argsort(dim=-1, stable=True)
    cut = height * width - count
    return order[:, :cut], order[:, cut:]
