"""Procedural chairs: one sits facing +x, z up, lengths in metres."""

import numpy as np
from jaxtyping import Float

from vnp_nerf.making import paints
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.solids import Solids, at_height, rounded_rectangle, superellipse, turned

LEGS = ("straight", "splayed", "turned", "pedestal", "star", "sled", "cantilever", "rocker", "panel")
BACKS = ("panel", "slats", "ladder", "spindles", "hoop", "cushion", "shell", "cross", "none")


def build_chair(generator: np.random.Generator) -> Mesh:
    """A chair, armchair or stool whose parts, proportions and colours are drawn from the generator."""
    return _Chair(generator).mesh()


class _Chair:
    """The measures of one chair, and its parts."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator, self.solids = generator, Solids()
        draw = generator.uniform
        self.legs = str(generator.choice(LEGS, p=[0.2, 0.18, 0.1, 0.1, 0.12, 0.08, 0.07, 0.07, 0.08]))
        self.back = str(generator.choice(BACKS, p=[0.14, 0.14, 0.13, 0.12, 0.1, 0.14, 0.12, 0.06, 0.05]))
        tall = self.back == "none" or draw() < 0.1
        self.seat_height = draw(0.6, 0.8) if tall and draw() < 0.6 else draw(0.36, 0.5)
        self.width, self.depth = draw(0.38, 0.7), draw(0.38, 0.62)
        self.back_height, self.lean = draw(0.28, 0.75), draw(0.0, 0.2)
        self.thickness = draw(0.025, 0.07)
        self.rounding = draw(0.0, 0.5) * min(self.width, self.depth)
        families = (paints.wood, paints.lacquer, paints.metal)
        frame, second = generator.choice(3, p=[0.5, 0.25, 0.25]), generator.choice(3, p=[0.5, 0.3, 0.2])
        self.frame = families[frame](generator)
        self.leg_colour = self.frame if draw() < 0.6 else families[second](generator)
        self.seat_colour = self.frame if draw() < 0.35 else paints.fabric(generator)
        self.back_colour = (
            self.seat_colour if draw() < 0.55 else (self.frame if draw() < 0.5 else paints.fabric(generator))
        )
        self.rod = draw(0.012, 0.03)

    def mesh(self) -> Mesh:
        self.seat()
        getattr(self, f"legs_{self.legs}")()
        if self.back != "none":
            getattr(self, f"back_{self.back}")()
            if self.generator.uniform() < 0.42:
                self.arms()
        return self.solids.mesh()

    def corners(self, inset: float) -> list[tuple[float, float]]:
        """The four places of legs under the seat: front right, front left, rear left, rear right."""
        x, y = self.depth / 2 - inset, self.width / 2 - inset
        return [(x, -y), (x, y), (-x, y), (-x, -y)]

    def seat(self) -> None:
        generator, solids = self.generator, self.solids
        round_seat = generator.uniform() < 0.25 and self.back in (
            "none",
            "hoop",
            "spindles",
            "shell",
            "panel",
        )
        outline = (
            superellipse(self.depth, self.width, 2.2, 36)
            if round_seat
            else rounded_rectangle(self.depth, self.width, max(self.rounding, 0.01), 6)
        )
        z = self.seat_height
        solids.loft(np.stack([at_height(outline, z - self.thickness), at_height(outline, z)]), self.frame)
        puff = generator.uniform(0.03, 0.13) if generator.uniform() < 0.6 else 0.01
        shares = [(0.97, 0.0), (1.0, 0.35), (0.99, 0.75), (0.9, 1.0), (0.5, 1.06)]
        solids.loft(
            np.stack([at_height(outline * s, z + rise * puff) for s, rise in shares]), self.seat_colour
        )

    def leg(self, top: tuple[float, float], foot: tuple[float, float], thick: float, thin: float) -> None:
        """A rod from under the seat to the floor."""
        z = self.seat_height - self.thickness
        path = np.linspace([*top, z], [*foot, 0.0], 5)
        self.solids.tube(path, np.linspace(thick, thin, 5), self.leg_colour, segments=self.leg_sides)

    @property
    def leg_sides(self) -> int:
        """Four for square legs, ten for round ones; the same for all legs of the chair."""
        return 4 if self.rounding < 0.06 else 10

    def legs_straight(self) -> None:
        thick = self.generator.uniform(0.016, 0.045)
        for x, y in self.corners(thick):
            self.leg((x, y), (x, y), thick, thick * self.generator.uniform(0.95, 1.0))
        self.stretchers(thick, 1.0)

    def legs_splayed(self) -> None:
        thick, spread = self.generator.uniform(0.014, 0.035), self.generator.uniform(1.1, 1.45)
        for x, y in self.corners(0.09):
            self.leg((x, y), (x * spread, y * spread), thick, thick * 0.55)
        self.stretchers(0.09, spread)

    def stretchers(self, inset: float, spread: float) -> None:
        """Rails between the legs, on some chairs."""
        if self.generator.uniform() < 0.5:
            return
        share = self.generator.uniform(0.25, 0.75)
        z = (self.seat_height - self.thickness) * share
        scale = spread + (1 - spread) * share
        places = [np.array([x * scale, y * scale, z]) for x, y in self.corners(inset)]
        pairs = [(0, 1), (1, 2), (2, 3), (3, 0)] if self.generator.uniform() < 0.6 else [(1, 2), (3, 0)]
        for start, stop in pairs:
            self.solids.tube(np.linspace(places[start], places[stop], 3), self.rod * 0.7, self.leg_colour)

    def legs_turned(self) -> None:
        z = self.seat_height - self.thickness
        heights = np.linspace(0, z, 15)
        waves = self.generator.uniform(1, 3.5)
        radius = 0.02 + 0.012 * np.cos(heights / z * np.pi * 2 * waves) + 0.008 * heights / z
        for x, y in self.corners(0.06):
            self.solids.lathe(
                np.column_stack([radius, heights]), self.leg_colour, base=(x, y, 0), segments=14
            )

    def legs_pedestal(self) -> None:
        z, foot = self.seat_height - self.thickness, self.generator.uniform(0.17, 0.28)
        stem = self.generator.uniform(0.02, 0.05)
        profile = [
            (foot, 0),
            (foot, 0.015),
            (foot * 0.5, 0.045),
            (stem, 0.1),
            (stem, z - 0.08),
            (stem * 2.6, z),
        ]
        self.solids.lathe(profile, self.leg_colour)

    def legs_star(self) -> None:
        z, count = self.seat_height - self.thickness, int(self.generator.integers(4, 6))
        reach = self.generator.uniform(0.24, 0.34)
        self.solids.lathe(
            [(0.03, 0.06), (0.03, z * 0.6), (0.018, z * 0.6), (0.018, z)],
            paints.grey(self.generator, 0.1, 0.7),
        )
        for arm in range(count):
            angle = 2 * np.pi * arm / count + 0.3
            tip = np.array([np.cos(angle) * reach, np.sin(angle) * reach, 0.06])
            self.solids.tube(np.linspace([0, 0, 0.11], tip, 4), np.linspace(0.03, 0.018, 4), self.leg_colour)
            self.solids.ellipsoid((tip[0], tip[1], 0.03), (0.03, 0.03, 0.03), (0.08, 0.08, 0.08))

    def legs_sled(self) -> None:
        z = self.seat_height - self.thickness
        for _, y in self.corners(0.04)[:2]:
            x = self.depth / 2 - 0.03
            path = [
                (x * 0.9, y, z),
                (x, y, 0.04),
                (x - 0.03, y, self.rod),
                (-x + 0.03, y, self.rod),
                (-x, y, 0.04),
                (-x * 0.9, y, z),
            ]
            self.solids.tube(_rounded(path), self.rod, self.leg_colour)

    def legs_cantilever(self) -> None:
        z = self.seat_height - self.thickness / 2
        for _, y in self.corners(0.02)[:2]:
            x = self.depth / 2
            path = [
                (-x, y, z),
                (x - 0.05, y, z),
                (x, y, z - 0.06),
                (x, y, 0.07),
                (x - 0.05, y, self.rod),
                (-x, y, self.rod),
            ]
            self.solids.tube(_rounded(path), self.rod, self.leg_colour)
        half = self.width / 2 - 0.02
        self.solids.tube(
            [
                (-self.depth / 2, -half, self.rod),
                (-self.depth / 2, 0, self.rod),
                (-self.depth / 2, half, self.rod),
            ],
            self.rod,
            self.leg_colour,
        )

    def legs_rocker(self) -> None:
        thick = self.generator.uniform(0.016, 0.03)
        angle = np.linspace(-0.62, 0.62, 15)
        radius = self.generator.uniform(0.7, 1.0)
        for y in (self.corners(thick)[0][1], self.corners(thick)[1][1]):
            curve = np.column_stack(
                [radius * np.sin(angle), np.full(15, y), radius * (1 - np.cos(angle)) + thick]
            )
            self.solids.tube(curve, thick, self.leg_colour, segments=6)
        for x, y in self.corners(thick):
            self.leg((x, y), (x, y), thick, thick)

    def legs_panel(self) -> None:
        z, thick = self.seat_height - self.thickness, self.generator.uniform(0.02, 0.06)
        for y in (-1, 1):
            place = (0, y * (self.width / 2 - thick / 2), z / 2)
            self.solids.box(
                place, (self.depth * self.generator.uniform(0.75, 1.0), thick, z), self.leg_colour
            )
        if self.generator.uniform() < 0.5:
            self.solids.box((-self.depth * 0.35, 0, z / 2), (thick, self.width, z), self.leg_colour)

    def back_point(self, y: float, rise: float, bow: float = 0.0) -> Float[np.ndarray, " 3"]:
        """A point of the back at height `rise` above the seat; `bow` pushes the middle backwards."""
        x = -self.depth / 2 + 0.02 - self.lean * rise - bow * (1 - (2 * y / self.width) ** 2)
        return np.array([x, y, self.seat_height + rise])

    def posts(self, colour: tuple[float, float, float], radius: float, low: float = -0.02) -> None:
        for y in (-1, 1):
            path = [
                self.back_point(y * (self.width / 2 - radius), rise)
                for rise in np.linspace(low, self.back_height, 4)
            ]
            self.solids.tube(path, radius, colour, segments=self.leg_sides)

    def sheet(self, low: float, high: float, half: float, bow: float, thick: float) -> None:
        """A curved board between two heights, 2 * half wide."""
        across = np.linspace(-half, half, 9)
        rings = []
        for rise in np.linspace(low, high, 6):
            share = (rise - low) / max(high - low, 1e-6)
            narrow = 1 - self.crown * max(0.0, share - 0.6) ** 2
            near = [self.back_point(y * narrow, rise, bow) for y in across]
            rings.append(np.stack(near + [point - [thick, 0, 0] for point in near[::-1]]))
        self.solids.loft(np.stack(rings), self.back_colour)

    @property
    def crown(self) -> float:
        """How much the back narrows towards its top."""
        return 2.0 * self.rounding

    def back_panel(self) -> None:
        gap = self.generator.uniform(0.0, 0.18) * self.back_height
        if gap > 0.03:
            self.posts(self.frame, self.rod)
        self.sheet(
            gap,
            self.back_height,
            self.width / 2 * self.generator.uniform(0.9, 1.0),
            self.generator.uniform(0, 0.07),
            0.025,
        )

    def back_slats(self) -> None:
        self.posts(self.frame, self.rod)
        count, thick = int(self.generator.integers(3, 9)), self.generator.uniform(0.006, 0.02)
        for y in np.linspace(-1, 1, count + 2)[1:-1] * self.width / 2:
            path = [self.back_point(y, rise) for rise in np.linspace(0, self.back_height * 0.97, 3)]
            self.solids.tube(path, thick, self.back_colour, segments=4)
        self.sheet(self.back_height * 0.9, self.back_height, self.width / 2, 0.0, 0.03)

    def back_ladder(self) -> None:
        self.posts(self.frame, self.rod)
        count, bow = int(self.generator.integers(2, 6)), self.generator.uniform(0, 0.05)
        height = self.back_height / count * self.generator.uniform(0.35, 0.7)
        for top in np.linspace(self.back_height, self.back_height / count, count):
            self.sheet(top - height, top, self.width / 2 - self.rod, bow, 0.02)

    def back_spindles(self) -> None:
        count, bow = int(self.generator.integers(5, 10)), self.generator.uniform(0.0, 0.08)
        for y in np.linspace(-0.47, 0.47, count) * self.width:
            path = [self.back_point(y, rise, bow) for rise in np.linspace(0, self.back_height * 0.95, 3)]
            self.solids.tube(path, [0.007, 0.013, 0.007], self.frame)
        self.sheet(self.back_height * 0.88, self.back_height * 1.03, self.width / 2, bow, 0.025)

    def back_hoop(self) -> None:
        angle = np.linspace(0, np.pi, 17)
        half, square = self.width / 2 - self.rod, self.generator.uniform(0.4, 1.0)
        hoop = [
            self.back_point(
                half * np.sign(np.cos(a)) * abs(np.cos(a)) ** square, self.back_height * np.sin(a) ** square
            )
            for a in angle
        ]
        self.solids.tube(hoop, self.rod, self.frame)
        if self.generator.uniform() < 0.6:
            count = int(self.generator.integers(1, 6))
            for y in np.linspace(-1, 1, count + 2)[1:-1] * half * 0.9:
                top = self.back_height * (1 - (y / half) ** 2) ** 0.5 * 0.97
                self.solids.tube(
                    [self.back_point(y, r) for r in np.linspace(0, top, 3)], self.rod * 0.5, self.frame
                )
        else:
            self.sheet(self.back_height * 0.15, self.back_height * 0.85, half * 0.8, 0.0, 0.03)

    def back_cushion(self) -> None:
        thick, half = self.generator.uniform(0.06, 0.16), self.back_height / 2
        slant = turned(-float(np.degrees(np.arctan(self.lean))), "y")
        middle = self.back_point(0, half) + np.array([thick * 0.2, 0, 0])
        size = (thick, self.width * self.generator.uniform(0.88, 1.0), self.back_height)
        self.solids.box(middle, size, self.back_colour, bevel=thick * 0.45, turn=slant)
        if self.generator.uniform() < 0.5:
            board = (0.03, size[1] * 1.02, self.back_height * 1.02)
            self.solids.box(middle - np.array([thick * 0.5, 0, 0]), board, self.frame, turn=slant)

    def back_shell(self) -> None:
        self.sheet(-0.02, self.back_height * 0.8, self.width / 2, self.generator.uniform(0.06, 0.14), 0.022)
        for y in (-1, 1):
            wing = [self.back_point(y * self.width / 2, rise) for rise in (0.02, self.back_height * 0.4)]
            front = np.array(
                [self.depth * self.generator.uniform(-0.1, 0.3), y * self.width / 2, self.seat_height + 0.03]
            )
            self.solids.panel(np.stack([wing[0], front, wing[1]]), self.back_colour)

    def back_cross(self) -> None:
        self.posts(self.frame, self.rod)
        half = self.width / 2 - self.rod
        for y in (-1, 1):
            path = [
                self.back_point(-y * half, 0.02),
                self.back_point(0, self.back_height / 2),
                self.back_point(y * half, self.back_height * 0.95),
            ]
            self.solids.tube(path, self.rod * 0.7, self.back_colour)
        self.sheet(self.back_height * 0.9, self.back_height, half, 0.0, 0.025)

    def arms(self) -> None:
        generator = self.generator
        rise, thick = generator.uniform(0.16, 0.26), generator.uniform(0.018, 0.05)
        rise = min(rise, self.back_height * 0.8)
        padded = generator.uniform() < 0.5
        colour = self.seat_colour if padded else self.frame
        reach, solid = self.depth * generator.uniform(0.2, 0.48), generator.uniform() < 0.25
        for y in (-1, 1):
            side = y * (self.width / 2 + (thick if padded else 0))
            rear = self.back_point(side, rise)
            span = reach - rear[0]
            if solid:
                box = (span, max(thick * 1.6, 0.05), rise + 0.06)
                self.solids.box(
                    (rear[0] + span / 2, side, self.seat_height + rise / 2 - 0.03),
                    box,
                    self.seat_colour,
                    bevel=0.03,
                )
                continue
            self.solids.box(
                (rear[0] + span / 2, side, rear[2]),
                (span, thick * 2, thick * (1.2 if padded else 0.7)),
                colour,
                bevel=thick * 0.5,
            )
            self.solids.tube(
                np.linspace(
                    [reach * 0.9, side, rear[2]], [reach * 0.8, side, self.seat_height - self.thickness], 3
                ),
                self.rod * 0.8,
                self.frame,
            )


def _rounded(path: list[tuple[float, float, float]], rounds: int = 2) -> Float[np.ndarray, "N 3"]:
    """The path with its corners cut off repeatedly (Chaikin), its ends kept."""
    points = np.asarray(path, float)
    for _ in range(rounds):
        cut = np.stack(
            [0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1
        )
        points = np.concatenate([points[:1], cut.reshape(-1, 3), points[-1:]])
    return points
