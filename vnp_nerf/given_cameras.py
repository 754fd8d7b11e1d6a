"""Cameras as a notebook holds them (camera-to-world matrices and a lens), and the frame that they give."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import CameraError, ConfigError, SceneError, ViewCountError
from vnp_nerf.cameras import Cameras
from vnp_nerf.frames import Similarity, axes_centre, ball_frame, inscribed_radius, upright_rotation
from vnp_nerf.outlines import Mask, outline_ball

GivenNumbers = np.ndarray | Tensor | Sequence[Any] | float
"""Numbers in an array, a tensor, nested lists, or a single one."""


def pinhole_cameras(
    camera_to_world: GivenNumbers,
    size: tuple[int, int] | Sequence[tuple[int, int]],
    *,
    focal: float | Sequence[float] | None = None,
    field_of_view: float | None = None,
    intrinsics: GivenNumbers | None = None,
) -> Cameras:
    """V cameras from their poses and exactly one way to say their lens.

    camera_to_world: [V, 4, 4] or [V, 3, 4], or one matrix without V; OpenGL's convention: the camera looks
    along -z of its own, y is up in the picture. size: (height, width), pixels, of all pictures or of each.
    focal: focal length, pixels, or (fx, fy); the optical axis goes through the picture's middle.
    field_of_view: of a picture's width, degrees, between 0 and 180. intrinsics: (fx, fy, cx, cy) in pixels,
    or the matrix [3, 3]; of all cameras or of each. The centre of the upper left pixel is (0.5, 0.5).

    Raises `CameraError` for what is no pinhole camera, and `ConfigError` for no lens or two.
    """
    poses = camera_poses(camera_to_world)
    sizes = torch.as_tensor(size, dtype=torch.int64)
    if sizes.shape not in ((2,), (len(poses), 2)):
        raise CameraError(f"size is {size!r}; give (height, width), or one for each of {len(poses)} cameras.")
    sizes = sizes.expand(len(poses), 2)
    named = {"focal": focal, "field_of_view": field_of_view, "intrinsics": intrinsics}
    given = [name for name, value in named.items() if value is not None]
    if len(given) != 1:
        raise ConfigError(
            f"a camera's lens comes as focal (pixels), field_of_view (degrees) or intrinsics (fx, fy, cx, "
            f"cy), one of them; given: {' and '.join(given) or 'none'}."
        )
    if intrinsics is not None:
        lenses = _intrinsics(intrinsics, len(poses))
    else:
        lenses = _centred_lenses(sizes, focal, field_of_view)
    cameras = Cameras(poses.float(), lenses.float(), sizes)
    cameras.validate("cameras")
    return cameras


def object_frame(
    cameras: Cameras,
    frame: Literal["capture", "canonical"] = "capture",
    centre: Sequence[float] | None = None,
    radius: float | None = None,
    masks: Sequence[Mask] = (),
) -> Similarity:
    """World to model: where the object's ball is, and what is up.

    frame: as in `ReadOptions`: 'canonical' says that the world's origin is the object's centre and z is up;
    'capture' finds both from two or more cameras, and the ball from their pictures' masks, if given. centre,
    radius: of the ball that holds the object, in the poses' unit of length, where they are known. Raises
    `ViewCountError` or `CameraError` where the ball can not be found.
    """
    if frame not in ("capture", "canonical"):
        raise ConfigError(f"frame is {frame!r}; it must be 'capture' or 'canonical'.")
    capture = frame == "capture"
    if radius is not None and not 0 < radius < math.inf:
        raise SceneError(f"radius is {radius!r}; give the ball's radius as a positive number.")
    place = None
    if centre is not None:
        place = _tensor(centre, "centre")
        if place.shape != (3,) or not bool(place.isfinite().all()):
            raise SceneError(f"centre is {centre!r}; give the ball's centre as three finite numbers.")
    elif not capture:
        place = torch.zeros(3, dtype=torch.float64)
    elif len(cameras) < 2:
        raise ViewCountError(
            "one camera does not say how far away the object is: give centre=(x, y, z) and radius=r, the "
            "object's ball in the poses' units; or frame='canonical' if the object stands upright, z up, at "
            "the origin."
        )
    shown = outline_ball(cameras, masks, place) if capture and masks else None
    if place is None:
        place = axes_centre(cameras) if shown is None else shown[0]
    if radius is None:
        radius = inscribed_radius(cameras, place) if shown is None else shown[1]
    return ball_frame(place, float(radius), upright_rotation(cameras) if capture else None)


def camera_poses(given: GivenNumbers) -> Float[Tensor, "V 3 4"]:
    """The matrices of `pinhole_cameras`, always several. Raises `CameraError` for anything else."""
    poses = _tensor(given, "camera_to_world")
    if poses.ndim not in (2, 3) or tuple(poses.shape[-2:]) not in ((3, 4), (4, 4)):
        raise CameraError(
            f"camera_to_world has shape {list(poses.shape)}; give [V, 4, 4] or [V, 3, 4], or one such matrix."
        )
    poses = poses.reshape(-1, *poses.shape[-2:])
    last = poses.new_tensor([0.0, 0, 0, 1])
    if poses.shape[1] == 4 and not torch.allclose(poses[:, 3], last, atol=1e-6):
        raise CameraError(
            "a matrix of camera_to_world does not end in the row 0 0 0 1; it may be transposed, or no pose."
        )
    return poses[:, :3]


def _intrinsics(given: GivenNumbers, count: int) -> Float[Tensor, "V 4"]:
    values = _tensor(given, "intrinsics")
    if values.ndim >= 2 and tuple(values.shape[-2:]) == (3, 3):
        plain = torch.zeros_like(values)
        rows, columns = [0, 1, 0, 1, 2], [0, 1, 2, 2, 2]
        plain[..., rows, columns] = values[..., rows, columns]
        if not (torch.equal(plain, values) and bool((values[..., 2, 2] == 1).all())):
            raise CameraError(
                f"intrinsics {values.tolist()}: expected rows (fx, 0, cx), (0, fy, cy), (0, 0, 1): a pinhole "
                f"without skew."
            )
        values = values[..., [0, 1, 0, 1], [0, 1, 2, 2]]
    if tuple(values.shape) not in ((4,), (count, 4)):
        raise CameraError(
            f"intrinsics have shape {list(values.shape)}; give (fx, fy, cx, cy) or a matrix [3, 3], once or "
            f"for each of {count} cameras."
        )
    return values.expand(count, 4)


def _centred_lenses(
    sizes: Tensor, focal: float | Sequence[float] | None, field_of_view: float | None
) -> Float[Tensor, "V 4"]:
    height, width = sizes.double().unbind(-1)
    if field_of_view is not None:
        angle = _tensor(field_of_view, "field_of_view")
        if angle.ndim or not 0 < float(angle) < 180:
            raise CameraError(
                f"field_of_view is {field_of_view!r}; give the angle that a picture's width spans, between 0 "
                f"and 180 degrees."
            )
        fx = fy = 0.5 * width / math.tan(math.radians(float(angle)) / 2)
    else:
        lengths = _tensor(focal if focal is not None else (), "focal")
        if tuple(lengths.shape) not in ((), (1,), (2,)):
            raise CameraError(f"focal is {focal!r}; give one length in pixels, or (fx, fy).")
        fx, fy = lengths.expand(2)[:, None].expand(2, len(sizes)).unbind(0)
    return torch.stack([fx, fy, width / 2, height / 2], dim=-1)


def _tensor(values: Any, what: str) -> Float[Tensor, "*shape"]:
    try:
        if isinstance(values, list | tuple) and any(
            isinstance(value, np.ndarray | Tensor) for value in values
        ):
            values = np.stack([np.asarray(value) for value in values])
        return torch.as_tensor(values).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise CameraError(
            f"{what} must be numbers of one shape ({error}); given: {repr(values)[:200]}."
        ) from error
