"""Training batches from many scenes: context views, target views, and rays through the target views."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vnp_core.errors import ConfigError, DataError, SceneNotFoundError, ViewCountError, VNPError
from vnp_nerf.augmentation import Augmentation
from vnp_nerf.cameras import pixel_rays
from vnp_nerf.readers import ReadOptions
from vnp_nerf.reflection import Axis
from vnp_nerf.rendering import over
from vnp_nerf.scene import Scene
from vnp_nerf.scene_cache import SceneCache
from vnp_nerf.true_depth import distances, shrunk_depth
from vnp_nerf.views import Views, unit_range


@dataclass
class BatchConfig:
    """What a training batch holds."""

    scenes_per_batch: int = 8
    """Scenes in a batch."""
    rays_per_scene: int = 512
    """Rays of each of them."""
    min_context_views: int = 1
    """Fewest context views; each batch draws one number for all of its scenes."""
    max_context_views: int = 3
    """Most context views."""
    context_shrink: int = 1
    """Context pictures are made smaller by this factor: for scenes whose pictures are finer than those that
    will be given, so that rays learn from finer pixels than the model reads.
    """
    target_views: int = 2
    """Views of each scene that the rays go through."""
    foreground_fraction: float = 0.5
    """Share of the rays, 0 to 1, that go through the box around the object; the others go anywhere."""
    context_share: float = 0.0
    """Share of the rays, 0 to 1, that go through the first context view instead: what it shows is to be kept
    by every draw of the latents.
    """
    mirror_fraction: float = 0.0
    """Share of the scenes, 0 to 1, that are mirrored."""
    mirror_axis: Axis = "y"
    """Axis of the model frame that this turns round; where a model reads in the canonical frame, the one from
    left to right.
    """
    recolour_fraction: float = 0.0
    """Share of the scenes, 0 to 1, whose colour channels are permuted."""
    depth: bool = False
    """Rays, and all pixels of context views, come with the distance at which they truly end; for scenes of
    `make_scenes.py --depth`.
    """
    cache_mebibytes: int = 2048
    """Most memory that decoded pictures take, MiB, in all workers together."""
    workers: int = 0
    """Processes that make batches ahead; 0 makes them in the training's own."""

    def validate(self) -> None:
        """Raises `ConfigError` for numbers that no batch can have."""
        for name in ("scenes_per_batch", "rays_per_scene", "target_views", "context_shrink"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("min_context_views", "cache_mebibytes", "workers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 0.")
        if self.max_context_views < self.min_context_views:
            raise ConfigError(
                f"max_context_views is {self.max_context_views}; it must not be below min_context_views, "
                f"which is {self.min_context_views}."
            )
        for name in ("foreground_fraction", "context_share", "mirror_fraction", "recolour_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1.")


@dataclass(eq=False)
class TrainBatch:
    """B scenes in the model's frame, and R rays of each through pixel centres of its target views.

    directions are unit vectors; rgba is straight alpha, 0 to 1. targets are those views whole, for the
    posterior. The first rays are the ones drawn around the object; shown are those that go through a context
    view (see `BatchConfig.context_share`). depth is the distance along each ray at which its renderer saw it
    end, in the model's units and infinite where it meets nothing, and context_depth that of all pixels of the
    context views, infinite beyond a picture's own size; None without `BatchConfig.depth`.
    """

    context: Views
    targets: Views
    origins: Float[Tensor, "B R 3"]
    directions: Float[Tensor, "B R 3"]
    rgba: Float[Tensor, "B R 4"]
    shown: Bool[Tensor, "B R"]
    scene_names: list[str]
    depth: Float[Tensor, "B R"] | None = None
    context_depth: Float[Tensor, "B V H W"] | None = None

    def colours_over(self, background: Float[Tensor, "B R 3"]) -> Float[Tensor, "B R 3"]:
        """The rays' true colours over a background."""
        alpha = self.rgba[..., 3]
        return over(self.rgba[..., :3] * alpha[..., None], alpha, background)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "TrainBatch":
        """The same batch on another device."""
        return TrainBatch(
            self.context.to(device, non_blocking),
            self.targets.to(device, non_blocking),
            self.origins.to(device, non_blocking=non_blocking),
            self.directions.to(device, non_blocking=non_blocking),
            self.rgba.to(device, non_blocking=non_blocking),
            self.shown.to(device, non_blocking=non_blocking),
            self.scene_names,
            *(
                None if depth is None else depth.to(device, non_blocking=non_blocking)
                for depth in (self.depth, self.context_depth)
            ),
        )


@dataclass(frozen=True, eq=False)
class BatchMaker:
    """Makes any batch from its number: a pure function of scenes, config, seed and step."""

    cache: SceneCache
    config: BatchConfig
    seed: int

    def batch(self, step: int) -> TrainBatch:
        """Batch number `step`. Raises `SceneError` for a scene or picture that cannot be used."""
        draw = np.random.default_rng([self.seed, step])
        config = self.config
        count = len(self.cache)
        chosen = draw.choice(count, config.scenes_per_batch, replace=count < config.scenes_per_batch).tolist()
        context_count = int(draw.integers(config.min_context_views, config.max_context_views + 1))
        picks = [self._pick_views(number, context_count, draw) for number in chosen]
        context, _ = self._gather(chosen, [context for context, _ in picks], context_count)
        context = context.shrunk(config.context_shrink)
        asked = [targets for _, targets in picks]
        targets, target_bytes = self._gather(chosen, asked, len(asked[0]))
        boxes = np.array(
            [
                [self.cache.view(number, view).box for view in views]
                for number, (_, views) in zip(chosen, picks, strict=True)
            ]
        )
        view, x, y = _draw_pixels(boxes, targets.sizes.numpy(), config, draw)
        row = np.arange(len(chosen))[:, None]
        rgba = torch.from_numpy(target_bytes[row, view, y, x]).float() / 255
        at = (torch.from_numpy(row), torch.from_numpy(view))
        pixels = torch.from_numpy(np.stack([x, y], axis=-1)).float() + 0.5
        origins, directions = pixel_rays(targets.camera_to_world[at], targets.intrinsics[at], pixels)
        change = None
        if config.mirror_fraction or config.recolour_fraction:
            change = Augmentation.draw(
                len(chosen), config.mirror_fraction, config.recolour_fraction, draw, config.mirror_axis
            )
            context, targets = change.views(context), change.views(targets)
            origins, directions, rgba = change.rays(origins, directions, rgba)
        names = [self.cache.opened(number).scene.name for number in chosen]
        shown = torch.from_numpy(view >= config.target_views)
        depth = self._depth(chosen, asked, (view, x, y)) if config.depth else None
        context_depth = None
        if config.depth:
            context_depth = self._context_depth(chosen, [first for first, _ in picks], context)
            if change is not None:
                context_depth = change.pictures(context_depth, context.sizes)
        origins = origins.contiguous()
        return TrainBatch(context, targets, origins, directions, rgba, shown, names, depth, context_depth)

    def _depth(
        self,
        scenes: Sequence[int],
        views: Sequence[Sequence[int]],
        pixels: tuple[Int[np.ndarray, "B R"], Int[np.ndarray, "B R"], Int[np.ndarray, "B R"]],
    ) -> Float[Tensor, "B R"]:
        """Distances at pixels (which of the scene's views, column, row)."""
        found = torch.zeros(pixels[0].shape)
        for row, (number, shown, view, x, y) in enumerate(zip(scenes, views, *pixels, strict=True)):
            for place, index in enumerate(shown):
                here = view == place
                found[row, here] = self._distances(number, index)[y[here], x[here]]
        return found

    def _context_depth(
        self, scenes: Sequence[int], views: Sequence[Sequence[int]], context: Views
    ) -> Float[Tensor, "B V H W"]:
        """Distances at all pixels of the context views, infinite beyond a picture's own size."""
        height, width = context.rgba.shape[-2:]
        found = torch.full((*context.mask.shape, height, width), torch.inf)
        for row, (number, indices) in enumerate(zip(scenes, views, strict=True)):
            for column, index in enumerate(indices):
                known = shrunk_depth(self._distances(number, index), self.config.context_shrink)
                found[row, column, : known.shape[0], : known.shape[1]] = known
        return found

    def _distances(self, number: int, view: int) -> Float[Tensor, "H W"]:
        pictures, levels = self.cache.opened(number).depth, self.cache.view(number, view).depth
        assert pictures is not None, "the cache was made for depth"
        assert levels is not None, "the cache was made for depth"
        return distances(torch.from_numpy(levels.astype(np.int32)), pictures.scale)

    def _pick_views(
        self, number: int, context_count: int, draw: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        opened = self.cache.opened(number)
        order = draw.permutation(opened.usable).tolist()
        config = self.config
        needed = max(config.min_context_views, config.target_views)
        if len(order) < needed:
            raise ViewCountError(
                f"{opened.scene.path}: the scene has {len(order)} views to train on, but min_context_views "
                f"is {config.min_context_views} and target_views is {config.target_views}; lower them, or "
                f"leave this scene out."
            )
        # Context from the front, targets from the back: they overlap only where the views do not suffice.
        targets = order[len(order) - config.target_views :]
        again = order[:1] if config.context_share and context_count else []
        return order[:context_count], targets + again

    def _gather(
        self, scenes: Sequence[int], views: Sequence[Sequence[int]], count: int
    ) -> tuple[Views, UInt8[np.ndarray, "B V H W 4"]]:
        """The chosen views of the chosen scenes, padded to `count`: as the model takes them, and as bytes."""
        decoded = [
            [self.cache.view(number, view).rgba for view in row]
            for number, row in zip(scenes, views, strict=True)
        ]
        batch = len(scenes)
        height = max((picture.shape[0] for row in decoded for picture in row), default=1)
        width = max((picture.shape[1] for row in decoded for picture in row), default=1)
        pixels = np.zeros((batch, count, height, width, 4), dtype=np.uint8)
        poses = np.tile(np.eye(3, 4, dtype=np.float32), (batch, count, 1, 1))
        intrinsics = np.tile(np.array([1, 1, 0, 0], dtype=np.float32), (batch, count, 1))
        sizes = np.zeros((batch, count, 2), dtype=np.int64)
        mask = np.zeros((batch, count), dtype=bool)
        for row, (number, indices) in enumerate(zip(scenes, views, strict=True)):
            opened = self.cache.opened(number)
            poses[row, : len(indices)] = opened.camera_to_world[indices]
            intrinsics[row, : len(indices)] = opened.intrinsics[indices]
            mask[row, : len(indices)] = True
            for column, picture in enumerate(decoded[row]):
                pixels[row, column, : picture.shape[0], : picture.shape[1]] = picture
                sizes[row, column] = picture.shape[:2]
        cameras = (torch.from_numpy(array) for array in (poses, intrinsics, sizes, mask))
        return Views(unit_range(torch.from_numpy(pixels)), *cameras), pixels


class SceneSampler:
    """An endless stream of training batches, each of which depends on scenes, config, seed and step alone.

    That makes resuming exact: start at the step where the run stopped. With `workers`, processes make the
    batches in turn, and the same bytes come in the same order; an error in one of them, or its death, is
    raised here. Give each rank of a data-parallel run another seed.

    scenes: paths (read with `options`, on first use) or scenes. A scene with splits of its views gives its
    train views only. A scene with fewer views than a batch's context gets padding; with too few for disjoint
    context and targets, they overlap; with fewer than min_context_views or target_views, `ViewCountError` is
    raised.
    """

    def __init__(
        self,
        scenes: Sequence[Path | Scene],
        config: BatchConfig,
        seed: int = 0,
        *,
        start: int = 0,
        options: ReadOptions | None = None,
    ) -> None:
        config.validate()
        if not scenes:
            raise SceneNotFoundError("The sampler was given no scenes to train on.")
        cache = SceneCache(scenes, config.cache_mebibytes / max(config.workers, 1), options, config.depth)
        self.config = config
        self._maker = BatchMaker(cache, config, seed)
        self._step = start
        self._stream: Iterator[TrainBatch | VNPError] | None = None

    @property
    def step(self) -> int:
        """The number of the batch that comes next: the sampler's whole state. Setting it moves there."""
        return self._step

    @step.setter
    def step(self, value: int) -> None:
        self._step = value
        self._stream = None

    def preload(self, progress: bool = True, threads: int = 4) -> None:
        """Fills the cache ahead of training, as far as it goes. Workers that start afterwards share it."""
        self._maker.cache.preload(progress, threads)

    def batch(self, step: int) -> TrainBatch:
        """Batch number `step`, made here and now; the stream stays where it is."""
        return self._maker.batch(step)

    def __iter__(self) -> "SceneSampler":
        return self

    def __next__(self) -> TrainBatch:
        batch = self._next_from_workers() if self.config.workers else self.batch(self._step)
        self._step += 1
        return batch

    def _next_from_workers(self) -> TrainBatch:
        if self._stream is None:
            stream = _WorkerStream(self._maker, self._step)
            loader = DataLoader(stream, None, num_workers=self.config.workers, collate_fn=_unchanged)
            self._stream = iter(loader)
        try:
            batch = next(self._stream)
        except (RuntimeError, EOFError, OSError) as error:  # whichever of its pipes breaks first
            self._stream = None
            raise worker_died(error) from error
        if isinstance(batch, VNPError):
            self._stream = None
            raise batch
        return batch


def worker_died(error: Exception) -> DataError:
    """What to say of a worker that was killed. torch tells of it by an exception, wherever the program is."""
    return DataError(
        f"A worker process that makes training batches has died ({error}). If memory or /dev/shm is short, "
        "use fewer workers or a smaller cache_mebibytes; with workers = 0 batches are made in this process."
    )


class _WorkerStream(IterableDataset[TrainBatch | VNPError]):
    """Every W-th batch from a worker's first. Errors of ours travel as values, so that their text stays."""

    def __init__(self, maker: BatchMaker, start: int) -> None:
        self._maker, self._start = maker, start

    def __iter__(self) -> Iterator[TrainBatch | VNPError]:
        worker = get_worker_info()
        assert worker is not None, "only a DataLoader's workers iterate this"
        for step in itertools.count(self._start + worker.id, worker.num_workers):
            try:
                yield self._maker.batch(step)
            except VNPError as error:
                yield error


def _unchanged(batch: Any) -> Any:
    return batch


def _draw_pixels(
    boxes: Int[np.ndarray, "B V 4"],
    sizes: Int[np.ndarray, "B V 2"],
    config: BatchConfig,
    draw: np.random.Generator,
) -> tuple[Int[np.ndarray, "B R"], Int[np.ndarray, "B R"], Int[np.ndarray, "B R"]]:
    """View, column and row of each ray: the first ones inside the views' boxes, the others anywhere."""
    batch, rays = boxes.shape[0], config.rays_per_scene
    inside = round(config.foreground_fraction * rays)
    view = draw.integers(0, config.target_views, (batch, rays))
    if boxes.shape[1] > config.target_views:
        view = np.where(draw.random((batch, rays)) < config.context_share, config.target_views, view)
    rows = np.arange(batch)[:, None]
    whole = np.concatenate([np.zeros_like(sizes), sizes[..., ::-1]], axis=-1)
    bounds = np.concatenate([boxes[rows, view[:, :inside]], whole[rows, view[:, inside:]]], axis=1)
    x0, y0, x1, y1 = np.moveaxis(bounds, -1, 0)
    place = draw.random((2, batch, rays))
    x = np.minimum(x0 + (place[0] * (x1 - x0)).astype(np.int64), x1 - 1)
    y = np.minimum(y0 + (place[1] * (y1 - y0)).astype(np.int64), y1 - 1)
    return view, x, y
