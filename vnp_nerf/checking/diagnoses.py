"""What looks wrong about a capture, in words, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from vnp_core.errors import CameraError, PictureError, SceneError, ViewCountError
from vnp_nerf.cameras import Cameras, opengl_from_opencv
from vnp_nerf.checking.capture import Capture
from vnp_nerf.checking.silhouettes import compare, disagreement
from vnp_nerf.frames import axes_centre
from vnp_nerf.outlines import is_whole, object_points, outline_ball, outline_reach

_AGREES = 0.03
"""Outlines of right poses differ by less than this share of their width: two pixels or so."""
_BETTER = 1 / 3
"""Another convention is meant where it leaves no more than this share of the disagreement."""
_FEWEST = 3
"""Views from which the shipped weights give a picture worth looking at."""
_BOX = 1.15
"""An object reaches no further than this, in radii of its box's ball; outlines are seen to a pixel or so."""
_SMALL = 0.3
"""An object that reaches no further than this has a box that is too large for it."""
_REACH = 0.98
"""Share of the object's points that must lie in the box."""

Subject = Literal["views", "masks", "convention", "poses", "scale", "box", "depths", "up"]


@dataclass(frozen=True)
class Diagnosis:
    """state: 'note' for what may be meant so, 'wrong' for what spoils a field.

    exit_code: that of the error which a program would raise for it; 0 for a note.
    """

    subject: Subject
    state: Literal["note", "wrong"]
    finding: str
    advice: str
    exit_code: int = 0

    def line(self) -> str:
        """For a terminal."""
        return f"{self.state}: {self.subject}: {self.finding}. {self.advice}."


def diagnose(capture: Capture) -> list[Diagnosis]:
    """All that looks wrong; nothing for a capture that looks right."""
    found = [*_views(capture), *_masks(capture)]
    poses = list(_poses(capture))
    found += poses
    if not any(diagnosis.state == "wrong" for diagnosis in poses):
        # Where cameras stand wrongly, what they say about the object means nothing.
        found += [*_box(capture), *_up(capture)]
    return found


def exit_code(diagnoses: list[Diagnosis]) -> int:
    """That of the first thing that is wrong; 0 if nothing is."""
    return next((diagnosis.exit_code for diagnosis in diagnoses if diagnosis.exit_code), 0)


def other_conventions(cameras: Cameras) -> dict[str, Cameras]:
    """What the same numbers would mean to other programs, by the advice that mends them."""
    poses = cameras.camera_to_world
    rotation = poses[:, :, :3].transpose(-1, -2)
    inverse = torch.cat([rotation, -(rotation @ poses[:, :, 3:])], dim=-1)
    turned = poses * poses.new_tensor([-1.0, -1, 1, 1])
    meant = {
        "OpenCV's camera axes (x right, y down, looking along +z): negate the second and the third column of "
        "each transform_matrix": opengl_from_opencv(poses),
        "matrices from world to camera: invert each transform_matrix": inverse,
        "matrices from world to camera with OpenCV's axes: invert each transform_matrix, then negate its "
        "second and third column": opengl_from_opencv(inverse),
        "pictures turned upside down: turn them by 180 degrees, or negate the first and the second column of "
        "each transform_matrix": turned,
    }
    return {words: replace(cameras, camera_to_world=other) for words, other in meant.items()}


def _views(capture: Capture) -> Iterator[Diagnosis]:
    count = len(capture.scene)
    if count < _FEWEST:
        yield Diagnosis(
            "views",
            "wrong",
            f"there {'is one view' if count == 1 else f'are {count} views'} only: what none shows is a guess",
            f"Give {_FEWEST} or more, from all around the object",
            ViewCountError.exit_code,
        )


def _masks(capture: Capture) -> Iterator[Diagnosis]:
    masks = list(zip(capture.views, capture.masks, strict=True))
    solid = [view for view, mask in masks if bool(mask.all())]
    empty = [view for view, mask in masks if not bool(mask.any())]
    code = PictureError.exit_code
    if solid:
        how_many = (
            "no picture has" if len(solid) == len(masks) else f"{len(solid)} of {len(masks)} pictures lack"
        )
        yield Diagnosis(
            "masks",
            "wrong",
            f"{how_many} a transparent background or a mask, such as {capture.name_of(solid[0])}",
            "Cut the object out: RGBA, masks/NAME.png beside transforms.json for each picture's name, or a "
            "mask_path there; where the background is white, read with --read.white-is-empty",
            code,
        )
    if empty:
        yield Diagnosis(
            "masks",
            "wrong",
            f"{len(empty)} of {len(masks)} pictures show no object, such as {capture.name_of(empty[0])}",
            "Correct their masks, or leave those views out",
            code,
        )
    cut = [view for view, mask in masks if bool(mask.any()) and not bool(mask.all()) and not is_whole(mask)]
    if cut:
        yield Diagnosis(
            "masks",
            "note",
            f"{len(cut)} of {len(masks)} pictures' borders cut the object, such as {capture.name_of(cut[0])}",
            "See that the masks are not inverted: 1 or 255 is the object",
        )


def _poses(capture: Capture) -> Iterator[Diagnosis]:
    cameras = capture.cameras
    if len(cameras) < 2:
        return
    masks = capture.masks if capture.is_masked else None
    error = disagreement(cameras, masks)
    if error <= _AGREES:
        yield from _single_poses(capture)
        return
    if error == float("inf"):
        finding = (
            "the cameras look at no common point" if capture.complaint is None else str(capture.complaint)
        )
    else:
        finding = f"outlines of the object differ by {error:.0%} of their width along epipolar lines"
    for advice, others in other_conventions(cameras).items():
        if disagreement(others, masks) <= min(_AGREES, _BETTER * error):
            yield Diagnosis(
                "convention",
                "wrong",
                f"{finding.rstrip('.')}; they do fit together as another convention",
                f"These look like {advice}",
                CameraError.exit_code,
            )
            return
    yield Diagnosis(
        "poses",
        "wrong",
        finding.rstrip("."),
        "The poses are wrong, or do not belong to these pictures: see the drawing's frusta and epipolar "
        "lines",
        CameraError.exit_code,
    )


def _single_poses(capture: Capture) -> Iterator[Diagnosis]:
    """Single views that agree with none of the others, where most agree."""
    if not capture.is_masked:
        return
    pairs = compare(capture.cameras, capture.masks, axes_centre(capture.cameras))
    usual = float(torch.tensor([pair.error for pair in pairs]).median()) if pairs else 0.0
    for place, view in enumerate(capture.views):
        errors = [pair.error for pair in pairs if place in (pair.first, pair.second)]
        if len(errors) >= 2 and (middle := float(torch.tensor(errors).median())) > max(
            _AGREES, usual / _BETTER
        ):
            yield Diagnosis(
                "poses",
                "wrong",
                f"the outline in {capture.name_of(view)} (view {view}) differs by {middle:.0%} of its width "
                f"from the other views along epipolar lines",
                "Correct the pose or the mask of that view, or leave it out",
                CameraError.exit_code,
            )


def _box(capture: Capture) -> Iterator[Diagnosis]:
    """Where the object is by its masks, against where the scene says it is."""
    if len(capture.views) < _FEWEST or not capture.is_masked:
        return
    points = object_points(capture.cameras, capture.masks)
    if len(points) == 0:
        return
    scene, world = capture.scene, points.double()
    reaches = scene.frame.apply(world).norm(dim=-1)
    reach = float(reaches.quantile(_REACH))
    if reach > _BOX >= outline_reach(scene.frame.apply_cameras(capture.cameras), capture.masks):
        # Seen from one side, the masks leave room in front of the object and behind it: that is no finding.
        yield from _depths(capture, world[reaches <= _BOX])
        return
    ball = outline_ball(capture.cameras, capture.masks)
    if ball is None:  # masks that fit together by their specks alone
        return
    middle, radius = ball
    off = float(scene.frame.apply(middle[None]).norm())
    known = f"bounding_centre {[round(x, 3) for x in middle.tolist()]} and bounding_radius {radius:.3g}"
    advice = f"State in transforms.json, in the units of its poses: {known}"
    code = SceneError.exit_code
    if reach > _BOX and off > 0.5 * radius * scene.frame.scale:
        yield Diagnosis(
            "box",
            "wrong",
            f"the object is outside of its box: its middle is {off:.2g} radii of the box's ball away from "
            f"the box's middle, and it reaches {reach:.2g} radii",
            f"{advice}, or read with --read.frame capture, which finds it from the cameras",
            code,
        )
    elif reach > _BOX or reach < _SMALL:
        size = "small" if reach > _BOX else "large"
        yield Diagnosis(
            "scale",
            "wrong",
            f"the box is too {size}: the object reaches {reach:.2g} radii of its ball, not about 1",
            advice,
            code,
        )
    else:
        yield from _depths(capture, world)


def _depths(capture: Capture, world: torch.Tensor) -> Iterator[Diagnosis]:
    """Whether near and far leave room for points of the object, in the world of the file."""
    scene = capture.scene
    distances = (world[:, None] - capture.cameras.positions.double()).norm(dim=-1)
    nearest, farthest = float(distances.quantile(1 - _REACH)), float(distances.quantile(_REACH))
    if nearest < scene.near or farthest > scene.far:
        yield Diagnosis(
            "depths",
            "wrong",
            f"near {scene.near:.3g} and far {scene.far:.3g} cut the object, which is {nearest:.3g} to "
            f"{farthest:.3g} away from the cameras",
            "Correct near and far in transforms.json, or leave them away",
            SceneError.exit_code,
        )


def _up(capture: Capture) -> Iterator[Diagnosis]:
    up = capture.scene.model_cameras().ups.double().mean(dim=0)
    strongest = int(up.abs().argmax())
    if up.norm() > 0.5 and float(up[2]) < 0.3 * float(up.norm()):
        axis = f"{'+' if up[strongest] > 0 else '-'}{'xyz'[strongest]}"
        yield Diagnosis(
            "up",
            "wrong",
            f"up in the pictures is about {axis} of the scene, and the model expects +z up",
            "Turn the poses, or read with --read.frame capture, which turns them upright",
            CameraError.exit_code,
        )
