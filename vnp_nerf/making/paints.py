"""Colours for the procedural shapes, drawn at random from families that real things come in."""

import colorsys

import numpy as np

Colour = tuple[float, float, float]


def lacquer(generator: np.random.Generator) -> Colour:
    """A car's or a plastic's colour: any hue, or one of the greys from white to black."""
    if generator.uniform() < 0.3:
        return grey(generator, 0.06, 0.97)
    return _hsv(generator, (0.0, 1.0), (0.45, 0.97), (0.3, 0.98))


def wood(generator: np.random.Generator) -> Colour:
    """From pale birch over oak and cherry to dark walnut."""
    return _hsv(generator, (0.035, 0.115), (0.3, 0.75), (0.22, 0.85))


def metal(generator: np.random.Generator) -> Colour:
    """Chrome, steel, black iron, brass, copper."""
    pick = generator.uniform()
    if pick < 0.6:
        return grey(generator, 0.5, 0.85)
    if pick < 0.8:
        return grey(generator, 0.08, 0.25)
    return _hsv(generator, (0.05, 0.13), (0.4, 0.7), (0.6, 0.85))


def fabric(generator: np.random.Generator) -> Colour:
    """Cloth and leather: muted and strong hues."""
    if generator.uniform() < 0.2:
        return grey(generator, 0.1, 0.9)
    return _hsv(generator, (0.0, 1.0), (0.15, 0.85), (0.25, 0.92))


def paper(generator: np.random.Generator) -> Colour:
    """Lamp shades: warm whites, pastels, and now and then a strong colour."""
    if generator.uniform() < 0.45:
        return _hsv(generator, (0.08, 0.16), (0.03, 0.3), (0.85, 1.0))
    return _hsv(generator, (0.0, 1.0), (0.1, 0.9), (0.4, 1.0))


def grey(generator: np.random.Generator, darkest: float, brightest: float) -> Colour:
    """A grey with a trace of a hue."""
    value = generator.uniform(darkest, brightest)
    return _hsv(generator, (0.0, 1.0), (0.0, 0.06), (value, value))


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour, the rest of the first."""
    return tuple(float(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True))  # pyright: ignore


def _hsv(
    generator: np.random.Generator,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Colour:
    return colorsys.hsv_to_rgb(
        generator.uniform(*hue), generator.uniform(*saturation), generator.uniform(*value)
    )
