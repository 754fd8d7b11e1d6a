"""Scores of anything that predicts pictures, on fixed pairs of context and query views.

A `Predictor` sees the first few context views of a `Case` and the query cameras, and gives pictures. Models
and baselines are predictors alike, so all numbers of a table come from one loop.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import ViewCountError
from vnp_core.results import Row, mean_row
from vnp_nerf.canvas import make_canvases
from vnp_nerf.culled_field import CulledField
from vnp_nerf.image_metrics import FOREGROUND_ALPHA, foreground, over_white, picture_scores, shape_scores
from vnp_nerf.library import load_model, weights_path
from vnp_nerf.pairs import READ_AS_IT_IS, Pairs, ScenePairs, paired_scenes
from vnp_nerf.perceptual import Perceptual
from vnp_nerf.perspective_crops import perspective_crops
from vnp_nerf.protocol import SceneModel
from vnp_nerf.radiance import RadianceField, RadianceModel
from vnp_nerf.readers import Collection, ReadOptions
from vnp_nerf.rendering import RayRenderer, Rendering, render_picture
from vnp_nerf.scene import Scene
from vnp_nerf.true_depth import true_depths
from vnp_nerf.view_depth import ViewDepth, offset_error, offset_likelihood, true_offsets
from vnp_nerf.views import Views

RAYS = 1024
"""Rays rendered at a time: few enough for the samples' features to stay in a processor's cache."""


@dataclass
class Case:
    """One object to be scored: all its context views, in order, and its query views; B = 1, model frame.

    depths: of the query views, where the renderer that made them told (`true_depths`); context_depths: of the
    context views. category: what kind of object it is; empty where the pairs do not tell.
    """

    name: str
    context: Views
    query: Views
    depths: list[Float[Tensor, "H W"]] | None = None
    category: str = ""
    context_depths: list[Float[Tensor, "H W"]] | None = None

    @classmethod
    def from_scene(cls, scene: Scene, pairs: ScenePairs) -> "Case":
        """Loads the pictures of a scene's pairs."""
        context, query = (Views.from_scene(scene, views) for views in (pairs.context, pairs.query))
        depths, context_depths = (true_depths(scene, views) for views in (pairs.query, pairs.context))
        return cls(scene.name, context, query, depths, pairs.category, context_depths)

    def first_views(self, count: int) -> Views:
        """The context of `count` views. Raises `ViewCountError` where the pairs hold fewer."""
        if count > self.context.count:
            raise ViewCountError(
                f"{self.name}: {count} context views asked for, its pairs hold {self.context.count}"
            )
        return self.context.select_views(slice(count))


def pictures_over_white(views: Views) -> list[Float[Tensor, "H W 3"]]:
    """Every view's picture of the first scene, in its own size."""
    sizes = views.sizes[0].tolist()
    return [over_white(rgba[:, :h, :w]) for rgba, (h, w) in zip(views.rgba[0], sizes, strict=True)]


def foregrounds(views: Views) -> list[Bool[Tensor, "H W"]]:
    """Every view's object pixels of the first scene."""
    sizes = views.sizes[0].tolist()
    return [foreground(rgba[:, :h, :w]) for rgba, (h, w) in zip(views.rgba[0], sizes, strict=True)]


class Contestant(Protocol):
    """Whatever has rows of its own in a table."""

    @property
    def name(self) -> str:
        """What its rows are called."""
        ...

    @property
    def reads_context(self) -> bool:
        """False where it says the same whatever the context: then it is asked and scored once."""
        ...


class Predictor(Contestant, Protocol):
    """Whatever gives pictures of a case's query views over white."""

    def predict(self, case: Case, count: int) -> list[Float[Tensor, "H W 3"]]:
        """The query pictures, given the first `count` context views."""
        ...


@runtime_checkable
class RenderingPredictor(Predictor, Protocol):
    """A predictor that knows what is in front of what."""

    def render(self, case: Case, count: int) -> list[Rendering]:
        """The query views, given the first `count` context views."""
        ...


class ModelPredictor:
    """A scene model at its latents' mean, seen as nerfstudio's tools show it: culled, where it can be."""

    reads_context = True

    def __init__(self, name: str, model: SceneModel, device: torch.device | str = "cpu") -> None:
        self.name = name
        self.model = model
        self.device = torch.device(device)

    @classmethod
    def load(cls, weights: str, device: torch.device | str = "cpu") -> "ModelPredictor":
        """Weights by a shipped name or a file, named by the file's stem. Raises what `load_model` raises."""
        return cls(weights_path(weights).stem, load_model(weights)[0].to(device), device)

    @torch.inference_mode()
    def render(self, case: Case, count: int) -> list[Rendering]:
        """Everything that the model renders of the query views, on the CPU."""
        field = self.model.infer_field(self.model.encode(case.first_views(count).to(self.device)))
        if isinstance(field, RadianceField):
            field = CulledField(field)
        return query_pictures(field, case, self.device)

    def predict(self, case: Case, count: int) -> list[Float[Tensor, "H W 3"]]:
        """The rendered colours."""
        return [rendering.rgb for rendering in self.render(case, count)]

    @torch.inference_mode()
    def view_depth_scores(self, case: Case, count: int) -> dict[str, float]:
        """How well the model knows the depth of the context views that it reads, over the object's pixels.

        `view_depth`: its error along the optical axis, in radii of the object's ball; `view_depth_nll`: the
        negative log-likelihood of the truth, nats a pixel. Nothing of a model that guesses no such depth, and
        where the truth is not known: of views that the model crops it is not.
        """
        model, truths = self.model, case.context_depths
        if truths is None or not count or not (isinstance(model, RadianceModel) and model.config.view_depth):
            return {}
        views = case.first_views(count).to(self.device)
        if perspective_crops(views, model.config.canvas, model.config.context_crop) is not views:
            return {}
        local = model.encode(views).local
        assert local is not None, "a model of views' depth reads feature maps"
        assert local.depth is not None, "a model of views' depth has guessed it"
        own = ViewDepth(local.depth.offset[:, :count].double(), local.depth.spread[:, :count].double())
        depth = torch.full((1, count, *views.rgba.shape[-2:]), torch.inf)
        for shown, known in zip(depth[0], truths, strict=False):
            shown[: known.shape[0], : known.shape[1]] = known
        canvases = make_canvases(views, model.config.canvas)
        offsets = true_offsets(depth.to(self.device), views, canvases)
        # Pixels beside the object borrow a depth to be taught by, and are not scored by it.
        offsets = torch.where(canvases.rgba[:, :, 3] > FOREGROUND_ALPHA, offsets, torch.inf)
        return {
            "view_depth": offset_error(own, offsets).item(),
            "view_depth_nll": offset_likelihood(own, offsets).item(),
        }


def query_pictures(field: RayRenderer, case: Case, device: torch.device) -> list[Rendering]:
    """What a field shows of a case's query views, on the CPU."""
    query = case.query.to(device)
    cameras = zip(query.camera_to_world[0], query.intrinsics[0], query.sizes[0].tolist(), strict=True)
    return [
        render_picture(field, pose, intrinsics, height, width, chunk=RAYS).map(
            lambda part: part.float().cpu()
        )
        for pose, intrinsics, (height, width) in cameras
    ]


def cases_of(
    collection: Collection,
    pairs: Pairs,
    split: str,
    limit: int | None = None,
    read: ReadOptions = READ_AS_IT_IS,
) -> Iterator[Case]:
    """The cases of a split, each loaded when its turn comes; all pairs are held against the scenes first."""
    for scene, stored in paired_scenes(collection, pairs, split, read)[:limit]:
        yield Case.from_scene(scene, stored)


def evaluate(
    predictors: Sequence[Contestant],
    collection: Collection,
    pairs: Pairs,
    splits: Sequence[str],
    context_counts: Sequence[int] = (1, 2, 3, 5, 8),
    *,
    score: Callable[[Any, Case, int], dict[str, float]] | None = None,
    limit: int | None = None,
    read: ReadOptions = READ_AS_IT_IS,
    by_category: bool = False,
    on_case: Callable[[str, int], None] = lambda split, done: None,
) -> list[Row]:
    """Mean scores over objects with standard errors: a row a predictor, split, number of views and metric.

    by_category: rows of each category's objects alone follow, under the split `SPLIT: CATEGORY`.

    score: an object's scores at a number of context views, by default `score_case`. limit: only the first
    objects of each split. read: how their scenes are read. on_case: is told the split and how many of its
    objects are done.
    """
    scoring: Callable[[Any, Case, int], dict[str, float]] = score or score_case
    scores: dict[tuple[str, str, int, str], list[float]] = defaultdict(list)
    labels: dict[str, None] = dict.fromkeys(splits)
    for split in splits:
        for done, case in enumerate(cases_of(collection, pairs, split, limit, read), start=1):
            for predictor in predictors:
                counts = context_counts if predictor.reads_context else context_counts[:1]
                for count in counts:
                    parts = [split]
                    if by_category and case.category:
                        parts.append(f"{split}: {case.category}")
                        labels[parts[-1]] = None
                    for metric, value in scoring(cast(Any, predictor), case, count).items():
                        for part in parts:
                            scores[predictor.name, part, count, metric].append(value)
            on_case(split, done)
    rows: list[Row] = []
    for predictor in predictors:
        for split in labels:
            for count in context_counts:
                scored = count if predictor.reads_context else context_counts[0]
                for metric in [key[3] for key in scores if key[:3] == (predictor.name, split, scored)]:
                    values = scores[predictor.name, split, scored, metric]
                    rows.append(
                        mean_row(predictor.name, pairs.corpus, split, f"views={count}", metric, values)
                    )
    return rows


def score_case(
    predictor: Predictor, case: Case, count: int, perceptual: Perceptual | None = None
) -> dict[str, float]:
    """One object's scores: means over its query views, or over those of them that have a foreground.

    They are those of `picture_scores`; of predictors that render, those of `shape_scores`; of models, those
    of `ModelPredictor.view_depth_scores`; LPIPS, where something to measure it by is given; and `seconds`,
    the wall time for one query picture, inference of the field included.
    """
    start = time.perf_counter()
    seen = predictor.render(case, count) if isinstance(predictor, RenderingPredictor) else None
    pictures = predictor.predict(case, count) if seen is None else [rendering.rgb for rendering in seen]
    seconds = (time.perf_counter() - start) / len(pictures)
    masks, truths = foregrounds(case.query), pictures_over_white(case.query)
    each = [
        picture_scores(picture, truth, mask)
        for picture, truth, mask in zip(pictures, truths, masks, strict=True)
    ]
    if perceptual is not None:
        for scores, picture, truth in zip(each, pictures, truths, strict=True):
            scores[perceptual.name] = perceptual(picture, truth)
    if seen is not None:
        depths = case.depths or [None] * len(seen)
        for scores, rendering, mask, depth in zip(each, seen, masks, depths, strict=True):
            scores |= shape_scores(rendering.alpha, rendering.depth, mask, depth)
    means = {metric: mean_of_known([scores[metric] for scores in each]) for metric in each[0]}
    if isinstance(predictor, ModelPredictor):
        means |= predictor.view_depth_scores(case, count)
    return {**means, "seconds": seconds}


def mean_of_known(values: Sequence[float]) -> float:
    """The mean of what is not NaN; NaN where nothing is left."""
    kept = [value for value in values if not math.isnan(value)]
    return math.fsum(kept) / len(kept) if kept else math.nan
