"""What all readers share: options, how a scene's folder is recognised, and how views become a `Scene`."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import CameraError, ConfigError, PictureError, SceneError
from vnp_core.whole_files import read_bounded
from vnp_nerf.cameras import Cameras
from vnp_nerf.frames import axes_centre, ball_frame, inscribed_radius, upright_rotation
from vnp_nerf.outlines import SIDE as OUTLINE_SIDE
from vnp_nerf.outlines import Mask, outline_ball
from vnp_nerf.pictures import MAX_PIXELS, PictureSource
from vnp_nerf.scene import Scene

SPLITS = ("train", "val", "test")
"""The splits that every collection has, and that files may divide a scene's views into."""

LEARNED_INIT_DEPTHS = (2.0, 6.0)
"""Near and far of the Learned-Init ShapeNet scenes, whose files do not say them."""

_OUTLINES = 12
"""Views, evenly spread, whose outlines tell where an object is."""
_NEAREST_IN_RADII = 0.05
"""Near for a camera inside the ball, in ball radii: it must stay positive."""


@dataclass(frozen=True)
class ReadOptions:
    """How scenes are read."""

    frame: Literal["auto", "canonical", "capture"] = "auto"
    """Whose the file's origin and axes are: canonical, the object's own (ShapeNet, SRN, Blender); capture,
    arbitrary, so that centre and upright are found from the cameras (COLMAP); auto, by the format.
    """
    ball: Literal["auto", "cameras", "outlines"] = "auto"
    """What tells the object's ball where the file does not state it: cameras, of which it just fits into the
    views; outlines, by the pictures' masks or alpha; auto, outlines of a capture that has them, else cameras.
    """
    max_size: int | None = None
    """Pictures with a longer side than so many pixels are shrunk to it; never, if not given."""
    white_is_empty: bool = False
    """Make near-white background of pictures without alpha transparent."""
    follow_links: bool = False
    """Follow links to files outside of the folder above the scene's: for scenes that you linked yourself."""

    def __post_init__(self) -> None:
        if self.frame not in ("auto", "canonical", "capture"):
            raise ConfigError(f"frame is {self.frame!r}; it must be auto, canonical or capture.")
        if self.ball not in ("auto", "cameras", "outlines"):
            raise ConfigError(f"ball is {self.ball!r}; it must be auto, cameras or outlines.")
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


def is_file(path: Path) -> bool:
    """Whether there is such a file; not where its name is longer than names may be, or nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_text(file: Path, mebibytes: int = 64) -> str:
    """A text file. Raises `OSError`, and `ValueError` for one that is larger, or no UTF-8."""
    return read_bounded(file, mebibytes).decode("utf-8")


def check_size(where: str, height: float, width: float) -> None:
    """Raises `CameraError` for a picture's size that no picture may have."""
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise CameraError(
            f"{where}: the picture's height {height} and width {width} must be positive whole numbers, with "
            f"{MAX_PIXELS // 2**20} Mi pixels at most."
        )


def check_links(files: Iterable[Path], scene: Path) -> None:
    """Raises `SceneError` for a file that, links followed, lies outside the folder above the scene's.

    A scene's folder may itself be a link: then files may also lie in the folder above what it leads to.
    """
    allowed = {
        f"{os.path.realpath(folder).rstrip(os.sep)}{os.sep}"
        for folder in (scene.absolute().parent, Path(os.path.realpath(scene)).parent)
    }
    for file in files:
        real = os.path.realpath(file)
        if not any(real.startswith(folder) for folder in allowed):
            raise SceneError(
                f"{file}: it is a link to {real}, outside of {min(allowed)}. Put the file itself there, or, "
                f"for a scene that you linked together yourself, read it with follow_links."
            )


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
    if not options.follow_links:
        check_links(_files(pictures), path.parent if path.suffix == ".json" else path)

    is_canonical = canonical if options.frame == "auto" else options.frame == "canonical"
    if options.white_is_empty:
        pictures = [replace(picture, white_is_empty=True) for picture in pictures]
    wanted = "cameras" if is_canonical and options.ball == "auto" else options.ball
    centre, radius = _ball(cameras, pictures, stated, wanted, canonical=is_canonical, where=str(path))
    rotation = None if is_canonical or keep_axes else upright_rotation(cameras)
    near, far = _depth_bounds(cameras, centre, radius, stated, learned_init=is_canonical, where=str(path))
    scene = Scene(
        name=name,
        path=path,
        cameras=_shrunk(cameras, options.max_size),
        pictures=tuple(pictures),
        near=near,
        far=far,
        frame=ball_frame(centre, radius, rotation),
        splits=splits,
    )
    if not bool(scene.model_cameras().camera_to_world.isfinite().all()):
        raise SceneError(
            f"{path}: its cameras are too far away for a ball of radius {radius}; give the poses, and the "
            f"bounding_radius if there is one, in one unit of length."
        )
    return scene


def _ball(
    cameras: Cameras,
    pictures: Sequence[PictureSource],
    stated: StatedGeometry,
    wanted: Literal["auto", "cameras", "outlines"],
    *,
    canonical: bool,
    where: str,
) -> tuple[Float[Tensor, "3"], float]:
    """Centre, float64, and radius of the object's ball."""
    centre = None if stated.centre is None else torch.tensor(stated.centre, dtype=torch.float64)
    if centre is not None and stated.radius is not None:
        return centre, stated.radius
    if wanted != "cameras":
        found = outline_ball(*_outlines(cameras, pictures), centre)
        if found is not None:
            return found[0], found[1] if stated.radius is None else stated.radius
        if wanted == "outlines":
            raise SceneError(
                f"{where}: outlines do not tell where the object is: two or more pictures must have a mask, "
                "or a transparent background, and fit together. Read with ball='cameras', or state "
                "bounding_centre and bounding_radius in the file."
            )
    if centre is None:
        centre = torch.zeros(3, dtype=torch.float64) if canonical else axes_centre(cameras, where)
    return centre, stated.radius if stated.radius is not None else inscribed_radius(cameras, centre)


def _outlines(cameras: Cameras, pictures: Sequence[PictureSource]) -> tuple[Cameras, list[Mask]]:
    """The masks of some views, small; a damaged picture shows none, until somebody wants to see it."""
    count = min(_OUTLINES, len(pictures))
    small = _shrunk(cameras, OUTLINE_SIDE)
    views, masks = [], []
    for view in [place * len(pictures) // count for place in range(count)]:
        if not pictures[view].may_be_cut_out:
            continue
        try:
            rgba = pictures[view].load(*small.sizes[view].tolist())
        except PictureError:
            continue
        views.append(view)
        masks.append(torch.from_numpy(rgba[..., 3] >= 128))
    return small[views], masks


def _files(pictures: Sequence[PictureSource]) -> list[Path]:
    return [file for picture in pictures for file in (picture.path, picture.mask) if file is not None]


def _check_files(pictures: Sequence[PictureSource]) -> None:
    files = _files(pictures)
    missing = [file for file in files if not is_file(file)]
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
