"""Procedural cars: front along +x, z up, lengths in metres."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from vnp_nerf.making import paints
from vnp_nerf.making.car_styles import STYLES
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.solids import Solids, rounded_rectangle, superellipse, turned

BLACK, GLASS_OFFSET = (0.05, 0.05, 0.055), 0.008


def build_car(generator: np.random.Generator) -> Mesh:
    """A car whose style, proportions, details and colours are drawn from the generator."""
    return _Car(generator).mesh()


class _Car:
    """The measures of one car, and its parts."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator, self.solids = generator, Solids()
        self.style_name = str(generator.choice(list(STYLES), p=[0.2, 0.18, 0.1, 0.14, 0.1, 0.1, 0.1, 0.08]))
        style = STYLES[self.style_name]
        draw = generator.uniform
        self.length, self.width, self.height = draw(*style.length), draw(*style.width), draw(*style.height)
        self.wheel = draw(*style.wheel)
        self.belt = self.height * draw(*style.belt)
        self.rear_base, self.rear_roof = draw(*style.rear_base), draw(*style.rear_roof)
        self.front_roof, self.front_base = draw(*style.front_roof), draw(*style.front_base)
        self.bonnet, self.boot = self.belt * draw(*style.bonnet), self.belt * draw(*style.boot)
        self.panes = int(generator.choice(style.panes))
        self.axles = (self.along(draw(0.15, 0.22)), self.along(draw(0.78, 0.85)))
        self.wheel = min(self.wheel, 0.42 * min(self.deck(x) for x in self.axles))
        self.floor = self.wheel * draw(0.45, 0.75)
        self.boxiness = draw(2.6, 7.0)
        self.nose_taper, self.tail_taper = draw(0.03, 0.22), draw(0.02, 0.14)
        self.body = paints.lacquer(generator)
        self.second = paints.lacquer(generator) if draw() < 0.3 else self.body
        self.roof = paints.lacquer(generator) if draw() < 0.22 else self.body
        self.glass = paints.mixed(paints.grey(generator, 0.05, 0.3), (0.25, 0.4, 0.55), draw(0.0, 0.45))
        self.trim = self.body if draw() < 0.45 else paints.grey(generator, 0.07, 0.3)
        self.chrome = paints.grey(generator, 0.6, 0.85)

    def along(self, share: float) -> float:
        """x of a place given as a share of the length."""
        return (share - 0.5) * self.length

    def mesh(self) -> Mesh:
        self.lower_body()
        if self.style_name == "convertible":
            self.open_cabin()
        else:
            self.cabin()
        if self.style_name == "pickup":
            self.cargo_bed()
        self.wheels()
        self.lights_and_bumpers()
        self.side_details()
        self.extras()
        return self.solids.mesh()

    def half_width(self, x: float) -> float:
        """Half the body's width at x: narrower towards nose and tail."""
        share = x / self.length + 0.5
        nose, tail = max(0.0, (share - 0.8) / 0.2), max(0.0, (0.14 - share) / 0.14)
        return self.width / 2 * (1 - self.nose_taper * nose**2 - self.tail_taper * tail**2)

    def deck(self, x: float) -> float:
        """Height of the body without the cabin at x."""
        share = x / self.length + 0.5
        return float(
            np.interp(
                share,
                [0.0, 0.02, max(self.rear_base, 0.03), self.front_base, 0.955, 1.0],
                [self.boot * 0.9, self.boot, self.belt, self.belt, self.bonnet, self.bonnet * 0.82],
            )
        )

    def lower_body(self) -> None:
        rings = []
        for share in np.concatenate([[0.0, 0.006, 0.02], np.linspace(0.05, 0.95, 25), [0.98, 0.994, 1.0]]):
            x = self.along(float(share))
            end = min(share, 1 - share)
            shrink = 1.0 - 0.12 * max(0.0, 1 - end / 0.02) ** 2
            bottom, top = self.floor + (1 - shrink) * 0.6, self.deck(x)
            section = superellipse(
                2 * self.half_width(x) * shrink, (top - bottom) * shrink, self.boxiness, 28
            )
            rings.append(
                np.column_stack([np.full(len(section), x), section[:, 0], section[:, 1] + (top + bottom) / 2])
            )
        self.solids.loft(np.stack(rings), self.body)

    def cabin_corners(self) -> tuple[Float[np.ndarray, "4 3"], Float[np.ndarray, "4 3"]]:
        """The greenhouse's foot and roof: rear right, front right, front left, rear left."""
        foot, lean = self.width / 2 * 0.93, self.generator.uniform(0.78, 0.92)
        if self.style_name == "van":
            lean = self.generator.uniform(0.88, 0.97)
        low, high = self.belt - 0.05, self.height - 0.05
        x_low = (self.along(self.rear_base), self.along(self.front_base))
        x_high = (self.along(self.rear_roof), self.along(self.front_roof))
        bottom = np.array(
            [[x_low[0], -foot, low], [x_low[1], -foot, low], [x_low[1], foot, low], [x_low[0], foot, low]]
        )
        roof = foot * lean
        top = np.array(
            [
                [x_high[0], -roof, high],
                [x_high[1], -roof, high],
                [x_high[1], roof, high],
                [x_high[0], roof, high],
            ]
        )
        return bottom, top

    def cabin(self) -> None:
        bottom, top = self.cabin_corners()
        self.solids.loft(np.stack([bottom, top]), self.body, capped=False)
        centre, size = top.mean(axis=0), np.ptp(top, axis=0)
        bulge = self.generator.uniform(0.05, 0.09)
        layers = [(1.0, 0.0), (0.985, 0.4), (0.93, 0.78), (0.82, 1.0)]
        roof = [
            np.column_stack(
                [rounded_rectangle(size[0] * share, size[1] * share, 0.12 * share), np.full(16, rise * bulge)]
            )
            for share, rise in layers
        ]
        self.solids.loft(np.stack(roof) + centre, self.roof)
        pillar = self.generator.uniform(0.05, 0.11)
        self.window(bottom[[1, 2]], top[[1, 2]], pillar)
        self.window(bottom[[3, 0]], top[[3, 0]], pillar)
        blind = self.style_name == "van" and self.panes == 1
        for side in ((0, 1), (3, 2)):
            edges = np.linspace(0.62 if blind else 0.0, 1.0, self.panes + 1)
            for start, stop in pairwise(edges):
                foot = bottom[side[0]] + np.outer([start, stop], bottom[side[1]] - bottom[side[0]])
                head = top[side[0]] + np.outer([start, stop], top[side[1]] - top[side[0]])
                self.window(foot, head, pillar)

    def window(self, foot: Float[np.ndarray, "2 3"], head: Float[np.ndarray, "2 3"], pillar: float) -> None:
        """A pane within the quadrilateral foot-head, leaving a frame of `pillar` metres around it."""
        quad = np.stack([foot[0], foot[1], head[1], head[0]])
        centre = quad.mean(axis=0)
        normal = np.cross(quad[1] - quad[0], quad[3] - quad[0])
        normal = normal / np.linalg.norm(normal)
        outward = normal if normal @ (centre - np.array([centre[0] * 0.7, 0, centre[2]])) >= 0 else -normal
        spans = np.linalg.norm(foot[1] - foot[0]), np.linalg.norm(head.mean(axis=0) - foot.mean(axis=0))
        u, v = min(0.3, pillar / spans[0] / 1.2), min(0.25, 0.06 / spans[1])
        low = 0.08 / spans[1]
        corners = [(u, low + v / 2), (1 - u, low + v / 2), (1 - u, 1 - v), (u, 1 - v)]
        pane = np.stack(
            [
                (1 - b) * ((1 - a) * foot[0] + a * foot[1]) + b * ((1 - a) * head[0] + a * head[1])
                for a, b in corners
            ]
        )
        self.solids.panel(pane, self.glass, outward * GLASS_OFFSET)

    def open_cabin(self) -> None:
        seat_colour, inner = paints.fabric(self.generator), paints.grey(self.generator, 0.08, 0.3)
        x0, x1 = self.along(self.rear_base + 0.02), self.along(self.front_base - 0.02)
        self.solids.box(((x0 + x1) / 2, 0, self.belt), (x1 - x0, self.width * 0.8, 0.04), inner, bevel=0.03)
        for row in range(1 if self.length < 4.1 else 2):
            for y in (-0.22, 0.22):
                x = x0 + (x1 - x0) * (0.55 - 0.4 * row)
                self.solids.box(
                    (x, y * self.width, self.belt + 0.06), (0.45, 0.42, 0.14), seat_colour, bevel=0.1
                )
                back = turned(-12, "y")
                self.solids.box(
                    (x - 0.25, y * self.width, self.belt + 0.2),
                    (0.12, 0.42, 0.5),
                    seat_colour,
                    bevel=0.08,
                    turn=back,
                )
        foot, head = (
            self.along(self.front_base),
            self.along(self.front_base) - self.generator.uniform(0.25, 0.45),
        )
        half, top = self.width / 2 * 0.86, self.height
        low = np.array([[foot, -half, self.belt - 0.02], [foot, half, self.belt - 0.02]])
        high = np.array([[head, -half * 0.9, top], [head, half * 0.9, top]])
        self.solids.panel(np.stack([low[0], low[1], high[1], high[0]]), self.glass)
        frame = [low[0], high[0], high[1], low[1]]
        for start, stop in pairwise(frame):
            self.solids.tube([start, (start + stop) / 2, stop], 0.03, self.body)

    def cargo_bed(self) -> None:
        x0, x1 = self.along(0.025), self.along(self.rear_base - 0.01)
        middle, span = (x0 + x1) / 2, x1 - x0
        rail = self.generator.uniform(0.06, 0.16)
        inner = paints.grey(self.generator, 0.05, 0.2)
        self.solids.box((middle, 0, self.belt), (span - 0.1, self.width * 0.8, 0.03), inner)
        for y in (-1, 1):
            self.solids.box(
                (middle, y * self.width * 0.44, self.belt + rail / 2), (span, 0.08, rail), self.body
            )
        self.solids.box((x0 + 0.03, 0, self.belt + rail / 2), (0.07, self.width * 0.88, rail), self.body)
        if self.generator.uniform() < 0.3:
            crate = paints.lacquer(self.generator)
            size = self.generator.uniform(0.35, 0.7)
            self.solids.box(
                (middle, 0, self.belt + size * 0.3), (span * 0.6, self.width * 0.6, size * 0.6), crate
            )

    def wheels(self) -> None:
        generator = self.generator
        tyre_width, spokes = generator.uniform(0.17, 0.27), int(generator.integers(0, 8))
        rim = generator.uniform(0.58, 0.74) * self.wheel
        alloy = paints.grey(generator, 0.45, 0.9) if generator.uniform() < 0.75 else paints.lacquer(generator)
        arch = BLACK if generator.uniform() < 0.7 else self.trim
        for x in self.axles:
            edge = self.half_width(x)
            for y in (-1, 1):
                centre = (x, y * (edge - 0.25), self.wheel * 1.1)
                self.solids.cylinder(centre, self.wheel * 1.08, y * 0.257, arch, axis="y")
                start = (x, y * (edge - tyre_width + 0.03), self.wheel)
                r, w = self.wheel, tyre_width * y
                tyre = [(rim, 0), (r * 0.95, 0), (r, w * 0.12), (r, w * 0.88), (r * 0.95, w), (rim, w)]
                self.solids.lathe(tyre, (0.06, 0.06, 0.065), base=start, axis="y")
                face = y * (edge + 0.03)
                if spokes < 3:
                    dish = [(rim, 0.0), (rim * 0.8, y * 0.012), (rim * 0.25, y * 0.004), (0.0, y * 0.02)]
                    self.solids.lathe(dish, alloy, base=(x, face, self.wheel), axis="y")
                    continue
                self.solids.cylinder(
                    (x, face - y * 0.03, self.wheel), rim, y * 0.012, (0.12, 0.12, 0.12), axis="y"
                )
                ring = [(rim, 0), (rim, y * 0.012), (rim * 0.88, y * 0.012), (rim * 0.88, 0)]
                self.solids.lathe(ring, alloy, base=(x, face, self.wheel), axis="y", capped=False)
                for spoke in range(spokes):
                    turn = turned(360 / spokes * spoke + 17, "y")
                    centre = np.array([x, face - y * 0.005, self.wheel]) + turn @ np.array([0, 0, rim * 0.47])
                    self.solids.box(centre, (rim * 0.22, 0.02, rim * 0.94), alloy, turn=turn)
                self.solids.cylinder((x, face - y * 0.01, self.wheel), rim * 0.22, y * 0.025, alloy, axis="y")

    def lights_and_bumpers(self) -> None:
        generator, solids = self.generator, self.solids
        nose, tail = self.along(0.985), self.along(0.008)
        front, rear = self.half_width(nose), self.half_width(tail)
        lamp_z = self.floor + (self.bonnet - self.floor) * generator.uniform(0.55, 0.72)
        lamp = (generator.uniform(0.06, 0.14), generator.uniform(0.1, 0.22), generator.uniform(0.05, 0.11))
        lens = paints.mixed((0.97, 0.96, 0.9), (1.0, 0.85, 0.5), generator.uniform(0, 0.5))
        red = (generator.uniform(0.6, 0.9), 0.05, 0.06)
        back_z = self.floor + (self.boot - self.floor) * generator.uniform(0.6, 0.8)
        back = (0.05, generator.uniform(0.06, 0.24), generator.uniform(0.05, 0.2))
        round_lamps = generator.uniform() < 0.4
        for y in (-1, 1):
            place = (nose - 0.02, y * (front - lamp[1] * 0.75), lamp_z)
            if round_lamps:
                solids.ellipsoid(place, (lamp[0], lamp[2] * 1.2, lamp[2] * 1.2), lens)
            else:
                solids.box(place, (lamp[0] * 1.4, lamp[1], lamp[2]), lens, bevel=0.03)
            solids.box((tail, y * (rear * 0.94 - back[1] / 2), back_z), back, red, bevel=0.02)
        grille = (0.05, front * generator.uniform(0.5, 1.1), generator.uniform(0.08, 0.24))
        dark = BLACK if generator.uniform() < 0.7 else self.chrome
        solids.box((self.along(0.995), 0, lamp_z - generator.uniform(0.0, 0.12)), grille, dark, bevel=0.02)
        height, depth = generator.uniform(0.1, 0.22), generator.uniform(0.1, 0.2)
        bumper = self.chrome if generator.uniform() < 0.15 else self.trim
        for x, half in ((self.along(0.985), front), (self.along(0.015), rear)):
            solids.box((x, 0, self.floor + height * 0.8), (depth, half * 1.96, height), bumper, bevel=0.06)
        plate = paints.mixed((0.95, 0.95, 0.95), (1.0, 0.85, 0.1), float(generator.uniform() < 0.3))
        for x in (self.along(0.985) + depth / 2, self.along(0.015) - depth / 2):
            solids.box((x, 0, self.floor + height * 0.8), (0.02, 0.45, 0.11), plate)

    def side_details(self) -> None:
        generator, solids = self.generator, self.solids
        mirror = self.body if generator.uniform() < 0.6 else BLACK
        sill = generator.uniform() < 0.5
        moulding = generator.uniform() < 0.35
        doors = [
            self.along(s)
            for s in np.linspace(self.rear_base + 0.14, self.front_base - 0.02, 2 + (self.panes > 1))
        ]
        middle = (self.floor + self.belt) / 2
        for y in (-1, 1):
            edge = self.width / 2
            solids.ellipsoid(
                (self.along(self.front_base - 0.06), y * (edge + 0.05), self.belt + 0.07),
                (0.07, 0.11, 0.08),
                mirror,
            )
            for x in doors:
                solids.box(
                    (x, y * (edge - 0.012), middle), (0.018, 0.03, (self.belt - self.floor) * 0.66), BLACK
                )
            for x in doors[1:]:
                solids.box((x - 0.3, y * edge, self.belt - 0.16), (0.16, 0.03, 0.035), self.chrome)
            reach = self.axles[1] - self.axles[0] - 2.3 * self.wheel
            centre = (self.axles[0] + self.axles[1]) / 2
            if sill:
                solids.box((centre, y * (edge - 0.03), self.floor + 0.05), (reach, 0.09, 0.11), self.trim)
            if moulding:
                solids.box((centre, y * (edge - 0.005), middle), (reach, 0.035, 0.06), self.second)

    def extras(self) -> None:
        """What only some cars have: stripes, rails, a load, a sunroof, a sign, a spoiler, a spare wheel."""
        generator, solids = self.generator, self.solids
        closed = self.style_name != "convertible"
        x0, x1 = self.along(self.rear_roof), self.along(self.front_roof)
        middle, span, top = (x0 + x1) / 2, x1 - x0, self.height + 0.03
        if generator.uniform() < 0.16:
            stripe = paints.lacquer(generator)
            for y in (-0.16, 0.16) if generator.uniform() < 0.6 else (0.0,):
                start, stop = self.along(self.front_base + 0.02), self.along(0.95)
                xs = np.linspace(start, stop, 9)
                left = np.column_stack([xs, np.full(9, y - 0.09), [self.deck(x) + 0.004 for x in xs]])
                right = left + np.array([0, 0.18, 0])
                for i in range(8):
                    solids.panel(np.stack([left[i], left[i + 1], right[i + 1], right[i]]), stripe)
        if closed and generator.uniform() < 0.25:
            rail = self.chrome if generator.uniform() < 0.5 else BLACK
            for y in (-1, 1):
                solids.box((middle, y * self.width * 0.33, top + 0.02), (span * 0.85, 0.04, 0.05), rail)
            if generator.uniform() < 0.4:
                load = paints.lacquer(generator)
                solids.box((middle, 0, top + 0.16), (span * 0.6, self.width * 0.5, 0.26), load, bevel=0.1)
        elif closed and generator.uniform() < 0.2:
            solids.box((middle, 0, top), (span * 0.45, self.width * 0.5, 0.02), self.glass, bevel=0.03)
        elif closed and generator.uniform() < 0.12:
            sign = (1.0, 0.85, 0.15) if generator.uniform() < 0.5 else paints.lacquer(generator)
            solids.box((middle, 0, top + 0.08), (0.16, 0.5, 0.16), sign, bevel=0.04)
        if self.style_name in ("sports", "sedan", "hatchback") and generator.uniform() < 0.25:
            tail, wing = self.along(0.05), self.second
            lift = generator.uniform(0.06, 0.22)
            solids.box((tail, 0, self.deck(tail) + lift), (0.26, self.width * 0.86, 0.04), wing, bevel=0.02)
            for y in (-1, 1):
                solids.box(
                    (tail, y * self.width * 0.3, self.deck(tail) + lift / 2), (0.12, 0.04, lift + 0.05), wing
                )
        if self.style_name == "suv" and generator.uniform() < 0.3:
            place = (self.along(0.0) - 0.14, 0, self.belt * 0.85)
            cover = BLACK if generator.uniform() < 0.5 else self.second
            solids.lathe(
                [(0.1, 0), (self.wheel * 0.9, 0.02), (self.wheel * 0.95, 0.16), (0.1, 0.18)],
                cover,
                base=place,
                axis="x",
            )
