"""The drawing of a capture: words, the scene from above and from the side, context views, epipolar lines."""

import math
import textwrap
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vnp_core.errors import CameraError, ViewCountError
from vnp_nerf.cameras import Cameras, pixel_rays, project
from vnp_nerf.checking.capture import Capture
from vnp_nerf.checking.diagnoses import Diagnosis
from vnp_nerf.checking.silhouettes import Pair, baseline_axes, compare
from vnp_nerf.frames import axes_centre
from vnp_nerf.outlines import object_points

WIDTH = 1080
_GAP, _TEXT = 12, 14
_LINE = _TEXT + 6
_MAP = (WIDTH - 3 * _GAP) // 2
_PICTURE = 250
_INK, _PAPER, _GREY, _BOX = (40, 40, 40), (255, 255, 255), (170, 170, 170), (215, 60, 50)
_CONTEXT, _OTHER, _OBJECT, _DEPTHS = (30, 90, 200), (150, 160, 175), (235, 190, 120), (40, 150, 90)
_PLANES = ((215, 60, 50), (40, 150, 90), (30, 90, 200), (160, 70, 170), (215, 60, 50))
_SPAN = 1.12
"""Half the width of a map, in distances of the farthest camera."""

Point = tuple[float, float]


def draw_capture(capture: Capture, diagnoses: Sequence[Diagnosis]) -> UInt8[np.ndarray, "H W 3"]:
    """The whole drawing, `WIDTH` pixels wide."""
    count = f"{len(capture.scene)} views, {len(capture.context)} of them are the context"
    lines = [(f"{capture.scene.name}: {count}", _INK)]
    for diagnosis in diagnoses:
        colour = _BOX if diagnosis.state == "wrong" else _INK
        lines += [(line, colour) for line in textwrap.wrap(diagnosis.line(), 140)]
    if not diagnoses:
        lines.append(("Nothing looks wrong.", _INK))
    shown = capture.context[: WIDTH // (_PICTURE + _GAP)]
    top = _GAP + _LINE * len(lines) + _GAP
    below_maps = top + _LINE + _MAP + _GAP
    below_views = below_maps + _LINE + _PICTURE + _GAP
    sheet = Image.new("RGB", (WIDTH, below_views + _LINE + _MAP + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT)
    for number, (line, colour) in enumerate(lines):
        pen.text((_GAP, _GAP + number * _LINE), line, fill=colour, font=font)
    for place, (title, axes) in enumerate(
        (("from above (x right, y up)", (0, 1)), ("from -y (x right, z up)", (0, 2)))
    ):
        left = _GAP + place * (_MAP + _GAP)
        pen.text((left, top), f"model frame, {title}", fill=_INK, font=font)
        sheet.paste(_map(capture, axes), (left, top + _LINE))
    for place, view in enumerate(shown):
        left = _GAP + place * (_PICTURE + _GAP)
        pen.text((left, below_maps), f"context: view {view}, the box and its ball", fill=_INK, font=font)
        sheet.paste(_boxed(capture, view), (left, below_maps + _LINE))
    caption, is_drawn = _epipolar(capture, sheet, below_views + _LINE)
    pen.text((_GAP, below_views), caption, fill=_INK, font=font)
    return np.array(sheet if is_drawn else sheet.crop((0, 0, WIDTH, below_views + _LINE + _GAP)))


def _map(capture: Capture, axes: tuple[int, int]) -> Image.Image:
    """Cameras, box, depths and the object, in the model frame, flattened along an axis."""
    panel = Image.new("RGB", (_MAP, _MAP), _PAPER)
    pen = ImageDraw.Draw(panel)
    scene = capture.scene
    cameras = scene.model_cameras()
    span = _SPAN * max(1.0, float(cameras.positions.abs().max()))

    def place(point: Float[Tensor, "3"]) -> Point:
        x, y = (float(point[axis]) for axis in axes)
        return (0.5 + 0.5 * x / span) * _MAP, (0.5 - 0.5 * y / span) * _MAP

    try:
        points = scene.frame.apply(object_points(capture.cameras, capture.masks)) if capture.is_masked else []
    except (CameraError, ViewCountError):
        points = []
    for point in points:
        x, y = place(point)
        pen.rectangle((x - 1, y - 1, x + 1, y + 1), fill=_OBJECT)
    for start, end in _box_edges():
        pen.line((*place(start), *place(end)), fill=_BOX, width=2)
    (left, top), (right, bottom) = place(-torch.ones(3)), place(torch.ones(3))
    pen.ellipse((left, bottom, right, top), outline=_BOX)
    for view in range(len(cameras)):
        is_context = view in capture.context
        colour = _CONTEXT if is_context else _OTHER
        corners = _frustum(cameras[view], span / 9)
        for number, corner in enumerate(corners):
            pen.line((*place(cameras.positions[view]), *place(corner)), fill=colour, width=1 + is_context)
            pen.line((*place(corner), *place(corners[number - 1])), fill=colour, width=1 + is_context)
        if is_context:
            near, far = (
                cameras.positions[view] + length * scene.frame.scale * cameras.forwards[view]
                for length in (scene.near, scene.far)
            )
            pen.line((*place(near), *place(far)), fill=_DEPTHS, width=2)
            x, y = place(cameras.positions[view])
            pen.text((x + 4, y + 4), str(view), fill=_CONTEXT, font=ImageFont.load_default(_TEXT))
    pen.rectangle((0, 0, _MAP - 1, _MAP - 1), outline=_GREY)
    legend = (
        ("box", _BOX),
        ("object by its masks", _OBJECT),
        ("context", _CONTEXT),
        ("near to far", _DEPTHS),
    )
    for number, (word, colour) in enumerate(legend):
        pen.text((8, 6 + number * (_LINE - 2)), word, fill=colour, font=ImageFont.load_default(_TEXT))
    return panel


def _box_edges() -> list[tuple[Float[Tensor, "3"], Float[Tensor, "3"]]]:
    """The twelve edges of the cube about the model's unit ball."""
    corners = [torch.tensor(corner) for corner in product((-1.0, 1.0), repeat=3)]
    return [(a, b) for a in corners for b in corners if int((a < b).sum()) == 1 and int((a == b).sum()) == 2]


def _frustum(camera: Cameras, length: float) -> list[Float[Tensor, "3"]]:
    """Where the rays through a picture's corners are after `length` units of the camera's frame."""
    height, width = camera.sizes[0].tolist()
    pixels = torch.tensor([[0.0, 0], [width, 0], [width, height], [0, height]])
    origins, directions = pixel_rays(camera.camera_to_world, camera.intrinsics, pixels)
    return list(origins + length * directions)


def _shown(capture: Capture, view: int, side: int) -> tuple[Image.Image, float]:
    """A view over white, its longer side `side` pixels, and by how much it was enlarged."""
    picture = Image.fromarray(capture.pictures[capture.views.index(view)])
    ratio = side / max(picture.size)
    picture = picture.resize((round(picture.width * ratio), round(picture.height * ratio)))
    flat = Image.new("RGBA", picture.size, _PAPER)
    flat.alpha_composite(picture)
    return flat.convert("RGB"), ratio


def _boxed(capture: Capture, view: int) -> Image.Image:
    """A context view with the box and the outline of the ball drawn into it."""
    picture, ratio = _shown(capture, view, _PICTURE)
    pen = ImageDraw.Draw(picture)
    camera = capture.scene.model_cameras()[view]

    def line(points: Float[Tensor, "N 3"], colour: tuple[int, int, int], width: int) -> None:
        pixels, depth = project(points, camera.camera_to_world[0], camera.intrinsics[0])
        for number in range(1, len(pixels)):
            if depth[number - 1] > 0 and depth[number] > 0:
                start, end = pixels[number - 1], pixels[number]
                pen.line((*(start * ratio).tolist(), *(end * ratio).tolist()), fill=colour, width=width)

    for start, end in _box_edges():
        steps = torch.linspace(0, 1, 9)[:, None]
        line(start + steps * (end - start), _BOX, 1)
    turn = torch.linspace(0, 2 * math.pi, 61)[:, None]
    right, up = camera.camera_to_world[0, :, 0], camera.ups[0]
    line(turn.cos() * right + turn.sin() * up, _DEPTHS, 1)
    pen.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=_GREY)
    return picture


def _epipolar(capture: Capture, sheet: Image.Image, top: int) -> tuple[str, bool]:
    """Draws two views with the planes about their baseline that touch the object, where two will do; returns
    the caption, and whether they did.
    """
    pair, centre = _pair(capture)
    if pair is None or centre is None:
        return "No two views show a whole outline where the cameras look: no epipolar check.", False
    cameras = capture.cameras
    axes = baseline_axes(cameras, pair.first, pair.second, centre)
    middle = [(one.low + one.high) / 2 for one in pair.ranges]
    for number, place in enumerate((pair.first, pair.second)):
        picture, ratio = _shown(capture, capture.views[place], _MAP)
        pen = ImageDraw.Draw(picture)
        own = pair.ranges[0]
        angles = (own.low, (own.low + middle[0]) / 2, middle[0], (own.high + middle[0]) / 2, own.high)
        for angle, colour in zip(angles, _PLANES, strict=True):
            ends = plane_trace(cameras[place], axes, angle)
            if ends is not None:
                pen.line([(float(x) * ratio, float(y) * ratio) for x, y in ends], fill=colour, width=2)
        pen.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=_GREY)
        sheet.paste(picture, (_GAP + number * (_MAP + _GAP), top))
    first, second = (capture.views[place] for place in (pair.first, pair.second))
    caption = (
        f"epipolar check of views {first} and {second}: planes that touch the object in the left picture "
        f"(red) touch it in the right one to {pair.error:.1%} of its width"
    )
    return caption, True


def _pair(capture: Capture) -> tuple[Pair | None, Float[Tensor, "3"] | None]:
    """Of the context's pairs the one that fits worst; of all views', where the context has none."""
    cameras = capture.cameras
    try:
        centre = axes_centre(cameras)
    except (CameraError, ViewCountError):
        centre = capture.scene.frame.inverse().apply(torch.zeros(3, dtype=torch.float64))
    pairs = compare(cameras, capture.masks, centre)
    context = [
        pair
        for pair in pairs
        if {capture.views[pair.first], capture.views[pair.second]} <= {*capture.context}
    ]
    return max(context or pairs, key=lambda pair: pair.error, default=None), centre


def plane_trace(camera: Cameras, axes: Float[Tensor, "3 3"], angle: float) -> list[Float[Tensor, "2"]] | None:
    """Where a plane about a baseline (see `baseline_axes`) meets a picture: the ends of its line, pixels; or
    None where it does not.
    """
    normal = math.cos(angle) * axes[2] - math.sin(angle) * axes[1]
    pose = camera.camera_to_world[0].double()
    fx, fy, cx, cy = camera.intrinsics[0].tolist()
    across, down, back = (float(normal @ pose[:, axis]) for axis in range(3))
    # A pixel (x, y) lies in the plane where across (x - cx) / fx - down (y - cy) / fy - back = 0.
    height, width = camera.sizes[0].tolist()
    ends = []
    for x in (0.0, float(width)):
        if abs(down) > 1e-9:
            ends.append((x, cy + fy * (across * (x - cx) / fx - back) / down))
    for y in (0.0, float(height)):
        if abs(across) > 1e-9:
            ends.append((cx + fx * (back + down * (y - cy) / fy) / across, y))
    slack = 1e-6
    inside = [(x, y) for x, y in ends if -slack <= x <= width + slack and -slack <= y <= height + slack]
    if len(inside) < 2:
        return None
    apart = max(((a, b) for a in inside for b in inside), key=lambda two: math.dist(*two))
    return [torch.tensor(end) for end in apart]
