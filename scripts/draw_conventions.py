"""Draws docs/pictures/conventions.png: cameras, pixels, camera axes of other programs, and frames.

    python scripts/draw_conventions.py

Everything in the drawing is computed by the package's own functions: cameras by `look_at`, what appears where
by `project`, the frame that the network reads in by `RadianceModel.reading_rotation`. The same bytes come of
every run under one version of matplotlib.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console

from vnp_core.bench.figures import COLOURS, new_figure, write_figure
from vnp_core.errors import exit_on_error
from vnp_nerf.cameras import Cameras, look_at, opencv_from_opengl, orbit_cameras, pixel_rays, project
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.views import Views

RED, GREEN, BLUE, GREY = COLOURS[1], COLOURS[2], COLOURS[0], COLOURS[6]
AXES = (RED, GREEN, BLUE)
"""x, y, z."""


@dataclass
class DrawConventions:
    """Makes the drawing of the page on conventions."""

    output: Path = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "conventions.png"
    """The PNG to write."""


class Scene:
    """Lines, arrows and words in space, drawn on a matplotlib axis as a pinhole camera of ours sees them."""

    def __init__(self, axis: Any, eye: Sequence[float], target: Sequence[float], reach: float) -> None:
        self.axis, self.reach, self.pose = axis, reach, look_at(eye, target)
        self.lens = torch.tensor([1.0, 1.0, 0.0, 0.0])
        axis.set_aspect("equal")
        axis.set_axis_off()
        axis.set_xlim(-reach, reach)
        axis.set_ylim(reach, -reach)  # y of a pixel points down

    def flat(self, points: Any) -> torch.Tensor:
        """Where points of the world appear."""
        return project(torch.as_tensor(points, dtype=torch.float32), self.pose, self.lens)[0]

    def line(self, points: Any, **style: Any) -> None:
        """A path."""
        x, y = self.flat(points).unbind(-1)
        self.axis.plot(x.numpy(), y.numpy(), **{"color": "black", "linewidth": 1.0, **style})

    def arrow(self, start: Any, end: Any, colour: str, word: str = "", width: float = 1.6) -> None:
        """An arrow with a word at its tip."""
        tail, tip = self.flat(start).tolist(), self.flat(end).tolist()
        self.axis.annotate(
            "",
            tip,
            tail,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0},
        )
        away = torch.tensor(tip) - torch.tensor(tail)
        gap = (0.12 + 0.02 * len(word)) * self.reach
        place = torch.tensor(tip) + gap * away / away.norm().clamp_min(1e-6)
        self.axis.text(*place.tolist(), word, color=colour, ha="center", va="center", fontsize=9)

    def word(self, at: Any, word: str, colour: str = "black", **style: Any) -> None:
        """A word at a point."""
        self.axis.text(*self.flat(at).tolist(), word, color=colour, fontsize=9, **style)


def draw_world(axis: Any) -> None:
    """A camera and the object's ball in the world."""
    axis.set_title("A camera in the world (model frame)", fontsize=10)
    scene = Scene(axis, (8.0, 0.5, 3.2), (0.0, -0.95, 0.4), 0.25)
    circle = torch.linspace(0, 2 * math.pi, 121)
    zero = torch.zeros_like(circle)
    for ring in (
        (circle.cos(), circle.sin(), zero),
        (circle.cos(), zero, circle.sin()),
        (zero, circle.cos(), circle.sin()),
    ):
        scene.line(torch.stack(ring, dim=-1), color=GREY, linewidth=0.7)
    for number, (name, colour) in enumerate(zip("xyz", AXES, strict=True)):
        scene.arrow((0, 0, 0), torch.eye(3)[number] * 1.35, colour, name)
    scene.word((0.0, 0.0, -1.35), "the object's ball, radius 1", GREY, ha="center", va="center")

    cameras = orbit_cameras(24, 2.9, 20.0, 36.0, 3, 4)
    pose, lens = cameras.camera_to_world[19], cameras.intrinsics[19]
    place, (right, up, backward) = pose[:, 3], pose[:, :3].T
    corners = torch.tensor([[0.0, 0], [4, 0], [4, 3], [0, 3]])
    origins, directions = pixel_rays(pose, lens, corners)
    depth = (directions * -backward).sum(-1, keepdim=True)
    frame = origins + 1.25 * directions / depth
    scene.line(frame[[0, 1, 2, 3, 0]], linewidth=0.8)
    for corner in frame:
        scene.line(torch.stack([place, corner]), linewidth=0.6)
    scene.arrow(place, place + 0.6 * right, RED, "x: right")
    scene.arrow(place, place + 0.6 * up, GREEN, "y: up")
    scene.arrow(place, place + 0.6 * backward, BLUE, "z: backward")
    centre = torch.tensor([[1.5, 1.5]])
    _, ray = pixel_rays(pose, lens, centre)
    through = place + 1.25 * ray[0] / (ray[0] * -backward).sum()
    scene.line(torch.stack([place, place + 2.9 * ray[0]]), color=COLOURS[3], linewidth=1.2, linestyle="--")
    scene.word(through + 0.1 * up, "   ray of a pixel", COLOURS[3], va="bottom", ha="left")


def draw_pixels(axis: Any) -> None:
    """Where pixels lie in a picture."""
    axis.set_title("Pixels: a picture of height 3, width 4", fontsize=10)
    height, width = 3, 4
    for column in range(width + 1):
        axis.plot([column, column], [0, height], color="black", linewidth=0.8)
    for row in range(height + 1):
        axis.plot([0, width], [row, row], color="black", linewidth=0.8)
    for row in range(height):
        for column in range(width):
            axis.plot(column + 0.5, row + 0.5, ".", color=GREY, markersize=4)
    axis.plot(0.5, 0.5, "o", color=RED, markersize=5)
    axis.text(0.5, 0.3, "(0.5, 0.5)", color=RED, ha="center", va="center", fontsize=8)
    axis.plot(width / 2, height / 2, "x", color=BLUE, markersize=8, markeredgewidth=2)
    axis.text(width / 2 + 0.12, height / 2 - 0.2, "(cx, cy) = (2, 1.5)", color=BLUE, fontsize=8)
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.2}
    axis.annotate("", (width + 0.5, -0.25), (-0.05, -0.25), arrowprops=arrow)
    axis.annotate("", (-0.25, height + 0.5), (-0.25, -0.05), arrowprops=arrow)
    axis.text(width + 0.55, -0.25, "x", va="center", fontsize=9)
    axis.text(-0.25, height + 0.7, "y", ha="center", fontsize=9)
    axis.text(-0.12, -0.4, "(0, 0)", ha="right", fontsize=8)
    axis.text(width + 0.08, height + 0.2, "(4, 3)", ha="left", fontsize=8)
    axis.set_xlim(-0.9, width + 0.9)
    axis.set_ylim(height + 0.95, -0.75)
    axis.set_aspect("equal")
    axis.set_axis_off()


def draw_camera_axes(axis: Any) -> None:
    """The same camera in OpenGL's axes and in OpenCV's."""
    axis.set_title("The same camera, two conventions", fontsize=10)
    scene = Scene(axis, (3.2, 5.4, 2.6), (0.0, 0.0, -0.15), 0.3)
    opengl = look_at((0.0, 0.0, 0.0), (-1.0, 0.0, 0.0))
    right, up, backward = opengl[:, :3].T
    corners = ((-0.4, -0.3), (0.4, -0.3), (0.4, 0.3), (-0.4, 0.3))
    both = {"OpenGL, and ours": opengl, "OpenCV, COLMAP": opencv_from_opengl(opengl)}
    for (name, pose), shift in zip(both.items(), (-1.05, 1.05), strict=True):
        place = shift * scene.pose[:, 0]  # side by side, as seen
        frame = torch.stack([place + x * right + y * up - 0.9 * backward for x, y in corners])
        scene.line(frame[[0, 1, 2, 3, 0]], linewidth=0.8)
        for corner in frame:
            scene.line(torch.stack([place, corner]), linewidth=0.6)
        for column, (letter, colour) in enumerate(zip("xyz", AXES, strict=True)):
            scene.arrow(place, place + 0.75 * pose[:, column], colour, letter)
        scene.word(place - 1.3 * up, name, ha="center", va="top")


def draw_frames(axis: Any) -> None:
    """The frames of a scene, from above."""
    axis.set_title("Frames, from above: where the network reads", fontsize=10)
    cameras = orbit_cameras(9, 2.9, 0.0, 40.0, 64, 64)[[1, 4, 6]]
    blank = [torch.zeros(64, 64, 4, dtype=torch.uint8).numpy()] * len(cameras)
    views = Views.from_pictures(blank, cameras)
    turned = {
        "model frame;\nframe='canonical'": torch.eye(3),
        "frame='azimuth'": RadianceModel(RadianceConfig()).reading_rotation(views)[0],
    }
    circle = torch.linspace(0, 2 * math.pi, 121)
    for number, (name, rotation) in enumerate(turned.items()):
        middle = 8.4 * number
        axis.plot((circle.cos() + middle).numpy(), circle.sin().numpy(), color=GREY, linewidth=0.8)
        _draw_plan(axis, middle, rotation, cameras)
        axis.text(middle, -3.6, name, ha="center", va="top", fontsize=9)
    axis.annotate("", (4.7, 0), (3.3, 0), arrowprops={"arrowstyle": "->", "color": "black"})
    axis.set_xlim(-3.4, 12.6)
    axis.set_ylim(-5.0, 3.6)
    axis.set_aspect("equal")
    axis.set_axis_off()


def _draw_plan(axis: Any, middle: float, rotation: torch.Tensor, cameras: Cameras) -> None:
    arrow = {"arrowstyle": "-|>", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    for direction, word, colour in (((1.5, 0.0), "x", RED), ((0.0, 1.5), "y", GREEN)):
        axis.annotate(
            "", (middle + direction[0], direction[1]), (middle, 0), arrowprops={**arrow, "color": colour}
        )
        axis.text(
            middle + 1.15 * direction[0],
            1.15 * direction[1],
            word,
            color=colour,
            ha="center",
            va="center",
            fontsize=9,
        )
    nose = rotation @ torch.tensor([0.8, 0.0, 0.0])
    axis.plot(
        [middle, middle + nose[0].item()],
        [0, nose[1].item()],
        color="black",
        linewidth=3.5,
        solid_capstyle="round",
        zorder=0,
    )
    axis.text(
        middle + 1.3 * nose[0].item(), 1.3 * nose[1].item() - 0.3, "front", ha="center", va="top", fontsize=8
    )
    for number, place in enumerate(cameras.positions @ rotation.T):
        colour = BLUE if number == 0 else GREY
        inward = -place / place.norm()
        axis.plot(middle + place[0].item(), place[1].item(), "s", color=colour, markersize=6)
        end = place + 0.7 * inward
        axis.plot(
            [middle + place[0].item(), middle + end[0].item()],
            [place[1].item(), end[1].item()],
            color=colour,
            linewidth=1.2,
        )
        at = 1.22 * place
        axis.text(
            middle + at[0].item(),
            at[1].item(),
            "first" if number == 0 else "",
            color=colour,
            ha="center",
            va="center",
            fontsize=8,
        )


def main(options: DrawConventions) -> None:
    figure = new_figure(9.6, 6.6)
    world, pixels, conventions, frames = figure.subplots(2, 2).flatten()
    draw_world(world)
    draw_pixels(pixels)
    draw_camera_axes(conventions)
    draw_frames(frames)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_figure(figure, options.output)
    Console(highlight=False).print(options.output.name)


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(DrawConventions, description=__doc__))
