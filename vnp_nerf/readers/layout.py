"""What all readers share: options, how a scene's folder is recognised, and how views become a `Scene`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import ConfigError, PictureError, SceneError
from vnp_nerf.cameras import Cameras
from vnp_nerf.frames import axes_centre, ball_frame, inscribed_radius, upright_rotation
from vnp_nerf.pictures import PictureSource
from vnp_nerf.scene import Scene

SPLITS = ("train", "val", "test")
"""The splits that every collection has, and that files may divide a scene's views into."""

LEARNED_INIT_DEPTHS = (2.0, 6.0)
"""Near and far of the Learned-Init ShapeNet scenes, whose files do not say them."""

_NEAREST_IN_RADII = 0.05
"""Near for a camera inside the ball, in ball radii: it must stay positive."""


@dataclass(frozen=True)
class ReadOptions:
    """How scenes are read.

    frame: `canonical`: the file's origin and axes are the object's own (ShapeNet, SRN, Blender); `capture`:
    they are arbitrary, so centre and upright are found from the cameras (COLMAP); `auto`: by the format.
    max_size: pictures with a longer side are shrunk to it; None for never. white_is_empty: near-white
    background of pictures without alpha becomes transparent.
    """

    frame: Literal["auto", "canonical", "capture"] = "auto"
    max_size: int | None = None
    white_is_empty: bool = False

    def __post_init__(self) -> None:
        if self.frame not in ("auto", "canonical", "capture"):
            raise ConfigError(f"frame is {self.frame!r}; it must be auto, canonical or capture.")
        if self.max_size is not None and self.max_size < 1:
            raise ConfigError(f"max_size is {self.max_size}; it must be a positive number of pixels.")


@dataclass(frozen=True)
class StatedGeometry:
    """What a file itself says about its object, in world units; None where it says nothing."""

    centre: tuple[float, float, float] | None = None
    radius: float | None = None
    near: float | None = None
    far: float | None = None


def holds_srn_scene(folder: Path) -> bool:
    """Whether the folder is one SRN scene."""
    return (folder / "intrinsics.txt").is_file() and (folder / "pose").is_dir()


def holds_scene(folder: Path) -> bool:
    """Whether the folder is one scene, of any format that we read. Nothing is opened."""
    files = (folder / "transforms.json", folder / "transforms_train.json")
    return any(file.is_file() for file in files) or holds_srn_scene(folder)


def build_scene(
    name: str,
    path: Path,
    poses: Float[Tensor, "V 3 4"],
    intrinsics: Float[Tensor, "V 4"],
    pictures: Sequence[PictureSource],
    stated: StatedGeometry,
    splits: dict[str, tuple[int, ...]],
    options: ReadOptions,
    *,
    canonical: bool,
    keep_axes: bool = False,
) -> Scene:
    """Checks the cameras, shrinks them to `max_size`, and finds frame, near and far.

    canonical: what `frame='auto'` means for this file. keep_axes: do not turn a capture upright.
    """
    if not pictures:
        raise PictureError(f"{path}: the scene has no pictures; a scene needs at least one posed picture.")
    sizes = torch.tensor([picture.size for picture in pictures], dtype=torch.int64)
    cameras = Cameras(poses.float(), intrinsics.float(), sizes)
    cameras.validate(str(path), [picture.path.name for picture in pictures])
    _check_files(pictures)

    is_canonical = canonical if options.frame == "auto" else options.frame == "canonical"
    if stated.centre is not None:
        centre = torch.tensor(stated.centre, dtype=torch.float64)
    else:
        centre = torch.zeros(3, dtype=torch.float64) if is_canonical else axes_centre(cameras, str(path))
    radius = stated.radius if stated.radius is not None else inscribed_radius(cameras, centre)
    rotation = None if is_canonical or keep_axes else upright_rotation(cameras)
    near, far = _depth_bounds(cameras, centre, radius, stated, learned_init=is_canonical, where=str(path))
    if options.white_is_empty:
        pictures = [replace(picture, white_is_empty=True) for picture in pictures]
    return Scene(
        name=name,
        path=path,
        cameras=_shrunk(cameras, options.max_size),
        pictures=tuple(pictures),
        near=near,
        far=far,
        frame=ball_frame(centre, radius, rotation),
        splits=splits,
    )


def _check_files(pictures: Sequence[PictureSource]) -> None:
    files = [file for picture in pictures for file in (picture.path, picture.mask) if file is not None]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise PictureError(
            f"{missing[0]}: there is no such picture ({len(missing)} of {len(files)} are missing)."
        )


def _shrunk(cameras: Cameras, max_size: int | None) -> Cameras:
    if max_size is None or int(cameras.sizes.max()) <= max_size:
        return cameras
    longest = cameras.sizes.amax(dim=-1, keepdim=True).clamp(min=max_size)
    sizes = (cameras.sizes * max_size / longest).round().clamp(min=1).to(torch.int64)
    y_factor, x_factor = (sizes / cameras.sizes).unbind(-1)
    factors = torch.stack([x_factor, y_factor, x_factor, y_factor], dim=-1)
    return Cameras(cameras.camera_to_world, cameras.intrinsics * factors, sizes)


def _depth_bounds(
    cameras: Cameras, centre: Tensor, radius: float, stated: StatedGeometry, *, learned_init: bool, where: str
) -> tuple[float, float]:
    """What the file says, or 2 and 6 where cameras stand as in Learned-Init, or else the ball's bounds."""
    distance = (cameras.positions.double() - centre).norm(dim=-1)
    nearest, farthest = float(distance.min()) - radius, float(distance.max()) + radius
    near, far = max(nearest, _NEAREST_IN_RADII * radius), farthest
    default_near, default_far = LEARNED_INIT_DEPTHS
    if (
        learned_init
        and default_near <= nearest
        and farthest <= default_far
        and 3 <= float(distance.mean()) <= 5
    ):
        near, far = default_near, default_far
    near = stated.near if stated.near is not None else near
    far = stated.far if stated.far is not None else far
    if not 0 < near < far < float("inf"):
        raise SceneError(
            f"{where}: near = {near} and far = {far}; they must be positive distances, near below far."
        )
    return near, far
