"""Body styles of the procedural cars: ranges that one car's measures are drawn from."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Ranges of one body style. Places along the car are shares of its length: 0 is the tail, 1 the nose.

    Attributes:
        length, width, height: overall, in metres.
        belt: height of the body's shoulder as a share of the overall height.
        rear_base, rear_roof, front_roof, front_base: where the windows' feet and the roof's ends are.
        bonnet, boot: height of the nose and of the tail as a share of the shoulder's.
        wheel: radius in metres.
        panes: windows on each side.
    """

    length: Range
    width: Range
    height: Range
    belt: Range
    rear_base: Range
    rear_roof: Range
    front_roof: Range
    front_base: Range
    bonnet: Range
    boot: Range
    wheel: Range
    panes: tuple[int, ...]


STYLES: dict[str, Style] = {
    "sedan": Style(
        (4.3, 5.1), (1.7, 1.95), (1.38, 1.52), (0.58, 0.66), (0.1, 0.2), (0.26, 0.34), (0.52, 0.6),
        (0.66, 0.74), (0.78, 0.95), (0.88, 1.0), (0.3, 0.36), (2, 3),
    ),
    "hatchback": Style(
        (3.5, 4.4), (1.6, 1.85), (1.42, 1.6), (0.57, 0.65), (0.01, 0.05), (0.06, 0.2), (0.52, 0.62),
        (0.7, 0.79), (0.78, 0.95), (0.9, 1.0), (0.28, 0.35), (1, 2, 3),
    ),
    "wagon": Style(
        (4.4, 5.0), (1.7, 1.9), (1.42, 1.56), (0.57, 0.64), (0.01, 0.04), (0.05, 0.12), (0.52, 0.6),
        (0.67, 0.75), (0.78, 0.95), (0.9, 1.0), (0.3, 0.36), (3,),
    ),
    "suv": Style(
        (4.1, 5.1), (1.75, 2.05), (1.65, 1.95), (0.58, 0.66), (0.01, 0.04), (0.04, 0.14), (0.5, 0.6),
        (0.64, 0.74), (0.85, 0.98), (0.92, 1.0), (0.36, 0.45), (2, 3),
    ),
    "van": Style(
        (4.2, 5.6), (1.75, 2.1), (1.9, 2.45), (0.46, 0.56), (0.005, 0.02), (0.01, 0.05), (0.7, 0.8),
        (0.84, 0.94), (0.7, 0.9), (0.95, 1.0), (0.3, 0.38), (1, 3, 4),
    ),
    "pickup": Style(
        (4.8, 5.8), (1.8, 2.1), (1.65, 1.95), (0.55, 0.62), (0.36, 0.44), (0.39, 0.47), (0.56, 0.62),
        (0.68, 0.74), (0.86, 0.98), (0.85, 1.0), (0.36, 0.46), (1, 2),
    ),
    "sports": Style(
        (4.0, 4.7), (1.78, 2.05), (1.1, 1.28), (0.62, 0.7), (0.06, 0.16), (0.28, 0.38), (0.48, 0.56),
        (0.66, 0.76), (0.62, 0.82), (0.9, 1.05), (0.31, 0.38), (1,),
    ),
    "convertible": Style(
        (3.8, 4.8), (1.68, 1.95), (1.25, 1.4), (0.64, 0.7), (0.2, 0.28), (0.24, 0.3), (0.54, 0.58),
        (0.64, 0.7), (0.72, 0.95), (0.88, 1.0), (0.29, 0.36), (1,),
    ),
}  # fmt: skip
