"""Scenes of `transforms*.json`: Learned-Init ShapeNet, Blender, nerfstudio and its `ns-process-data`."""

import json
import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vnp_core.errors import CameraError, PictureError, SceneError
from vnp_nerf.lenses import Lens
from vnp_nerf.pictures import PictureSource, picture_size
from vnp_nerf.readers.layout import (
    SPLITS,
    ReadOptions,
    StatedGeometry,
    build_scene,
    check_size,
    is_file,
    read_text,
)
from vnp_nerf.scene import Scene

_PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG", ".webp")


def read_transforms(path: Path, options: ReadOptions, name: str) -> Scene:
    """Reads a json file, or a folder's transforms.json, or the union of its transforms_{train,val,test}.json.

    Keys of a frame: file_path (its suffix may be missing), mask_path, transform_matrix (OpenGL camera to
    world). Keys of a frame or else of the file: camera_angle_x, or fl_x, fl_y, cx, cy; w, h; camera_model, k1
    to k4, p1, p2. Keys of the file: near, far, bounding_centre and bounding_radius (ours, in the file's
    units), orientation_override (`none` keeps the file's axes), train_filenames, val_filenames,
    test_filenames. All others are ignored. A file with camera_angle_x and no fl_x is canonical (see
    `ReadOptions`). A frame without mask_path has the mask masks/NAME.png beside the file, if there is one,
    with the name of its picture.

    Paths may lead anywhere inside the folder above the scene's own (some tools write ../images). They are
    judged by their text, and again with links followed. One that leads further raises `SceneError`, so that a
    scene from a stranger cannot have other files read. Where a path leads to no file, a picture of that name
    in the scene's own folder is taken, as Learned-Init's readers of ShapeNet do.
    """
    if path.is_file():
        files = {path: None}
    elif (path / "transforms.json").is_file():
        files = {path / "transforms.json": None}
    else:
        files = {file: split for split in SPLITS if (file := path / f"transforms_{split}.json").is_file()}
    views: list[_View] = []
    splits: dict[str, tuple[int, ...]] = {}
    metas = []
    for file, split in files.items():
        meta = _read_json(file)
        metas.append(meta)
        found = _read_views(file, meta)
        if split is not None:
            splits[split] = tuple(range(len(views), len(views) + len(found)))
        else:
            splits = _listed_splits(file, meta, found)
        views += found
    head = metas[0] if metas else {}
    poses = np.stack([view.pose for view in views]) if views else np.zeros((0, 3, 4))
    return build_scene(
        name,
        path,
        torch.from_numpy(poses),
        torch.tensor([view.intrinsics for view in views], dtype=torch.float64).reshape(-1, 4),
        [view.picture for view in views],
        _stated_geometry(next(iter(files), path), head),
        splits,
        options,
        canonical=all(view.canonical for view in views),
        keep_axes=head.get("orientation_override") == "none",
    )


@dataclass(frozen=True)
class _View:
    """One frame, understood. pose: [3, 4], float64. canonical: its focal length came as camera_angle_x."""

    pose: np.ndarray
    intrinsics: tuple[float, float, float, float]
    picture: PictureSource
    canonical: bool


def _read_json(file: Path) -> dict[str, Any]:
    try:
        meta = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError) as error:
        raise SceneError(f"{file}: this is no readable json ({error}).") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("frames"), list):
        raise SceneError(f"{file}: there is no list of frames; expected a json object with a key 'frames'.")
    return meta


def _read_views(file: Path, meta: dict[str, Any]) -> list[_View]:
    one_size: list[tuple[int, int]] = []
    views = []
    for number, frame in enumerate(meta["frames"]):
        where = f"{file}: frame {number}"
        if not isinstance(frame, dict):
            raise SceneError(f"{where} is no json object, but {frame!r}.")
        if meta.get("is_fisheye") or frame.get("is_fisheye"):
            raise CameraError(f"{where}: fisheye pictures are not pinhole pictures; undistort them first.")
        path = _resolve(file.parent, _text(frame, "file_path", where), where, or_by_name=True)
        mask = None
        if frame.get("mask_path"):
            mask = _resolve(file.parent, _text(frame, "mask_path", where), where)
        elif is_file(beside := file.parent / "masks" / f"{path.stem}.png"):
            mask = beside
        values = _Values({**meta, **frame}, where)
        size = _size(values, path, one_size)
        intrinsics, lens, canonical = _camera(values, size)
        views.append(_View(_pose(frame, where), intrinsics, PictureSource(path, size, mask, lens), canonical))
    return views


class _Values:
    """Numbers of a frame, its own before those of the whole file."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(key)
        if value is None:
            value = default
        try:
            return _number(value)
        except (TypeError, OverflowError) as error:
            raise CameraError(f"{self.where}: {key} must be a number; given: {value!r}.") from error


def _number(value: Any) -> float:
    """A json number, NaN and infinity included; strings and booleans are a `TypeError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _size(values: _Values, path: Path, known: list[tuple[int, int]]) -> tuple[int, int]:
    """(height, width) as the file says; if it does not, it has one camera, and its first picture tells."""
    if "w" in values and "h" in values:
        height, width = values.number("h"), values.number("w")
        if not (height.is_integer() and width.is_integer()):
            raise CameraError(f"{values.where}: h = {height} and w = {width} must be positive whole numbers.")
        check_size(values.where, height, width)
        return int(height), int(width)
    if not known:
        known.append(picture_size(path))
    return known[0]


def _camera(
    values: _Values, size: tuple[int, int]
) -> tuple[tuple[float, float, float, float], Lens | None, bool]:
    """The pinhole, the lens if pictures need undistorting, and whether the frame is of the Blender kind."""
    height, width = size
    model = values.values.get("camera_model", "OPENCV")
    if model not in _PINHOLE_MODELS:
        raise CameraError(
            f"{values.where}: camera_model {model!r} is no pinhole camera with OpenCV distortion. Expected "
            f"{', '.join(_PINHOLE_MODELS)}; undistort the pictures first (colmap image_undistorter)."
        )
    canonical = "fl_x" not in values
    if not canonical:
        fx = values.number("fl_x")
        fy = values.number("fl_y", fx)
    elif "camera_angle_x" in values:
        fx = _focal(values, "camera_angle_x", width)
        fy = _focal(values, "camera_angle_y", height) if "camera_angle_y" in values else fx
    else:
        raise CameraError(
            f"{values.where}: there is no focal length; give fl_x (pixels) or camera_angle_x (radians)."
        )
    pinhole = (fx, fy, values.number("cx", width / 2), values.number("cy", height / 2))
    distortion = _distortion(values)
    if not any(distortion.values()):
        return pinhole, None, canonical
    if distortion.pop("k4"):
        raise CameraError(
            f"{values.where}: a k4 other than 0 belongs to a fisheye lens; undistort the pictures first."
        )
    if not (fx > 0 and fy > 0 and all(map(math.isfinite, (*pinhole, *distortion.values())))):
        raise CameraError(
            f"{values.where}: focal length {fx}, {fy} with distortion {distortion} describes no lens."
        )
    lens = Lens(*pinhole, height, width, **distortion)
    return lens.pinhole(), lens, canonical


def _distortion(values: _Values) -> dict[str, float]:
    listed = values.values.get("distortion_params")
    if listed is None:
        return {key: values.number(key, 0.0) for key in _DISTORTION}
    try:
        return dict(zip(_DISTORTION, map(_number, listed), strict=True))
    except (TypeError, ValueError, OverflowError) as error:
        raise CameraError(
            f"{values.where}: distortion_params must be [k1, k2, k3, k4, p1, p2]; given: {listed!r}."
        ) from error


def _focal(values: _Values, key: str, pixels: int) -> float:
    angle = values.number(key)
    if not 0 < angle < math.pi:
        raise CameraError(f"{values.where}: {key} is {angle}; a field of view lies between 0 and pi radians.")
    return 0.5 * pixels / math.tan(0.5 * angle)


def _pose(frame: dict[str, Any], where: str) -> np.ndarray:
    try:
        pose = np.array(frame["transform_matrix"], dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CameraError(
            f"{where}: transform_matrix is missing or holds something other than numbers."
        ) from error
    if pose.shape not in ((4, 4), (3, 4)):
        raise CameraError(f"{where}: transform_matrix has shape {pose.shape}; expected 4 x 4 or 3 x 4.")
    if pose.shape == (4, 4) and not np.allclose(pose[3], (0, 0, 0, 1), atol=1e-6):
        raise CameraError(
            f"{where}: transform_matrix ends in {pose[3].tolist()}; the last row of a pose is 0 0 0 1."
        )
    return pose[:3]


def _text(frame: dict[str, Any], key: str, where: str) -> str:
    value = frame.get(key)
    if not isinstance(value, str) or not value:
        raise SceneError(f"{where}: {key} must be the path of a picture; given: {value!r}.")
    return value


@lru_cache(maxsize=8)
def _bounds(folder: Path) -> tuple[str, str]:
    absolute = os.path.normpath(folder)
    return absolute, f"{absolute.rpartition(os.sep)[0]}{os.sep}"


def _resolve(folder: Path, text: str, where: str, *, or_by_name: bool = False) -> Path:
    """The picture's path, with the first of the usual suffixes that exists; unchanged where none does."""
    scene, allowed = _bounds(folder.absolute())
    text = text.replace("\\", "/")
    whole = os.path.normpath(Path(scene, text))
    is_inside = whole.startswith(allowed)
    if is_inside and (found := _existing(whole)):
        return found
    if or_by_name and (found := _existing(f"{scene}{os.sep}{text.rpartition('/')[2]}")):
        return found
    if not is_inside:
        raise SceneError(
            f"{where}: the path {text!r} leads out of {allowed}; pictures must lie in the scene or beside it."
        )
    return Path(whole)


def _existing(path: str) -> Path | None:
    return next((found for suffix in _SUFFIXES if is_file(found := Path(path + suffix))), None)


def _listed_splits(file: Path, meta: dict[str, Any], views: list[_View]) -> dict[str, tuple[int, ...]]:
    """Views under nerfstudio's train_filenames and so on. Raises `PictureError` for one of no frame."""
    numbers = {view.picture.path: number for number, view in enumerate(views)}
    splits = {}
    for split in SPLITS:
        listed = meta.get(f"{split}_filenames")
        if listed is None:
            continue
        where = f"{file}: {split}_filenames"
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise SceneError(f"{where} must be a list of paths; given: {listed!r}.")
        paths = [_resolve(file.parent, text, where, or_by_name=True) for text in listed]
        unknown = [path for path in paths if path not in numbers]
        if unknown:
            raise PictureError(f"{where} names {unknown[0]}, which is the picture of no frame.")
        splits[split] = tuple(numbers[path] for path in paths)
    return splits


def _stated_geometry(file: Path, meta: dict[str, Any]) -> StatedGeometry:
    def number(key: str) -> float | None:
        value = meta.get(key)
        if value is None:
            return None
        try:
            if 0 < (length := _number(value)) < math.inf:
                return length
        except (TypeError, OverflowError):
            pass
        raise SceneError(f"{file}: {key} must be a positive number; given: {value!r}.")

    centre = meta.get("bounding_centre")
    if centre is not None:
        try:
            x, y, z = map(_number, centre)
            centre = (x, y, z)
        except (TypeError, ValueError, OverflowError) as error:
            raise SceneError(f"{file}: bounding_centre must be three numbers; given: {centre!r}.") from error
        if not all(map(math.isfinite, centre)):
            raise SceneError(f"{file}: bounding_centre must be finite; given: {centre!r}.")
    return StatedGeometry(centre, number("bounding_radius"), number("near"), number("far"))
