"""Fixed evaluation pairs: which views of which object are context, and which are asked for.

A file of pairs holds, for each scene of some splits of a corpus, an ordered list of context views, whose
first 1, 2, 3, 5 and 8 are the contexts of those sizes, and the query views, which never are context. So
contexts are nested, queries are the same at every size, and a number measured today can be measured again.

Pairs of the unseen side have every query over 90 degrees of azimuth from every context view, at every size:
more views then show more of the front, and nothing of the back that is asked for.
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import DataError, SceneError, SceneNotFoundError, ViewCountError
from vnp_core.whole_files import write_whole
from vnp_nerf.readers import Collection, ReadOptions, open_scene
from vnp_nerf.scene import Scene
from vnp_nerf.unseen_side import azimuths, sees_unseen_side

READ_AS_IT_IS = ReadOptions()

CENTRE_TOLERANCE = 2e-3
"""World units by which the mean camera position may differ from the stored one, which has three decimals."""


@dataclass(frozen=True)
class ScenePairs:
    """One scene's views: `context` in the order in which views are added, `query` disjoint from it.

    views: how many the scene has. centre: mean position of its cameras, world units, by which pairs that were
    made for other cameras are found out. category: what kind of object it is; empty where nobody told.
    """

    views: int
    centre: tuple[float, float, float]
    context: tuple[int, ...]
    query: tuple[int, ...]
    category: str = ""


@dataclass(frozen=True)
class Pairs:
    """The pairs of one corpus: `scenes[split][folder]`. `make` is the command that made the corpus."""

    corpus: str
    make: str
    seed: int
    scenes: dict[str, dict[str, ScenePairs]]


def make_pairs(
    collection: Collection,
    corpus: str,
    make: str,
    splits: Sequence[str],
    *,
    seed: int = 0,
    contexts: int = 8,
    queries: int = 3,
    limit: int | None = None,
    unseen_side: bool = False,
    categories: Mapping[str, str] | None = None,
) -> Pairs:
    """Draws pairs for all scenes of `splits`, or for `limit` of each split, at random under `seed`.

    Scenes are stored in random order too, so that the first few of a split are a fair sample of it.

    A scene's draw depends on the seed and its name alone, so a corpus may grow without changing it. Where a
    scene has splits of its own views, contexts come from its `train` views and queries from its `test` views.
    unseen_side: queries are the views nearest to a random azimuth, and contexts leave their side unseen.
    categories: of scenes by name, kept with the pairs.
    Raises `SceneNotFoundError` for a split without scenes, `ViewCountError` for a scene with too few views.
    """
    chosen: dict[str, dict[str, ScenePairs]] = {}
    for split in splits:
        paths = scenes_by_name(collection, split)
        order = sorted(paths, key=lambda name: _generator(seed, f"{split}/{name}").random())
        chosen[split] = {
            name: replace(
                _draw(open_scene(paths[name]), name, seed, contexts, queries, unseen_side),
                category=(categories or {}).get(name, ""),
            )
            for name in order[:limit]
        }
    return Pairs(corpus, make, seed, chosen)


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _draw(scene: Scene, name: str, seed: int, contexts: int, queries: int, unseen_side: bool) -> ScenePairs:
    generator = _generator(seed, name)
    order = generator.permutation(len(scene)).tolist()
    askable = [view for view in reversed(order) if view in scene.views_in("test")]
    where = scene.model_cameras().positions
    if unseen_side:
        askable = _by_azimuth(askable, azimuths(where), generator.uniform(-180, 180))
    query = askable[:queries]
    context = [view for view in order if view in scene.views_in("train") and view not in query]
    if unseen_side:
        context = [view for view in context if bool(sees_unseen_side(where[[view]], where[query]).all())]
    if len(query) < queries or len(context) < contexts:
        aside = " on opposite sides" if unseen_side else ""
        raise ViewCountError(
            f"{scene.path} has {len(scene)} views: too few for {contexts} context and {queries} query views"
            f"{aside}; ask for fewer, or render more views"
        )
    return ScenePairs(len(scene), camera_centre(scene), tuple(context[:contexts]), tuple(query))


def _by_azimuth(views: Sequence[int], bearings: Float[Tensor, "V"], towards: float) -> list[int]:
    """The views that have an azimuth, the nearest to `towards` (degrees) first."""
    apart = ((bearings - towards + 180) % 360 - 180).abs().tolist()
    return sorted((view for view in views if not math.isnan(apart[view])), key=lambda view: apart[view])


def camera_centre(scene: Scene) -> tuple[float, float, float]:
    """Mean position of a scene's cameras in world units, to three decimals."""
    x, y, z = (round(float(value), 3) + 0.0 for value in scene.cameras.positions.double().mean(0))
    return x, y, z


def scenes_by_name(collection: Collection, split: str) -> dict[str, Path]:
    """The scenes of a split under the names of their folders. No other split stands in for an empty one: what
    is fitted must not be scored on the same objects.

    Raises `SceneNotFoundError` for an empty split, `SceneError` where two categories share a folder's name.
    """
    paths = collection.scenes.get(split, ())
    if not paths:
        counts = ", ".join(f"{name} ({len(found)})" for name, found in collection.scenes.items())
        raise SceneNotFoundError(f"{collection.root} has no scene in the split {split!r}; it has: {counts}.")
    named = {path.name: path for path in paths}
    if len(named) < len(paths):
        raise SceneError(
            f"{collection.root}: scenes of several categories share names; give one category's folder"
        )
    return named


def paired_scenes(
    collection: Collection, pairs: Pairs, split: str, read: ReadOptions = READ_AS_IT_IS
) -> list[tuple[Scene, ScenePairs]]:
    """The scenes of a split that have pairs, opened, in the order of the pairs.

    Raises `SceneNotFoundError` where the pairs know no such split or name a scene that the collection lacks,
    and `SceneError` where a scene's views are not those that the pairs were made for.
    """
    if split not in pairs.scenes:
        known = ", ".join(pairs.scenes)
        raise SceneNotFoundError(f"the pairs of {pairs.corpus} have no split {split!r}; they have: {known}")
    paths = scenes_by_name(collection, split)
    opened: list[tuple[Scene, ScenePairs]] = []
    for name, stored in pairs.scenes[split].items():
        if name not in paths:
            raise SceneNotFoundError(
                f"{collection.root} has no {split} scene {name!r}, which the pairs of {pairs.corpus} name; "
                f"make the corpus with: {pairs.make}"
            )
        scene = open_scene(paths[name], read)
        centre = camera_centre(scene)
        distance = max(abs(here - there) for here, there in zip(centre, stored.centre, strict=True))
        if len(scene) != stored.views or distance > CENTRE_TOLERANCE:
            raise SceneError(
                f"{scene.path} is not the scene that the pairs of {pairs.corpus} were made for: it has "
                f"{len(scene)} views with cameras about {centre}, the pairs expect {stored.views} about "
                f"{stored.centre}; make the corpus with: {pairs.make}"
            )
        opened.append((scene, stored))
    return opened


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Writes a file of pairs, one scene a line, in one move."""
    lines = [f'{{\n "corpus": {json.dumps(pairs.corpus)},', f' "make": {json.dumps(pairs.make)},']
    lines.append(f' "seed": {pairs.seed},\n "scenes": {{')
    blocks: list[str] = []
    for split, scenes in pairs.scenes.items():
        rows = (f"   {json.dumps(name)}: {json.dumps(_told(scene))}" for name, scene in scenes.items())
        blocks.append(f"  {json.dumps(split)}: {{\n" + ",\n".join(rows) + "\n  }")
    text = "\n".join(lines) + "\n" + ",\n".join(blocks) + "\n }\n}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())


def _told(scene: ScenePairs) -> dict[str, Any]:
    return {name: value for name, value in asdict(scene).items() if value != ""}


def read_pairs(path: Path) -> Pairs:
    """Reads a file of pairs. Raises `DataError` where it is missing, damaged, or contradicts itself."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        scenes = {
            split: {name: _scene_pairs(values) for name, values in named.items()}
            for split, named in raw["scenes"].items()
        }
        return Pairs(str(raw["corpus"]), str(raw["make"]), int(raw["seed"]), scenes)
    except FileNotFoundError as error:
        raise DataError(f"no pairs at {path}: make them with scripts/make_pairs.py") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is no file of pairs: {type(error).__name__}: {error}") from error


def _scene_pairs(values: Mapping[str, Any]) -> ScenePairs:
    x, y, z = (float(value) for value in values["centre"])
    context, query = tuple(map(int, values["context"])), tuple(map(int, values["query"]))
    both = [*context, *query]
    if len(set(both)) < len(both) or not query or not all(0 <= view < int(values["views"]) for view in both):
        raise ValueError(f"views repeat or do not exist: {dict(values)}")
    return ScenePairs(int(values["views"]), (x, y, z), context, query, str(values.get("category", "")))
