"""Evaluation of a model that knows the answer, of baselines, and of the order between them.

The scenes are shaded balls, one colour each, drawn in closed form; the oracle reads the colour from a context
picture and draws the ball again, so that its pictures are the truth but for the rounding to 8 bits.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from vnp_core.errors import DataError, SceneError, ViewCountError
from vnp_core.results import Row
from vnp_nerf.baselines import MeanPicture, NearestObject, NearestView, RememberedObject, WhitePicture
from vnp_nerf.cameras import look_at, picture_rays
from vnp_nerf.culled_field import CulledField
from vnp_nerf.evaluation import (
    Case,
    ModelPredictor,
    cases_of,
    evaluate,
    pictures_over_white,
    query_pictures,
    score_case,
)
from vnp_nerf.image_metrics import PSNR_CAP
from vnp_nerf.pairs import Pairs, make_pairs
from vnp_nerf.radiance import RadianceConfig, RadianceModel
from vnp_nerf.readers import Collection, open_collection, open_scene
from vnp_nerf.rendering import Rendering, over
from vnp_nerf.view_depth import ViewDepth
from vnp_nerf.views import Views

SIZE, VIEWS, RADIUS, ANGLE = 32, 14, 0.7, 0.6
FOCAL = SIZE / 2 / np.tan(ANGLE / 2)
DEPTH_SCALE = 1e-4
LIGHT = torch.tensor([0.6, 0.0, 0.8])


class Ball:
    """A shaded ball of one colour: a field in closed form."""

    def __init__(self, colour: Tensor) -> None:
        self.colour = colour

    def density_colour(self, points: Tensor, directions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inside = points.norm(dim=-1) < RADIUS
        return inside * 1e4, shade(points) * self.colour

    def render(self, origins: Tensor, directions: Tensor, *, background: Any = "white") -> Rendering:
        middle = -(origins * directions).sum(-1)
        miss = (origins + middle[..., None] * directions).square().sum(-1)
        hit = miss < RADIUS**2
        depth = middle - (RADIUS**2 - miss).clamp_min(0).sqrt()
        colour = shade(origins + depth[..., None] * directions) * self.colour
        alpha = hit.float()
        return Rendering(
            over(colour * alpha[..., None], alpha, background), alpha, torch.where(hit, depth, 6.0)
        )


def shade(points: Tensor) -> Tensor:
    return (0.5 + 0.5 * torch.nn.functional.normalize(points, dim=-1) @ LIGHT)[..., None]


class Oracle:
    """Reads the ball's colour from the middle pixel of the first context view."""

    config = None

    def encode(self, views: Views) -> Tensor:
        middle = SIZE // 2
        origins, directions = picture_rays(views.camera_to_world[0, 0], views.intrinsics[0, 0], SIZE, SIZE)
        white_ball = Ball(torch.ones(3)).render(origins[middle, middle], directions[middle, middle])
        return views.rgba[0, 0, :3, middle, middle] / white_ball.rgb

    def infer_field(self, encoded: Tensor, *, generator: torch.Generator | None = None) -> Ball:
        return Ball(encoded)


def write_ball(folder: Path, colour: Tensor, generator: np.random.Generator) -> None:
    """One Learned-Init scene, its bounding ball stated, so that model frame and world are one."""
    (folder / "train").mkdir(parents=True)
    frames = []
    for view in range(VIEWS):
        bearing = generator.normal(size=3)
        pose = look_at(torch.tensor(4 * bearing / np.linalg.norm(bearing), dtype=torch.float32))
        intrinsics = torch.tensor([FOCAL, FOCAL, SIZE / 2, SIZE / 2], dtype=torch.float32)
        origins, directions = picture_rays(pose, intrinsics, SIZE, SIZE)
        seen = Ball(colour).render(origins.reshape(-1, 3), directions.reshape(-1, 3), background="black")
        rgba = rearrange(torch.cat([seen.rgb, seen.alpha[:, None]], dim=-1), "(h w) c -> h w c", h=SIZE)
        Image.fromarray((rgba * 255).round().byte().numpy()).save(folder / "train" / f"r_{view}.png")
        matrix = [*pose.tolist(), [0, 0, 0, 1]]
        levels = rearrange(seen.depth * seen.alpha, "(h w) -> h w", h=SIZE) / DEPTH_SCALE
        depth_path = f"train/depth_{view}.png"
        Image.fromarray(levels.round().numpy().astype(np.uint16)).save(folder / depth_path)
        frames.append({"file_path": f"train/r_{view}", "transform_matrix": matrix, "depth_path": depth_path})
    head = {
        "camera_angle_x": ANGLE,
        "depth_scale": DEPTH_SCALE,
        "bounding_centre": [0, 0, 0],
        "bounding_radius": 1.0,
    }
    (folder / "transforms.json").write_text(json.dumps({**head, "frames": frames}))


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    root = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    splits = {"train": [f"ball{n}" for n in range(6)], "test": ["ball6", "ball7", "ball8"]}
    for names in splits.values():
        for name in names:
            write_ball(root / "balls" / name, torch.tensor(generator.uniform(0.1, 1, 3)).float(), generator)
    (root / "ball_splits.json").write_text(json.dumps(splits))
    return open_collection(root / "balls")


@pytest.fixture(scope="module")
def pairs(collection: Collection) -> Pairs:
    return make_pairs(collection, "balls", "none", ["train", "test"], seed=1, queries=3)


def _value(rows: list[Row], model: str, views: int, metric: str, split: str = "test") -> float:
    wanted = (model, "balls", split, f"views={views}", metric)
    (row,) = [r for r in rows if (r.model, r.task, r.split, r.condition, r.metric) == wanted]
    return row.value


@pytest.fixture(scope="module")
def rows(collection: Collection, pairs: Pairs) -> list[Row]:
    paths = collection.split("train")
    baselines = [
        WhitePicture(),
        MeanPicture(paths, np.random.default_rng(0)),
        NearestView(),
        NearestObject(paths),
    ]
    return evaluate(
        [ModelPredictor("oracle", Oracle(), "cpu"), *baselines], collection, pairs, ["test"], (1, 3)
    )


def test_a_model_that_knows_the_answer_scores_the_rounding_of_eight_bits(rows: list[Row]) -> None:
    for views in (1, 3):
        assert _value(rows, "oracle", views, "psnr") > 45
        assert _value(rows, "oracle", views, "psnr_fg") > 45
        assert _value(rows, "oracle", views, "ssim") > 0.995
        assert _value(rows, "oracle", views, "iou") == 1
        assert _value(rows, "oracle", views, "depth") <= DEPTH_SCALE
    assert {row.model for row in rows if row.metric in ("iou", "depth")} == {"oracle"}


def test_a_models_pictures_are_those_of_its_culled_field(
    collection: Collection, pairs: Pairs, smallest_model: RadianceConfig
) -> None:
    torch.manual_seed(0)
    model = RadianceModel(replace(smallest_model, carve=False)).eval()
    case = next(cases_of(collection, pairs, "test"))
    with torch.inference_mode():
        field = model.infer_field(model.encode(case.first_views(2)))
        fast, slow = (query_pictures(each, case, torch.device("cpu")) for each in (CulledField(field), field))
    seen = ModelPredictor("ours", model).render(case, 2)
    for scored, culled, twin in zip(seen, fast, slow, strict=True):
        assert torch.equal(scored.rgb, culled.rgb)
        assert twin.alpha.std() > 0.05
        assert torch.allclose(scored.rgb, twin.rgb, atol=5e-3)


def test_views_depth_is_scored_by_its_distance_from_the_surface_along_the_optical_axis(
    collection: Collection,
    pairs: Pairs,
    smallest_model: RadianceConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Oracle: the ball's surface in closed form, a quarter of a radius too far, of spread 0.1."""
    case, count, wrong = next(cases_of(collection, pairs, "test")), 2, 0.25
    offsets = torch.full((1, count, SIZE, SIZE), 9.0)  # where there is nothing, anything may be said
    for view in range(count):
        pose = case.context.camera_to_world[0, view]
        origins, directions = picture_rays(pose, case.context.intrinsics[0, view], SIZE, SIZE)
        seen = Ball(torch.ones(3)).render(origins.reshape(-1, 3), directions.reshape(-1, 3))
        along = seen.depth.view(SIZE, SIZE) * (directions @ -pose[:, 2]) - pose[:, 3].norm()
        there = seen.alpha.view(SIZE, SIZE) > 0
        offsets[0, view] = torch.where(there, along, 9.0)
    torch.manual_seed(0)
    config = replace(smallest_model, readings=("planes", "local"), canvas=SIZE, view_depth=True)
    model = RadianceModel(config).eval()
    with torch.inference_mode():
        encoded = model.encode(case.first_views(count))
    assert encoded.local is not None
    told = replace(encoded.local, depth=ViewDepth(offsets + wrong, torch.full_like(offsets, 0.1)))
    predictor = ModelPredictor("ours", model)
    with monkeypatch.context() as patch:
        patch.setattr(model, "encode", lambda views: replace(encoded, local=told))
        scores = predictor.view_depth_scores(case, count)
    assert scores["view_depth"] == pytest.approx(wrong, abs=2e-4)
    assert scores["view_depth_nll"] == pytest.approx(wrong / 0.1 + np.log(0.2), abs=2e-3)
    assert set(scores) <= set(score_case(predictor, case, count))
    assert predictor.view_depth_scores(replace(case, context_depths=None), count) == {}
    silent = RadianceModel(replace(config, view_depth=False)).eval()
    assert ModelPredictor("silent", silent).view_depth_scores(case, count) == {}


def test_white_scores_what_the_pixels_say(rows: list[Row], collection: Collection, pairs: Pairs) -> None:
    scores = []
    for case in cases_of(collection, pairs, "test"):
        truths = torch.stack(pictures_over_white(case.query))
        scores.append((-10 * torch.log10((1 - truths).square().flatten(1).mean(1))).mean().item())
    assert _value(rows, "white", 1, "psnr") == pytest.approx(np.mean(scores), abs=1e-4)


def test_the_oracle_beats_every_baseline_and_no_baseline_ignores_the_object(rows: list[Row]) -> None:
    for metric in ("psnr", "psnr_fg", "ssim", "ssim_fg"):
        for model in ("white", "mean-picture", "nearest-view", "nearest-object"):
            assert _value(rows, model, 1, metric) < _value(rows, "oracle", 1, metric)
    assert _value(rows, "white", 1, "psnr_fg") < _value(rows, "mean-picture", 1, "psnr_fg")


def test_what_reads_no_context_scores_the_same_at_every_number_of_views(rows: list[Row]) -> None:
    for model in ("white", "mean-picture"):
        assert _value(rows, model, 1, "psnr") == _value(rows, model, 3, "psnr")


def test_more_views_bring_the_nearest_one_nearer(rows: list[Row]) -> None:
    assert _value(rows, "nearest-view", 3, "psnr_fg") > _value(rows, "nearest-view", 1, "psnr_fg")


def test_every_row_counts_its_objects_and_each_case_is_told(collection: Collection, pairs: Pairs) -> None:
    told: list[tuple[str, int]] = []
    rows = evaluate(
        [WhitePicture()],
        collection,
        pairs,
        ["train", "test"],
        (1, 2),
        on_case=lambda *args: told.append(args),
    )
    assert {(row.split, row.n) for row in rows} == {("train", 6), ("test", 3)}
    assert {row.metric for row in rows} == {"psnr", "psnr_fg", "ssim", "ssim_fg", "seconds"}
    assert told == [*(("train", n) for n in range(1, 7)), *(("test", n) for n in range(1, 4))]
    limited = evaluate([WhitePicture()], collection, pairs, ["train"], (1,), limit=2)
    assert {row.n for row in limited} == {2}


def test_a_category_is_scored_by_its_own_objects(collection: Collection, pairs: Pairs) -> None:
    kinds = {"ball6": "round", "ball8": "round"}
    test = {name: replace(each, category=kinds.get(name, "")) for name, each in pairs.scenes["test"].items()}
    sorted_out = replace(pairs, scenes={"test": test})
    rows = evaluate([WhitePicture()], collection, sorted_out, ["test"], (1,), by_category=True)
    alone = replace(pairs, scenes={"test": {name: test[name] for name in kinds}})
    expected = evaluate([WhitePicture()], collection, alone, ["test"], (1,))
    assert {(row.split, row.n) for row in rows if row.metric == "psnr"} == {("test", 3), ("test: round", 2)}
    [found] = [row for row in rows if (row.split, row.metric) == ("test: round", "psnr")]
    [wanted] = [row for row in expected if row.metric == "psnr"]
    assert (found.value, found.stderr) == (wanted.value, wanted.stderr)
    assert evaluate([WhitePicture()], collection, sorted_out, ["test"], (1,))[0].split == "test"


def test_the_nearest_view_is_the_context_view_of_the_smallest_angle(
    collection: Collection, pairs: Pairs
) -> None:
    case = next(cases_of(collection, pairs, "test"))
    given = case.context.camera_to_world[0, :5, :, 3]
    for query, picture in zip(
        case.query.camera_to_world[0, :, :, 3], NearestView().predict(case, 5), strict=True
    ):
        angles = [torch.rad2deg(torch.acos(torch.cosine_similarity(query, g, dim=0))).item() for g in given]
        assert torch.equal(picture, pictures_over_white(case.context)[int(np.argmin(angles))])


def test_a_remembered_object_is_found_again(collection: Collection) -> None:
    paths = collection.split("train")
    memory = NearestObject(paths)
    for index, path in enumerate(paths):
        views = Views.from_scene(open_scene(path), [4, 5])
        case = Case(path.name, views, views)
        remembered = RememberedObject.from_path(path)
        assert memory.match(pictures_over_white(views), remembered.bearings[4:6]) is memory.objects[index]
        for seen, truth in zip(memory.predict(case, 2), pictures_over_white(views), strict=True):
            assert torch.allclose(seen, truth, atol=1e-3)


def test_the_mean_picture_is_the_mean(collection: Collection) -> None:
    paths = collection.split("train")[:2]
    pictures = [
        p for path in paths for p in pictures_over_white(Views.from_scene(open_scene(path), range(VIEWS)))
    ]
    mean = MeanPicture(paths, np.random.default_rng(0)).picture
    assert torch.allclose(mean, torch.stack(pictures).mean(0), atol=2e-3)
    with pytest.raises(DataError, match="no"):
        MeanPicture([], np.random.default_rng(0))


def test_a_picture_equal_to_the_truth_scores_the_cap(collection: Collection, pairs: Pairs) -> None:
    class Cheat:
        name, reads_context = "cheat", False

        def predict(self, case: Case, count: int) -> list[Tensor]:
            return pictures_over_white(case.query)

    assert _value(evaluate([Cheat()], collection, pairs, ["test"], (1,)), "cheat", 1, "psnr_fg") == PSNR_CAP


def test_more_views_than_the_pairs_hold_and_pairs_of_another_corpus_are_refused(
    collection: Collection, pairs: Pairs, tmp_path: Path
) -> None:
    with pytest.raises(ViewCountError, match="9 context views"):
        evaluate([NearestView()], collection, pairs, ["test"], (9,))
    write_ball(tmp_path / "ball6", torch.ones(3), np.random.default_rng(5))
    other = Collection(
        tmp_path, {**collection.scenes, "test": (tmp_path / "ball6", *collection.scenes["test"][1:])}
    )
    with pytest.raises(SceneError, match="not the scene that the pairs"):
        evaluate([NearestView()], other, pairs, ["test"], (1,))
