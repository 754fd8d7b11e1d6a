"""Scenes on disk in the layout of Learned-Init's ShapeNet renderings.

    ROOT/cars/ID/transforms.json            camera_angle_x, frames[].file_path, frames[].transform_matrix
    ROOT/cars/ID/train/r_000.png            RGBA, straight alpha
    ROOT/car_splits.json                    {"train": [ID, ...], "val": [...], "test": [...]}
    ROOT/car_making.json                    the settings, so that a run can only be resumed with the same ones

A scene that is finished is never written again.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from vnp_core.errors import ConfigError, DataError, OutputExistsError
from vnp_core.whole_files import move_whole, write_whole
from vnp_nerf.frames import BALL_ROOM
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.renderer import Renderer, import_open3d
from vnp_nerf.making.workers import run_jobs

FORMAT_VERSION = 1
_NEWER = ("aside", "roll")


@dataclass(frozen=True)
class WriterConfig:
    """What each scene looks like.

    Attributes:
        orbit: the cameras.
        size: the pictures' height and width in pixels.
        supersampling: rays a pixel along each axis.
        depth: also write 16-bit pictures of the distance along the ray (times `depth_scale`; 0 is nothing).
        seed: of everything that is drawn at random.
    """

    orbit: Orbit = field(default_factory=Orbit)
    size: int = 64
    supersampling: int = 2
    depth: bool = False
    seed: int = 0

    def validate(self) -> None:
        """Raises ConfigError when no picture can come of it."""
        self.orbit.validate()
        if not 1 <= self.size <= 4096:
            raise ConfigError(f"size is {self.size} pixels; give one between 1 and 4096")
        if self.supersampling < 1:
            raise ConfigError(f"supersampling is {self.supersampling}; give 1 or more")


@dataclass(frozen=True)
class SceneJob:
    """One scene to write. `load(source)` gives its mesh; `run` marks the unfinished folders of this run."""

    folder: Path
    load: Callable[[Any], Mesh]
    source: Any
    config: WriterConfig
    run: int = 0


@dataclass(frozen=True)
class CategoryReport:
    """What became of a category: ids written now, ids that were there, and failed ones with the reason."""

    written: tuple[str, ...]
    present: tuple[str, ...]
    failed: Mapping[str, str]


def write_category(
    root: Path,
    category: str,
    splits: Mapping[str, Sequence[str]],
    sources: Mapping[str, Any],
    load: Callable[[Any], Mesh],
    config: WriterConfig,
    *,
    processes: int = 1,
    strict: bool = False,
    making: Mapping[str, Any] = MappingProxyType({}),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CategoryReport:
    """Renders all objects of a category, skips those that are finished, and writes the split file last.

    Args:
        root: the collection's folder; made when missing.
        category: the folder's name, e.g. `cars`; the split file's name lacks a trailing s.
        splits: split name -> object ids.
        sources: object id -> what `load` makes a mesh of, for all ids of the splits.
        load: a function of a module.
        config: what a scene looks like.
        processes: how many render at a time.
        strict: whether a broken object is an error; otherwise it is left out of the splits and reported.
        making: settings beside `config` that scenes depend on.
        on_progress: is told (scenes done, scenes in all).

    Raises:
        OutputExistsError: the category was begun there with other settings, or has scenes that are not asked
            for now and would vanish from its split file.
        DataError: `strict` and an object is broken, or every object is.
        StorageError: the disk takes no more; finished scenes are kept.
        MissingDependencyError: open3d can't be used.
    """
    config.validate()
    import_open3d()
    root.mkdir(parents=True, exist_ok=True)
    stem = root / category.removesuffix("s")
    settings = stem.with_name(stem.name + "_making.json")
    told = asdict(config)
    # Collections that were begun before cameras could look aside tell of neither.
    told["orbit"] = {name: value for name, value in told["orbit"].items() if value or name not in _NEWER}
    _keep_settings(settings, {**told, **_stated_ball(config.orbit), **making})
    ids = [identity for members in splits.values() for identity in members]
    gone = {identity for members in _listed(root, category).values() for identity in members} - {*ids}
    if gone:
        raise OutputExistsError(
            f"{root} lists {len(gone)} scenes of {category} that are not asked for now, such as {min(gone)}: "
            "ask for all of them, or give another --output"
        )
    present = [identity for identity in ids if (root / category / identity / "transforms.json").is_file()]
    finished = set(present)
    missing = [identity for identity in ids if identity not in finished]
    jobs = [
        SceneJob(root / category / identity, load, sources[identity], config, run=os.getpid())
        for identity in missing
    ]
    failed: dict[str, str] = {}
    on_progress(len(present), len(ids))
    try:
        with contextlib.closing(run_jobs(write_scene, jobs, processes)) as outcomes:
            for done, outcome in enumerate(outcomes, start=1):
                if outcome.error is not None:
                    failed[missing[outcome.index]] = outcome.error
                    if strict:
                        raise DataError(f"{missing[outcome.index]} can't be rendered: {outcome.error}")
                on_progress(len(present) + done, len(ids))
    finally:
        # A process that was ended in the middle of a scene couldn't clean up after itself.
        for unfinished in (root / category).glob(f".*.{os.getpid()}.part"):
            shutil.rmtree(unfinished, ignore_errors=True)
    written = tuple(identity for identity in missing if identity not in failed)
    if not written and not present:
        settings.unlink()
        first = next(iter(failed.items()), ("", "nothing was asked for"))
        raise DataError(f"no scene of {category} could be made; first failure: {first[0]}: {first[1]}")
    kept = {
        name: [identity for identity in members if identity not in failed] for name, members in splits.items()
    }
    write_json(stem.with_name(stem.name + "_splits.json"), kept)
    return CategoryReport(written, tuple(present), failed)


def made_splits(root: Path, category: str) -> tuple[str, ...]:
    """Names of the splits that a category on disk has; none where there is no split file yet.

    Raises:
        OutputExistsError: there is one that can't be read.
    """
    return tuple(_listed(root, category))


def _listed(root: Path, category: str) -> dict[str, list[str]]:
    """The split file as it is."""
    path = root / f"{category.removesuffix('s')}_splits.json"
    if not path.exists():
        return {}
    try:
        read = dict(json.loads(path.read_text(encoding="utf-8")))
        return {name: [str(identity) for identity in members] for name, members in read.items()}
    except (OSError, ValueError, TypeError) as error:
        raise OutputExistsError(f"{path} can't be read ({error}); remove it, or write elsewhere") from error


def write_scene(job: SceneJob) -> None:
    """Renders one object into its folder; the folder appears complete or not at all."""
    config = job.config
    renderer = Renderer(job.load(job.source).in_unit_ball(), config.supersampling)
    unfinished = job.folder.with_name(f".{job.folder.name}.{job.run}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "train").mkdir(parents=True)
    angle = float(np.radians(config.orbit.field_of_view))
    focal = config.size / 2 / np.tan(angle / 2)
    depth_scale = (config.orbit.distance + 1.5) / 65535
    frames = []
    try:
        for view, pose in enumerate(config.orbit.poses(scene_generator(config.seed, job.folder.name))):
            picture = renderer.picture(pose[:3], focal, config.size, config.size, with_distance=config.depth)
            frame: dict[str, Any] = {"file_path": f"train/r_{view:03d}.png"}
            Image.fromarray(picture.rgba, "RGBA").save(unfinished / frame["file_path"])
            if picture.distance is not None:
                steps = np.where(np.isfinite(picture.distance), np.rint(picture.distance / depth_scale), 0)
                frame["depth_path"] = f"train/depth_{view:03d}.png"
                Image.fromarray(steps.astype(np.uint16)).save(unfinished / frame["depth_path"])
            frames.append({**frame, "transform_matrix": pose.tolist()})
        head: dict[str, Any] = {"camera_angle_x": angle, "w": config.size, "h": config.size}
        if config.depth:
            head["depth_scale"] = depth_scale
        head |= _stated_ball(config.orbit)
        write_json(unfinished / "transforms.json", {**head, "frames": frames})
        if job.folder.exists():
            shutil.rmtree(job.folder)
        move_whole(unfinished, job.folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _stated_ball(orbit: Orbit) -> dict[str, Any]:
    """What scenes state of the object's ball: nothing where it is the one that just fits into the views. So
    objects are equally large in the model's frame, whatever took their pictures.
    """
    if orbit.has_usual_framing:
        return {}
    return {"bounding_centre": [0.0, 0.0, 0.0], "bounding_radius": BALL_ROOM}


def scene_generator(seed: int, identity: str) -> np.random.Generator:
    """The generator of one object's cameras: depends on the seed and the object's name alone."""
    digest = hashlib.sha256(f"{seed}/{identity}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def write_json(path: Path, value: Any) -> None:
    """Writes the file under a temporary name first, so that it is never seen half-written."""
    write_text(path, json.dumps(value, indent=1, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """As `write_json`, for any text."""
    write_whole(path, text.encode())


def _keep_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Stores the settings of a category, or checks that they are those that it was begun with."""
    settings = json.loads(json.dumps({"format_version": FORMAT_VERSION, **settings}))
    if not path.exists():
        write_json(path, settings)
        return
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputExistsError(
            f"{path} can't be read ({error}); remove it and its scenes, or write elsewhere"
        ) from error
    changed = [key for key in sorted({*begun, *settings}) if begun.get(key) != settings.get(key)]
    if changed:
        details = "; ".join(f"{key}: {begun.get(key)} there, {settings.get(key)} now" for key in changed)
        raise OutputExistsError(
            f"{path.parent} holds scenes made with other settings ({details}). "
            "Give the same ones to resume, or another --output"
        )
