"""Fields whose surface is known in a world frame of its own, and a reader of PLY files."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vnp_nerf.frames import Similarity

PLY_TYPES = {"float": "<f4", "uchar": "|u1"}


def turned(angle: float, axis: tuple[float, float, float]) -> torch.Tensor:
    """A rotation by Rodrigues' formula, float64."""
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0).tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


@dataclass(frozen=True)
class Solid:
    """A ball (half: a radius) or a box (half: half its sides), moved and turned in the world."""

    centre: tuple[float, float, float]
    half: float | tuple[float, float, float]
    axes: torch.Tensor

    def local(self, world: torch.Tensor) -> torch.Tensor:
        return (world.double() - torch.tensor(self.centre, dtype=torch.float64)) @ self.axes

    def distance(self, world: Any) -> torch.Tensor:
        """Signed distance to the surface, world units, negative inside."""
        local = self.local(torch.as_tensor(np.asarray(world)))
        if isinstance(self.half, float):
            return local.norm(dim=-1) - self.half
        beyond = local.abs() - torch.tensor(self.half, dtype=torch.float64)
        return beyond.clamp_min(0).norm(dim=-1) + beyond.amax(-1).clamp_max(0)

    def extents(self, world: Any) -> torch.Tensor:
        """How far points reach along the solid's own axes, both ways, over how far the solid does, [2, 3]."""
        local = self.local(torch.as_tensor(np.asarray(world)))
        return torch.stack([-local.amin(0), local.amax(0)]) - torch.tensor(self.half, dtype=torch.float64)

    def volume(self) -> float:
        if isinstance(self.half, float):
            return 4 / 3 * math.pi * self.half**3
        return 8 * math.prod(self.half)


@dataclass(frozen=True)
class SolidField:
    """Opaque and of one colour inside of a solid of the world; as a field, asked in the model's frame."""

    solid: Solid
    frame: Similarity
    density: float = 500.0
    colour: tuple[float, float, float] = (0.8, 0.4, 0.2)

    def density_colour(
        self, points: torch.Tensor, directions: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inside = self.solid.distance(self.frame.inverse().apply(points)) <= 0
        colour = torch.tensor(self.colour)
        return inside * self.density, inside[:, None] * colour  # black outside, as fields are where empty


WORLD = Similarity(
    turned(1.1, (0.3, -0.5, 0.8)), torch.tensor([-0.2, 0.1, 0.4], dtype=torch.float64), scale=0.04
)
"""World to model: a world in which the model's ball has a radius of 25."""


def placed(model_point: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = WORLD.inverse().apply(torch.tensor(model_point, dtype=torch.float64)).tolist()
    return x, y, z


SOLIDS = {
    "ball": Solid(placed((0.1, -0.2, 0.15)), 15.0, torch.eye(3, dtype=torch.float64)),
    "box": Solid(placed((0.05, 0.1, -0.1)), (14.0, 9.0, 6.0), turned(0.7, (1.0, 2.0, -0.5))),
}


@pytest.fixture
def world() -> Similarity:
    return WORLD


@pytest.fixture(params=sorted(SOLIDS))
def solid(request: pytest.FixtureRequest) -> Solid:
    return SOLIDS[request.param]


@pytest.fixture
def make_field() -> Callable[..., SolidField]:
    """A `SolidField` in the world of `world`."""

    def make(solid: Solid, **changes: Any) -> SolidField:
        return SolidField(solid, WORLD, **changes)

    return make


@pytest.fixture
def read_ply() -> Callable[[Path], tuple[dict[str, np.ndarray], dict[str, str]]]:
    """Vertices by property, faces if there are any, and the header's notes."""

    def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        header, _, body = path.read_bytes().partition(b"end_header\n")
        lines = header.decode("ascii").splitlines()
        assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
        assert lines[2].startswith("element vertex ")
        kinds = [line.split()[1:] for line in lines if line.startswith("property") and "list" not in line]
        kind = np.dtype([(name, PLY_TYPES[of]) for of, name in kinds])
        vertices = np.frombuffer(body, kind, count=int(lines[2].split()[-1]))
        columns = {name: vertices[name] for name in vertices.dtype.names or ()}
        rest = body[vertices.nbytes :]
        faces = [int(line.split()[-1]) for line in lines if line.startswith("element face ")]
        if faces:
            rows = np.frombuffer(rest, np.dtype([("count", "u1"), ("corners", "<i4", (3,))]), count=faces[0])
            assert (rows["count"] == 3).all()
            columns["faces"], rest = rows["corners"], rest[rows.nbytes :]
        assert not rest
        notes = [
            line.removeprefix("comment ").partition(": ") for line in lines if line.startswith("comment")
        ]
        return columns, {name: text for name, _, text in notes}

    return read
