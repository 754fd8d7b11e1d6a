"""Protocols that numbers in papers follow, on renderings of ShapeNet that a user has.

    learnit   Learned-Init's renderings (128 x 128): one context view, drawn at random; every other view is
              asked for. The released code of Versatile Neural Processes draws 100 unseeded pairs of views of
              each object, and has the same expectation.
    srn       Scene Representation Networks' cars and chairs: view 64 is known, every other asked for; then 64
              and 104 (pixelNeRF, Yu et al. 2021, and all who compare with it).

Pairs are functions of the scenes' names and a seed.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from vnp_core.config import nearest
from vnp_core.errors import ConfigError, ViewCountError
from vnp_nerf.pairs import Pairs, ScenePairs, camera_centre, scenes_by_name
from vnp_nerf.readers import Collection, open_scene
from vnp_nerf.scene import Scene

ProtocolName = Literal["learnit", "srn"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)
SRN_CONTEXT = (64, 104)
"""The views that are known, in the order in which they are added."""
SPLIT = "test"


@dataclass(frozen=True)
class PublishedPairs:
    """What is scored, at one number of context views."""

    pairs: Pairs
    context_count: int


def published_pairs(
    protocol: ProtocolName, collection: Collection, category: str, *, seed: int = 0, limit: int | None = None
) -> list[PublishedPairs]:
    """The pairs of a protocol for the collection's test objects, or for the first `limit` by name.

    Raises `ConfigError` for an unknown protocol, `SceneNotFoundError` without test scenes, `ViewCountError`
    for a scene that has too few views.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"There is no protocol '{protocol}'. {nearest(protocol, list(PROTOCOLS))}")
    if protocol == "learnit":
        return [_pairs(protocol, collection, category, 1, seed, limit, _one_at_random)]
    return [
        _pairs(
            protocol, collection, category, count, seed, limit, lambda *_, count=count: SRN_CONTEXT[:count]
        )
        for count in range(1, len(SRN_CONTEXT) + 1)
    ]


def _pairs(
    protocol: ProtocolName,
    collection: Collection,
    category: str,
    count: int,
    seed: int,
    limit: int | None,
    choose: Callable[[str, int, int], tuple[int, ...]],
) -> PublishedPairs:
    named = sorted(scenes_by_name(collection, SPLIT).items())[:limit]
    chosen: dict[str, ScenePairs] = {}
    for name, path in named:
        scene = open_scene(path)
        context = choose(name, len(scene), seed)
        _check(scene, context, protocol)
        query = tuple(view for view in range(len(scene)) if view not in context)
        chosen[name] = ScenePairs(len(scene), camera_centre(scene), context, query)
    make = f"the user's {protocol} renderings of {category}"
    return PublishedPairs(Pairs(f"{protocol}-{category}", make, seed, {SPLIT: chosen}), count)


def _one_at_random(name: str, views: int, seed: int) -> tuple[int, ...]:
    return (int(np.random.default_rng([seed, zlib.crc32(name.encode())]).integers(views)),)


def _check(scene: Scene, context: tuple[int, ...], protocol: str) -> None:
    if len(scene) <= max(*context, len(context)):
        raise ViewCountError(
            f"{scene.path} has {len(scene)} views; the protocol '{protocol}' knows views {list(context)} and "
            "asks for the others. Is it complete?"
        )
