"""Procedural tables and desks: the long side lies along y, drawers face +x, z up, lengths in metres."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from vnp_nerf.making import paints
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.solids import Solids, at_height, rounded_rectangle, superellipse

TOPS = ("rectangle", "rounded", "round", "oval", "hexagon", "boat")
LEGS = (
    "straight",
    "tapered",
    "turned",
    "pedestal",
    "trestle",
    "panel",
    "hairpin",
    "cross",
    "drawers",
    "sled",
)


def build_table(generator: np.random.Generator) -> Mesh:
    """A dining, coffee, side or writing table whose parts and colours are drawn from the generator."""
    return _Table(generator).mesh()


class _Table:
    """The measures of one table, and its parts."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator, self.solids = generator, Solids()
        draw = generator.uniform
        self.height = draw(0.68, 0.8) if draw() < 0.6 else draw(0.32, 0.55)
        self.depth, self.length = draw(0.45, 1.0), draw(0.6, 1.9)
        self.top = str(generator.choice(TOPS, p=[0.3, 0.2, 0.2, 0.12, 0.08, 0.1]))
        if self.top in ("round", "hexagon"):
            self.length = self.depth
        self.legs = str(generator.choice(LEGS))
        if self.legs == "drawers":
            self.top = "rectangle"
        self.thickness = draw(0.015, 0.07)
        families = (paints.wood, paints.lacquer, paints.metal)
        self.top_colour = families[int(generator.choice(3, p=[0.55, 0.4, 0.05]))](generator)
        self.leg_colour = (
            self.top_colour
            if draw() < 0.4
            else families[int(generator.choice(3, p=[0.35, 0.3, 0.35]))](generator)
        )
        self.accent = paints.lacquer(generator) if draw() < 0.6 else paints.wood(generator)
        self.under = self.height - self.thickness

    def mesh(self) -> Mesh:
        self.table_top()
        getattr(self, f"legs_{self.legs}")()
        draw = self.generator.uniform
        four = self.legs in ("straight", "tapered", "turned")
        if four and draw() < 0.5:
            self.apron()
        if (four and draw() < 0.35) or (self.legs in ("hairpin", "panel") and draw() < 0.3):
            z = self.under * draw(0.2, 0.5)
            self.solids.box((0, 0, z), (self.depth * 0.8, self.length * 0.84, 0.02), self.accent)
        if draw() < 0.4:
            self.things_on_top()
        return self.solids.mesh()

    def outline(self, scale: float = 1.0) -> Float[np.ndarray, "K 2"]:
        """The top's rim, with x along the depth and y along the length."""
        depth, length = self.depth * scale, self.length * scale
        if self.top in ("round", "oval"):
            return superellipse(depth, length, 2.0, 40)
        if self.top == "boat":
            return superellipse(depth, length, 3.2, 40)
        if self.top == "hexagon":
            angle = np.arange(6) * np.pi / 3
            return np.column_stack([np.cos(angle) * depth / 2, np.sin(angle) * length / 2])
        return rounded_rectangle(depth, length, 0.12 if self.top == "rounded" else 0.01)

    def table_top(self) -> None:
        draw = self.generator.uniform
        edge = draw(0.93, 1.0)
        rings = [
            at_height(self.outline(edge), self.under),
            at_height(self.outline(), self.under + self.thickness * 0.5),
        ]
        self.solids.loft(np.stack([*rings, at_height(self.outline(), self.height)]), self.top_colour)
        if draw() < 0.3:
            inset = draw(0.55, 0.92)
            rim = np.stack(
                [
                    at_height(self.outline(inset), self.height - 0.01),
                    at_height(self.outline(inset), self.height + 0.004),
                ]
            )
            self.solids.loft(rim, self.accent)
        elif draw() < 0.15:
            cloth = [
                at_height(self.outline(1.02), self.height + 0.006),
                at_height(self.outline(1.04), self.height - draw(0.05, 0.3)),
            ]
            self.solids.loft(np.stack(cloth), self.accent)

    def places(self) -> list[tuple[float, float]]:
        """Where four legs stand."""
        share = 0.34 if self.top in ("round", "oval", "hexagon") else 0.43
        x, y = self.depth * share, self.length * share
        return [(x, -y), (x, y), (-x, y), (-x, -y)]

    def legs_straight(self) -> None:
        thick = self.generator.uniform(0.03, 0.1)
        bevel = thick * self.generator.choice([0.0, 0.45])
        for x, y in self.places():
            self.solids.box((x, y, self.under / 2), (thick, thick, self.under), self.leg_colour, bevel=bevel)

    def legs_tapered(self) -> None:
        spread, thick = self.generator.uniform(1.0, 1.25), self.generator.uniform(0.018, 0.045)
        for x, y in self.places():
            path = np.linspace([x * 0.92, y * 0.92, self.under], [x * spread, y * spread, 0], 4)
            self.solids.tube(path, np.linspace(thick, thick * 0.45, 4), self.leg_colour, segments=12)

    def legs_turned(self) -> None:
        heights, waves = np.linspace(0, self.under, 17), self.generator.uniform(1, 4)
        share = heights / self.under
        radius = 0.03 + 0.016 * np.cos(share * 2 * np.pi * waves) + 0.014 * share
        for x, y in self.places():
            self.solids.lathe(
                np.column_stack([radius, heights]), self.leg_colour, base=(x, y, 0), segments=14
            )

    def legs_pedestal(self) -> None:
        draw = self.generator.uniform
        stem, foot = draw(0.03, 0.09), min(self.depth, self.length) * draw(0.25, 0.4)
        columns = (0.0,) if self.length < 1.3 else (-self.length * 0.25, self.length * 0.25)
        claws = int(self.generator.integers(3, 6)) if draw() < 0.5 else 0
        for y in columns:
            if claws:
                for claw in range(claws):
                    angle = 2 * np.pi * claw / claws
                    out = np.array([np.cos(angle), np.sin(angle), 0]) * foot
                    path = [
                        out * s + np.array([0, y, 0.02 + 0.22 * (1 - s) ** 1.6]) for s in np.linspace(0, 1, 6)
                    ]
                    self.solids.tube(path, np.linspace(0.035, 0.02, 6), self.leg_colour)
                self.solids.lathe(
                    [(stem, 0.1), (stem * 1.3, 0.3), (stem, self.under)], self.leg_colour, base=(0, y, 0)
                )
            else:
                profile = [
                    (foot, 0),
                    (foot, 0.02),
                    (foot * 0.5, 0.05),
                    (stem, 0.14),
                    (stem, self.under - 0.1),
                    (stem * 2, self.under),
                ]
                self.solids.lathe(profile, self.leg_colour, base=(0, y, 0))

    def legs_trestle(self) -> None:
        thick, share = self.generator.uniform(0.04, 0.09), self.generator.uniform(0.28, 0.4)
        for y in (-self.length * share, self.length * share):
            self.solids.box((0, y, self.under / 2), (thick * 2, thick, self.under), self.leg_colour)
            self.solids.box((0, y, thick / 2), (self.depth * 0.8, thick, thick), self.leg_colour)
            self.solids.box((0, y, self.under - thick / 2), (self.depth * 0.8, thick, thick), self.leg_colour)
        self.solids.box(
            (0, 0, self.under * 0.4), (thick * 0.6, self.length * share * 2, thick * 1.4), self.leg_colour
        )

    def legs_panel(self) -> None:
        thick = self.generator.uniform(0.02, 0.06)
        share = 0.32 if self.top in ("round", "oval", "hexagon") else 0.46
        for y in (-1, 1):
            place = (0, y * self.length * share, self.under / 2)
            self.solids.box(place, (self.depth * 2 * share, thick, self.under), self.leg_colour)
        if self.generator.uniform() < 0.5:
            size = (thick, self.length * 2 * share, self.under * self.generator.uniform(0.3, 0.9))
            self.solids.box((-self.depth * share * 0.8, 0, self.under - size[2] / 2), size, self.accent)

    def legs_hairpin(self) -> None:
        rod, gap = self.generator.uniform(0.006, 0.012), self.generator.uniform(0.05, 0.09)
        for x, y in self.places():
            for dx, dy in ((gap, 0.0), (0.0, gap)):
                top = [x - np.sign(x) * dx, y - np.sign(y) * dy, self.under]
                self.solids.tube(np.linspace(top, [x, y, 0], 3), rod, self.leg_colour)

    def legs_cross(self) -> None:
        thick = self.generator.uniform(0.02, 0.045)
        for _, y in self.places()[:2]:
            for side in (-1, 1):
                path = np.linspace(
                    [side * self.depth * 0.4, y, 0], [-side * self.depth * 0.4, y, self.under], 3
                )
                self.solids.tube(path, thick, self.leg_colour, segments=4)
        half = self.places()[1][1]
        self.solids.tube(
            np.linspace([0, -half, self.under / 2], [0, half, self.under / 2], 3),
            thick * 0.7,
            self.leg_colour,
        )

    def legs_drawers(self) -> None:
        draw = self.generator.uniform
        wide = min(self.length * 0.32, 0.45)
        both = self.length > 1.2 and draw() < 0.5
        count, z0 = int(self.generator.integers(2, 5)), draw(0.0, 0.1)
        for side in (-1, 1):
            y = side * (self.length * 0.46 - wide / 2)
            if side < 0 or both:
                self.solids.box(
                    (0, y, (self.under + z0) / 2), (self.depth * 0.88, wide, self.under - z0), self.leg_colour
                )
                step = (self.under - z0) / count
                for drawer in range(count):
                    z = z0 + (drawer + 0.5) * step
                    self.solids.box((self.depth * 0.44, y, z), (0.02, wide * 0.9, step * 0.85), self.accent)
                    self.solids.box(
                        (self.depth * 0.44 + 0.02, y, z), (0.03, wide * 0.3, 0.018), (0.7, 0.7, 0.7)
                    )
            else:
                for x in (-self.depth * 0.42, self.depth * 0.42):
                    self.solids.box(
                        (x, self.length * 0.46, self.under / 2), (0.05, 0.05, self.under), self.leg_colour
                    )

    def legs_sled(self) -> None:
        thick = self.generator.uniform(0.012, 0.035)
        x = self.depth * 0.4
        for _, y in self.places()[:2]:
            corners = [[x, y, self.under], [x, y, thick], [-x, y, thick], [-x, y, self.under]]
            for start, stop in pairwise(corners):
                self.solids.tube(np.linspace(start, stop, 3), thick, self.leg_colour, segments=4)

    def apron(self) -> None:
        (x, y), high = self.places()[1], self.generator.uniform(0.05, 0.13)
        z = self.under - high / 2
        for side in (-1, 1):
            self.solids.box((side * x, 0, z), (0.022, 2 * y, high), self.leg_colour)
            self.solids.box((0, side * y, z), (2 * x, 0.022, high), self.leg_colour)
        if self.generator.uniform() < 0.4:
            self.solids.box((x + 0.012, 0, z), (0.02, y * 0.9, high * 0.75), self.accent)

    def things_on_top(self) -> None:
        """Bowls, books, vases and boxes, up to four."""
        draw = self.generator.uniform
        for _ in range(int(self.generator.integers(1, 5))):
            x, y = draw(-0.25, 0.25) * self.depth, draw(-0.32, 0.32) * self.length
            colour, kind = paints.lacquer(self.generator), int(self.generator.integers(4))
            if kind == 0:
                self.solids.box(
                    (x, y, self.height + 0.03), (draw(0.1, 0.22), draw(0.1, 0.25), draw(0.03, 0.08)), colour
                )
            elif kind == 1:
                r, h = draw(0.04, 0.08), draw(0.12, 0.3)
                profile = [(r * 0.7, 0), (r, h * 0.35), (r * 0.4, h * 0.75), (r * 0.6, h)]
                self.solids.lathe(profile, colour, base=(x, y, self.height))
            elif kind == 2:
                r = draw(0.06, 0.13)
                self.solids.lathe(
                    [(r * 0.4, 0), (r * 0.8, r * 0.3), (r, r * 0.6), (r * 0.95, r * 0.6), (0.01, r * 0.15)],
                    colour,
                    base=(x, y, self.height),
                    capped=False,
                )
            else:
                r = draw(0.04, 0.09)
                self.solids.ellipsoid((x, y, self.height + r), (r, r, r), colour)
