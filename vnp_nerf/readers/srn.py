"""Scenes of the Scene Representation Networks release: rgb/, pose/ and intrinsics.txt in a folder."""

from pathlib import Path

import torch

from vnp_core.errors import CameraError, PictureError
from vnp_nerf.cameras import opengl_from_opencv
from vnp_nerf.pictures import PictureSource
from vnp_nerf.readers.layout import (
    ReadOptions,
    StatedGeometry,
    build_scene,
    check_links,
    check_size,
    read_text,
)
from vnp_nerf.scene import Scene

_MEBIBYTES = 1
"""Most that a file of a few numbers may have."""


def read_srn(path: Path, options: ReadOptions, name: str) -> Scene:
    """Reads one folder. Views are in the order of their pictures' names; these are white behind the object.

    intrinsics.txt: the first line is f cx cy and a number that nobody uses, a later line of two whole numbers
    is height and width; a single 1 after it says that the poses are world to camera. pose/NAME.txt: 16
    numbers, a 4 x 4 OpenCV pose. Raises `CameraError` or `PictureError` for anything else.
    """
    if not options.follow_links:
        check_links([path / "intrinsics.txt", *path.glob("pose/*.txt")], path)
    focal, cx, cy, height, width, world_to_camera = _read_intrinsics(path / "intrinsics.txt")
    files = sorted(path.glob("rgb/*.png")) or sorted(path.glob("rgb/*.jpg"))
    if not files:
        raise PictureError(f"{path}: the scene has no pictures; expected rgb/*.png.")
    matrices = torch.stack([_read_pose(path / "pose" / f"{file.stem}.txt") for file in files])
    if world_to_camera:
        rotation = matrices[:, :3, :3].transpose(-1, -2)
        matrices = torch.cat([rotation, -(rotation @ matrices[:, :3, 3:])], dim=-1)
    return build_scene(
        name,
        path,
        opengl_from_opencv(matrices[:, :3]),
        torch.tensor([[focal, focal, cx, cy]], dtype=torch.float64).repeat(len(files), 1),
        [PictureSource(file, (height, width)) for file in files],
        StatedGeometry(),
        {},
        options,
        canonical=True,
    )


def _read_intrinsics(file: Path) -> tuple[float, float, float, int, int, bool]:
    try:
        lines = [line.split() for line in read_text(file, _MEBIBYTES).splitlines() if line.strip()]
        focal, cx, cy = map(float, lines[0][:3])
        row = next(number for number, line in enumerate(lines) if number > 0 and len(line) == 2)
        height, width = map(int, lines[row])
        check_size(str(file), height, width)
        flags = lines[row + 1 :]
        return focal, cx, cy, height, width, bool(flags) and flags[0][0] in ("1", "True")
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise CameraError(
            f"{file}: no intrinsics of the SRN kind (first 'f cx cy 0.', later 'height width'): {error}."
        ) from error


def _read_pose(file: Path) -> torch.Tensor:
    try:
        values = [float(text) for text in read_text(file, _MEBIBYTES).split()]
    except FileNotFoundError as error:
        raise CameraError(f"{file}: there is no pose for the picture of that name.") from error
    except (OSError, ValueError) as error:
        raise CameraError(f"{file}: a pose is 16 numbers ({error}).") from error
    if len(values) != 16:
        raise CameraError(f"{file}: a pose is 16 numbers, a 4 x 4 matrix; given: {len(values)}.")
    return torch.tensor(values, dtype=torch.float64).reshape(4, 4)
