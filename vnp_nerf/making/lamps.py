"""Procedural lamps: on a table, on the floor, with a jointed arm, or hanging; z up, lengths in metres."""

import numpy as np
from jaxtyping import Float

from vnp_nerf.making import paints
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.solids import Solids, at_height, rounded_rectangle, turned

# Bands lie this far outside the surface that they run around, as (radius, height).
GAP = np.array([0.003, 0.0])
BASES = ("disc", "vase", "block", "tripod", "dome", "gourd", "stacked")
SHADES = ("cone", "drum", "dome", "globe", "bell", "square", "tulip", "pleated")


def build_lamp(generator: np.random.Generator) -> Mesh:
    """A lamp whose kind, parts, proportions and colours are drawn from the generator."""
    lamp = _Lamp(generator)
    kind = str(
        generator.choice(["table", "floor", "arm", "pendant", "chandelier"], p=[0.36, 0.24, 0.18, 0.14, 0.08])
    )
    getattr(lamp, kind)()
    return lamp.solids.mesh()


class _Lamp:
    """The colours of one lamp, and its parts."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator, self.solids = generator, Solids()
        families = (paints.metal, paints.wood, paints.lacquer)
        self.base_colour = families[int(generator.choice(3, p=[0.4, 0.25, 0.35]))](generator)
        self.stem_colour = self.base_colour if generator.uniform() < 0.5 else paints.metal(generator)
        self.shade_colour, self.bulb = paints.paper(generator), (1.0, 0.96, 0.8)
        self.band = paints.lacquer(generator) if generator.uniform() < 0.3 else None

    def table(self) -> None:
        draw = self.generator.uniform
        height = draw(0.12, 0.45)
        top = self.base(draw(0.07, 0.15), height)
        neck = draw(0.02, 0.12)
        self.solids.cylinder((0, 0, top - 0.005), draw(0.006, 0.014), neck + 0.06, self.stem_colour)
        self.shade(np.array([0, 0, top + neck]), draw(0.1, 0.22), draw(0.12, 0.3))

    def floor(self) -> None:
        draw = self.generator.uniform
        top = self.base(draw(0.12, 0.2), draw(0.03, 0.12))
        height, rod = draw(1.1, 1.6), draw(0.008, 0.022)
        if draw() < 0.35:
            # An arc: the shade hangs from the end of a long bow.
            reach, angle = draw(0.4, 0.8), np.linspace(0, np.pi * draw(0.6, 0.85), 18)
            bow = np.column_stack(
                [
                    reach * (1 - np.cos(angle)) / 2 * 1.5,
                    np.zeros(18),
                    top + height * np.sin(angle / angle[-1] * 2.0) / np.sin(1.57),
                ]
            )
            self.solids.tube(bow, rod, self.stem_colour)
            size, tall = draw(0.14, 0.24), draw(0.12, 0.25)
            self.shade(bow[-1] - np.array([0, 0, tall]), size, tall)
            return
        self.solids.cylinder((0, 0, top - 0.01), rod, height, self.stem_colour)
        for ring in range(int(self.generator.integers(0, 3))):
            self.solids.ellipsoid(
                (0, 0, top + height * (0.3 + 0.3 * ring)), (rod * 2.2, rod * 2.2, rod * 2), self.base_colour
            )
        self.shade(np.array([0, 0, top + height - draw(0.02, 0.1)]), draw(0.15, 0.28), draw(0.15, 0.36))

    def arm(self) -> None:
        draw = self.generator.uniform
        joint = np.array([0, 0, self.base(draw(0.08, 0.13), draw(0.02, 0.05))])
        rod, pitch = draw(0.006, 0.013), draw(0.9, 2.0)
        for _ in range(int(self.generator.integers(1, 4))):
            end = joint + draw(0.18, 0.34) * np.array([np.cos(pitch), 0, max(np.sin(pitch), 0.1)])
            self.solids.tube(np.linspace(joint, end, 3), rod, self.stem_colour)
            self.solids.ellipsoid(end, (rod * 2, rod * 2, rod * 2), self.base_colour)
            joint, pitch = end, pitch - draw(0.7, 1.5)
        size, tall = draw(0.06, 0.11), draw(0.08, 0.16)
        slant = turned(draw(-60, 20), "y")
        profile = [
            (size, -tall),
            (size * draw(0.7, 0.95), -tall * 0.5),
            (size * 0.35, -0.01),
            (size * 0.25, 0.02),
        ]
        head = Solids()
        head.lathe(profile, self.shade_colour, capped=False)
        head.ellipsoid((0, 0, -tall * 0.5), (size * 0.4,) * 3, self.bulb)
        self.place(head, slant, joint)

    def place(
        self, part: Solids, rotation: Float[np.ndarray, "3 3"], offset: Float[np.ndarray, " 3"]
    ) -> None:
        """Adds another kit's solids, turned and moved."""
        mesh = part.mesh()
        for index, material in enumerate(mesh.palette):
            corners = mesh.corners[mesh.materials == index].reshape(-1, 3) @ rotation.T + offset
            self.solids.faces(corners, np.arange(len(corners)).reshape(-1, 3), material.colour)

    def pendant(self) -> None:
        draw = self.generator.uniform
        size, tall, cord = draw(0.12, 0.3), draw(0.1, 0.35), draw(0.2, 0.7)
        self.shade(np.zeros(3), size, tall)
        self.solids.cylinder((0, 0, tall * 0.9), draw(0.004, 0.01), cord, self.stem_colour)
        rose = draw(0.03, 0.07)
        self.solids.lathe(
            [(rose, 0), (rose * 0.9, 0.015), (rose * 0.3, 0.05)],
            self.base_colour,
            base=(0, 0, tall * 0.9 + cord - 0.03),
        )

    def chandelier(self) -> None:
        draw, count = self.generator.uniform, int(self.generator.integers(3, 9))
        reach, drop, cup, tall = draw(0.2, 0.36), draw(0.03, 0.16), draw(0.035, 0.08), draw(0.05, 0.11)
        self.solids.cylinder((0, 0, -0.04), 0.012, draw(0.3, 0.6), self.stem_colour)
        self.solids.ellipsoid((0, 0, 0), (0.045, 0.045, draw(0.04, 0.09)), self.base_colour)
        upward = draw() < 0.6
        for arm in range(count):
            angle = 2 * np.pi * arm / count
            out = np.array([np.cos(angle), np.sin(angle), 0])
            path = [
                out * reach * s + np.array([0, 0, -drop * np.sin(s * np.pi) + 0.05 * s])
                for s in np.linspace(0.05, 1, 9)
            ]
            self.solids.tube(path, 0.008, self.stem_colour, segments=6)
            profile = (
                [(cup * 0.4, 0), (cup * 0.8, tall * 0.5), (cup, tall)]
                if upward
                else [(cup, -tall), (cup * 0.7, -tall * 0.4), (cup * 0.3, 0)]
            )
            self.solids.lathe(profile, self.shade_colour, base=path[-1], capped=False, segments=14)
            self.solids.ellipsoid(
                path[-1] + [0, 0, (0.5 if upward else -0.5) * tall], (cup * 0.4,) * 3, self.bulb
            )

    def base(self, radius: float, height: float) -> float:
        """A foot on the floor; returns the height of its top."""
        draw, solids, colour = self.generator.uniform, self.solids, self.base_colour
        kind = str(self.generator.choice(BASES))
        if kind == "tripod":
            height = max(height, 0.2) * 1.4
            for leg in range(3):
                angle = 2 * np.pi * leg / 3
                foot = np.array([np.cos(angle) * radius * 1.5, np.sin(angle) * radius * 1.5, 0])
                solids.tube(np.linspace([0, 0, height], foot, 3), draw(0.009, 0.013), colour)
        elif kind == "block":
            solids.box((0, 0, height / 2), (radius * 1.4, radius * 1.4, height), colour, bevel=draw(0, 0.03))
        elif kind == "disc":
            thin = min(height, 0.03)
            solids.lathe([(radius, 0), (radius, thin * 0.6), (radius * 0.9, thin)], colour)
            solids.cylinder((0, 0, 0), draw(0.008, 0.02), height, self.stem_colour)
        elif kind == "dome":
            solids.lathe([(radius * np.cos(a), height * np.sin(a)) for a in np.linspace(0, 1.45, 8)], colour)
        elif kind == "stacked":
            z = 0.0
            for _ in range(int(self.generator.integers(2, 5))):
                r, h = radius * draw(0.4, 0.85), height * draw(0.2, 0.4)
                tone = colour if draw() < 0.6 else paints.lacquer(self.generator)
                solids.ellipsoid((0, 0, z + h / 2), (r, r, h / 2 * 1.1), tone)
                z += h
            height = z
        else:
            heights = np.linspace(0, 1, 14)
            phase, waves = draw(0, 6.28), draw(0.4, 1.3) if kind == "vase" else draw(1.2, 2.2)
            outline = 0.62 + 0.36 * np.sin(heights * 2 * np.pi * waves + phase)
            profile = np.column_stack([outline * radius * 0.9, heights * height])
            profile[-1, 0] = profile[-1, 0] * 0.5
            solids.lathe(profile, colour)
            if self.band is not None:
                ring = int(self.generator.integers(4, 9))
                solids.lathe(profile[ring : ring + 3] + GAP, self.band, capped=False)
        return height

    def shade(self, foot: Float[np.ndarray, " 3"], radius: float, height: float) -> None:
        """A shade whose lower rim is at `foot`, with its bulb."""
        draw, kind = self.generator.uniform, str(self.generator.choice(SHADES))
        if kind == "globe":
            self.solids.ellipsoid(
                foot + np.array([0, 0, radius * 0.8]),
                (radius * 0.8, radius * 0.8, radius * draw(0.6, 0.9)),
                self.shade_colour,
            )
            return
        self.solids.ellipsoid(
            foot + np.array([0, 0, height * 0.45]), (radius * 0.28, radius * 0.28, radius * 0.36), self.bulb
        )
        top = radius * {"cone": draw(0.25, 0.65), "drum": draw(0.85, 1.0), "tulip": draw(1.1, 1.4)}.get(
            kind, draw(0.3, 0.7)
        )
        share = np.linspace(0, 1, 9)
        if kind == "square":
            rings = np.stack(
                [
                    at_height(rounded_rectangle(2 * r, 2 * r, 0.02), z)
                    for r, z in ((radius * 0.85, 0.0), (top * 0.85, height))
                ]
            )
            self.solids.loft(rings + foot, self.shade_colour, capped=False)
            return
        profile = radius + (top - radius) * share
        if kind == "dome":
            profile = radius * np.sqrt(np.maximum(1 - share**2, 0.004))
        elif kind in ("bell", "tulip"):
            profile = profile - (radius * draw(0.1, 0.3)) * np.sin(share * np.pi)
        points = np.column_stack([profile, share * height])
        if kind == "pleated":
            angle = np.arange(72) * (2 * np.pi / 72)
            pleat = 1 + 0.03 * np.where(np.arange(72) % 2, 1, -1)
            circle = np.column_stack([np.cos(angle), np.sin(angle)]) * pleat[:, None]
            self.solids.loft(
                np.stack([at_height(circle * r, z) for r, z in points[[0, -1]]]) + foot,
                self.shade_colour,
                capped=False,
            )
        else:
            self.solids.lathe(points, self.shade_colour, base=foot, capped=False)
        if self.band is not None:
            for ring in (points[:2], points[-2:]):
                self.solids.lathe(ring + GAP, self.band, base=foot, capped=False)
