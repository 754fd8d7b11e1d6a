"""A kit of solids out of which the procedural shapes are put together. Lengths in any unit, z up."""

from collections.abc import Sequence

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int

from vnp_nerf.making.mesh import Material, Mesh, flat_normals

Colour = tuple[float, float, float]
Point = Sequence[float] | Float[np.ndarray, " 3"]


class Solids:
    """Collects solids; `mesh()` gives them as one. Edges of more than `crease` degrees are shaded sharp."""

    def __init__(self, crease: float = 38.0) -> None:
        self._crease = crease
        self._vertices: list[np.ndarray] = []
        self._faces: list[np.ndarray] = []
        self._materials: list[np.ndarray] = []
        self._palette: dict[Material, int] = {}

    def mesh(self) -> Mesh:
        """All solids added so far."""
        starts = np.cumsum([0] + [len(vertices) for vertices in self._vertices])[:-1]
        vertices = np.concatenate(self._vertices)
        faces = np.concatenate([part + start for part, start in zip(self._faces, starts, strict=True)])
        solid = np.repeat(np.arange(len(self._vertices)), [len(part) for part in self._vertices])
        corners = vertices[faces]
        full = (
            np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
            > 1e-12
        )
        return Mesh(
            corners=corners[full].astype(np.float32),
            normals=_crease_normals(vertices, solid, faces[full], self._crease).astype(np.float32),
            materials=np.concatenate(self._materials)[full],
            palette=tuple(self._palette),
        )

    def faces(
        self,
        vertices: Float[np.ndarray, "N 3"],
        faces: Int[np.ndarray, "F 3"],
        colour: Colour,
        alpha: float = 1.0,
    ) -> None:
        """Any triangles; shading is smooth across vertices in one place up to the crease angle."""
        red, green, blue = colour
        material = Material((float(red), float(green), float(blue)), alpha)
        index = self._palette.setdefault(material, len(self._palette))
        self._vertices.append(np.asarray(vertices, float))
        self._faces.append(faces)
        self._materials.append(np.full(len(faces), index))

    def loft(
        self, rings: Float[np.ndarray, "N K 3"], colour: Colour, *, capped: bool = True, alpha: float = 1.0
    ) -> None:
        """A skin over closed rings of K points each, with flat caps at both ends."""
        count, around = rings.shape[:2]
        row, column = np.meshgrid(np.arange(count - 1), np.arange(around), indexing="ij")
        a, b = row * around + column, row * around + (column + 1) % around
        quads = np.stack([a, b, b + around, a + around], axis=-1).reshape(-1, 4)
        faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        vertices = rearrange(rings, "N K C -> (N K) C")
        if capped:
            # Caps have vertices of their own, so that their rim is sharp.
            start = len(vertices)
            vertices = np.concatenate([vertices, rings[0], rings[-1], rings[[0, -1]].mean(axis=1)])
            ring, following = np.arange(around), (np.arange(around) + 1) % around
            bottom = np.stack([ring + start, following + start, np.full(around, start + 2 * around)], axis=1)
            top = np.stack([following, ring, np.full(around, around + 1)], axis=1) + start + around
            faces = np.concatenate([faces, bottom, top])
        self.faces(vertices, faces, colour, alpha)

    def box(
        self,
        centre: Point,
        size: Point,
        colour: Colour,
        *,
        bevel: float = 0.0,
        turn: Float[np.ndarray, "3 3"] | None = None,
        alpha: float = 1.0,
    ) -> None:
        """A box with edge lengths `size`, its upright edges rounded by `bevel`, turned about its centre."""
        half = np.asarray(size, float) / 2
        outline = rounded_rectangle(2 * half[0], 2 * half[1], bevel)
        inner = rounded_rectangle(max(2 * half[0] - bevel, 0.0), max(2 * half[1] - bevel, 0.0), bevel / 2)
        layers = [(outline, -half[2]), (outline, half[2])]
        if bevel:
            lift = min(bevel / 2, half[2] * 0.9)
            layers = [
                (inner, -half[2]),
                (outline, lift - half[2]),
                (outline, half[2] - lift),
                (inner, half[2]),
            ]
        rings = np.stack([np.column_stack([ring, np.full(len(ring), z)]) for ring, z in layers])
        if turn is not None:
            rings = rings @ np.asarray(turn).T
        self.loft(rings + np.asarray(centre, float), colour, alpha=alpha)

    def lathe(
        self,
        profile: Sequence[tuple[float, float]] | Float[np.ndarray, "N 2"],
        colour: Colour,
        *,
        base: Point = (0.0, 0.0, 0.0),
        axis: str = "z",
        segments: int = 28,
        squash: tuple[float, float] = (1.0, 1.0),
        capped: bool = True,
        alpha: float = 1.0,
    ) -> None:
        """A solid of revolution: `profile` lists (radius, height) along `axis`, `squash` scales the radii."""
        points = np.asarray(profile, float)
        angle = np.arange(segments) * (2 * np.pi / segments)
        circle = np.column_stack([np.cos(angle) * squash[0], np.sin(angle) * squash[1]])
        rings = np.concatenate(
            [points[:, None, :1] * circle, np.repeat(points[:, None, 1:], segments, axis=1)], axis=2
        )
        order = {"x": [2, 0, 1], "y": [1, 2, 0], "z": [0, 1, 2]}[axis]
        self.loft(rings[..., order] + np.asarray(base, float), colour, capped=capped, alpha=alpha)

    def cylinder(self, base: Point, radius: float, height: float, colour: Colour, *, axis: str = "z") -> None:
        """A cylinder that starts at `base` and extends by `height` along `axis`."""
        self.lathe([(radius, 0.0), (radius, height)], colour, base=base, axis=axis)

    def ellipsoid(self, centre: Point, radii: Point, colour: Colour, alpha: float = 1.0) -> None:
        """An ellipsoid with axes along x, y and z."""
        a, b, c = (float(value) for value in radii)
        angle = np.linspace(-np.pi / 2, np.pi / 2, 13)
        profile = np.column_stack([np.cos(angle), np.sin(angle) * c])
        self.lathe(profile, colour, base=centre, segments=20, squash=(a, b), capped=False, alpha=alpha)

    def tube(
        self,
        path: Sequence[Point] | Float[np.ndarray, "N 3"],
        radius: float | Sequence[float] | Float[np.ndarray, " N"],
        colour: Colour,
        *,
        segments: int = 10,
        flatten: float = 1.0,
    ) -> None:
        """A rod along a path, of one radius or of one for each point; `flatten` scales its second axis."""
        points = np.asarray(path, float)
        tangents = np.gradient(points, axis=0)
        tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-12)
        side = np.cross(tangents[0], [0.0, 0.0, 1.0] if abs(tangents[0, 2]) < 0.9 else [0.0, 1.0, 0.0])
        angle = np.arange(segments) * (2 * np.pi / segments) + np.pi / segments
        rings = []
        for point, tangent, thickness in zip(
            points, tangents, np.broadcast_to(radius, len(points)), strict=True
        ):
            side = side - tangent * (side @ tangent)
            side = side / np.linalg.norm(side)
            other = np.cross(tangent, side) * flatten
            rings.append(point + thickness * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other))
        self.loft(np.stack(rings), colour)

    def panel(
        self, outline: Float[np.ndarray, "K 3"], colour: Colour, offset: Point = (0.0, 0.0, 0.0)
    ) -> None:
        """A flat convex polygon, moved by `offset`."""
        points = np.asarray(outline, float) + np.asarray(offset, float)
        fan = np.array([[0, index, index + 1] for index in range(1, len(points) - 1)])
        self.faces(points, fan, colour)


def rounded_rectangle(width: float, depth: float, radius: float, steps: int = 4) -> Float[np.ndarray, "K 2"]:
    """Counter-clockwise outline about the origin; four points when the radius is 0."""
    radius = min(radius, width / 2, depth / 2)
    if radius <= 0:
        return np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * np.array([width, depth]) / 2
    corner = np.linspace(0, np.pi / 2, steps)
    parts = []
    for quarter, (x, y) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        angle = corner + quarter * np.pi / 2
        middle = np.array([x * (width / 2 - radius), y * (depth / 2 - radius)])
        parts.append(middle + radius * np.column_stack([np.cos(angle), np.sin(angle)]))
    return np.concatenate(parts)


def superellipse(width: float, depth: float, power: float, count: int = 32) -> Float[np.ndarray, "K 2"]:
    """Outline of |2x/width|^power + |2y/depth|^power = 1: an ellipse for 2, nearly a rectangle for 10."""
    angle = np.arange(count) * (2 * np.pi / count) + np.pi / count
    x, y = np.cos(angle), np.sin(angle)
    return np.column_stack(
        [np.sign(x) * np.abs(x) ** (2 / power) * width / 2, np.sign(y) * np.abs(y) ** (2 / power) * depth / 2]
    )


def at_height(outline: Float[np.ndarray, "K 2"], z: float) -> Float[np.ndarray, "K 3"]:
    """The outline as a ring in the plane at height z."""
    return np.column_stack([outline, np.full(len(outline), z)])


def turned(degrees: float, axis: str) -> Float[np.ndarray, "3 3"]:
    """Rotation by an angle about a coordinate axis, counter-clockwise as seen from the axis's tip."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    rotation = np.eye(3)
    rotation[i, i], rotation[i, j], rotation[j, i], rotation[j, j] = c, -s, s, c
    return rotation


def _crease_normals(
    vertices: Float[np.ndarray, "N 3"],
    solid: Int[np.ndarray, " N"],
    faces: Int[np.ndarray, "F 3"],
    crease: float,
) -> Float[np.ndarray, "F 3 3"]:
    """At each corner the area-weighted mean normal of its solid's faces there within the crease angle."""
    corners = vertices[faces]
    weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = flat_normals(corners)[:, 0]
    # Vertices in one place count as one: the tip of a lathe is a whole ring of them.
    keys = np.column_stack([solid, np.rint(vertices * 1e6)]).astype(np.int64)
    order = np.lexsort(keys.T)
    differs = np.concatenate([[False], (np.diff(keys[order], axis=0) != 0).any(axis=1)])
    place = np.empty(len(vertices), np.int64)
    place[order] = np.cumsum(differs)
    owner = place[faces].reshape(-1)
    around = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=int(place.max()) + 1)
    starts = np.cumsum(counts) - counts
    corner_of_pair = np.repeat(np.arange(len(owner)), counts[owner])
    within = np.arange(len(corner_of_pair)) - np.repeat(
        np.cumsum(counts[owner]) - counts[owner], counts[owner]
    )
    neighbour = around[starts[owner[corner_of_pair]] + within] // 3
    close = (unit[corner_of_pair // 3] * unit[neighbour]).sum(axis=1) > np.cos(np.radians(crease))
    total = np.stack(
        [
            np.bincount(corner_of_pair[close], weighted[neighbour[close], axis], minlength=len(owner))
            for axis in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(length, 1e-12)).reshape(-1, 3, 3)
