"""Procedural objects by category, any number from a seed."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vnp_core.errors import ConfigError
from vnp_nerf.making.cars import build_car
from vnp_nerf.making.chairs import build_chair
from vnp_nerf.making.lamps import build_lamp
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.tables import build_table

BUILDERS: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "cars": build_car,
    "chairs": build_chair,
    "lamps": build_lamp,
    "tables": build_table,
}


@dataclass(frozen=True)
class ShapeSource:
    """Names one object: the same three values give the same mesh, on any machine and in any process."""

    category: str
    seed: int
    index: int


def load_shape(source: ShapeSource) -> Mesh:
    """Builds the object; its category must be one of `BUILDERS`."""
    digest = hashlib.sha256(f"{source.category}/{source.seed}/{source.index}".encode()).digest()
    return BUILDERS[source.category](np.random.default_rng(np.frombuffer(digest, np.uint32)))


def identities(category: str, count: int) -> list[str]:
    """The ids of the first `count` objects; a larger count only adds to them.

    Raises:
        ConfigError: there is no such category, or no object is asked for.
    """
    if category not in BUILDERS:
        raise ConfigError(f"there is no category {category!r}; known: {', '.join(BUILDERS)}")
    if count < 1:
        raise ConfigError(f"count is {count}; give 1 or more")
    return [f"{category.removesuffix('s')}-{index:06d}" for index in range(count)]


def split_identities(names: Sequence[str]) -> dict[str, list[str]]:
    """Of each fifty objects 1 is for `val`, 6 for `test`, 43 for `train`; a larger count moves none."""
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for index, name in enumerate(names):
        place = index % 50
        splits["val" if place == 0 else "test" if place <= 6 else "train"].append(name)
    return splits
