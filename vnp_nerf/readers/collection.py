"""Collections: many scenes under one root, divided into splits. Scanning opens split files and no scene."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from vnp_core.errors import SceneError, SceneNotFoundError
from vnp_nerf.readers.layout import SPLITS, holds_scene, holds_srn_scene, read_text

_HASH_BOUNDS = (0.90, 0.95)
_STAND_INS = {"val": "test", "test": "val"}


@dataclass(frozen=True)
class Collection:
    """Scenes by split: always `train`, `val` and `test`, maybe empty, and others as the files name them.

    A root that is one scene is a collection with that scene in every split that is asked for.
    """

    root: Path
    scenes: dict[str, tuple[Path, ...]]

    def split(self, name: str) -> tuple[Path, ...]:
        """The scenes of a split, never none: `val` and `test` stand in for each other where one is empty.

        Raises `SceneNotFoundError` for a split that is unknown or empty.
        """
        scenes = self.scenes.get(name, ())
        if not scenes and self.scenes["train"] == (self.root,):
            scenes = (self.root,)
        if not scenes and name in _STAND_INS:
            scenes = self.scenes[_STAND_INS[name]]
        if not scenes:
            counts = ", ".join(f"{split} ({len(paths)})" for split, paths in self.scenes.items())
            raise SceneNotFoundError(f"{self.root} has no scene in the split {name!r}; it has: {counts}.")
        return scenes

    def name_of(self, path: Path) -> str:
        """What to call a scene: its path below the root (`cars/1a2b`), or its folder's name if that is it."""
        if path == self.root:
            return path.absolute().parent.name if path.suffix == ".json" else path.absolute().name
        return path.relative_to(self.root).as_posix()

    def find(self, name: str) -> Path:
        """The scene of that name. Raises `SceneNotFoundError`."""
        paths = {self.name_of(path): path for split in self.scenes.values() for path in split}
        if name not in paths:
            some = ", ".join(sorted(paths)[:5])
            raise SceneNotFoundError(
                f"{self.root} has no scene called {name!r}; it has {len(paths)}, such as {some}."
            )
        return paths[name]


def open_collection(root: Path, categories: Sequence[str] = ()) -> Collection:
    """Finds the scenes under a root. Raises `SceneNotFoundError` where there are none.

    The root may be

    - one scene, of any format, or its json file;
    - Learned-Init ShapeNet: <category>/<id>/ beside <category without s>_splits.json (or with that file, or
      splits.json, inside the category's folder; or the root is a category's folder itself);
    - SRN: <category>_train/<id>/, <category>_val/ and <category>_test/, or one of the last two alone;
    - train/, val/, test/ (and others that start so, as test_author/) with scenes in them;
    - a folder of scenes: 90 % train, 5 % val, 5 % test, by a hash of the folder's name.

    categories: those wanted of several, all by default.
    """
    root = Path(root)
    if holds_scene(root) or (root.suffix == ".json" and root.is_file()):
        return Collection(root, dict.fromkeys(SPLITS, (root,)))
    if not root.is_dir():
        raise SceneNotFoundError(f"{root}: there is no such folder, so there are no scenes in it.")
    folders = _folders(root)
    scenes = (
        _by_split_files(root, folders, categories)
        or _by_split_suffix(folders, categories)
        or _by_split_folders(folders)
        or _by_own_suffix(root, folders)
        or _by_hash([folder for folder in folders if holds_scene(folder)])
    )
    if not scenes:
        wanted = f" of {', '.join(categories)}" if categories else ""
        raise SceneNotFoundError(
            f"No scene{wanted} found in {root} ({len(folders)} folders looked at). Expected one scene "
            f"(transforms.json, or SRN's rgb/, pose/ and intrinsics.txt), a folder of scenes, train/ val/ "
            f"test/ with scenes in them, or categories with *_splits.json."
        )
    return Collection(
        root, {split: tuple(scenes.get(split, ())) for split in (*SPLITS, *sorted(set(scenes) - {*SPLITS}))}
    )


def _folders(root: Path) -> list[Path]:
    """Sorted, and without hidden ones, where half-made scenes are kept."""
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return [root / name for name in names]


def _by_split_files(root: Path, folders: list[Path], categories: Sequence[str]) -> dict[str, list[Path]]:
    candidates = [folder for folder in folders if not categories or folder.name in categories]
    files = {folder: file for folder in candidates if (file := _split_file(folder)) is not None}
    if not files and not categories and (file := _split_file(root)) is not None:
        files = {root: file}
    unknown = set(categories) - {folder.name for folder in files}
    if files and unknown:
        raise SceneNotFoundError(f"{root} has no category {', '.join(sorted(unknown))} with a split file.")
    scenes: dict[str, list[Path]] = {}
    for folder, file in files.items():
        present = {path.name for path in _folders(folder) if holds_scene(path)}
        for split, names in _read_splits(file).items():
            found = [name for name in names if name in present]
            _report_missing(file, folder, split, [name for name in names if name not in present], len(names))
            scenes.setdefault(split, []).extend(folder / name for name in found)
    return scenes


def _report_missing(file: Path, folder: Path, split: str, missing: list[str], listed: int) -> None:
    """One line for scenes that are listed and not there, as in the ShapeNet release; an error if all are."""
    if not missing:
        return
    text = (
        f"{file}: of {listed} scenes listed under {split!r}, {len(missing)} are not in {folder}, such as "
        f"{', '.join(missing[:3])}"
    )
    if len(missing) == listed:
        raise SceneNotFoundError(f"{text}. Complete the folder, or correct the list.")
    Console(stderr=True).print(f"{text}. They are left out.", markup=False, style="yellow")


def _split_file(category: Path) -> Path | None:
    name = category.absolute().name
    stems = dict.fromkeys([f"{name.removesuffix('s')}_splits.json", f"{name}_splits.json"])
    places = [*(category.absolute().parent / stem for stem in stems), *(category / stem for stem in stems)]
    return next((place for place in [*places, category / "splits.json"] if place.is_file()), None)


def _read_splits(file: Path) -> dict[str, list[str]]:
    try:
        splits = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError) as error:
        raise SceneError(f"{file}: this is no readable json ({error}).") from error
    sound = isinstance(splits, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in splits.values()
    )
    if not sound:
        raise SceneError(
            f"{file}: expected lists of scene names by split, such as {{'train': ['a'], 'test': ['b']}}."
        )
    return splits


def _by_split_suffix(folders: list[Path], categories: Sequence[str]) -> dict[str, list[Path]]:
    """SRN's layout."""
    scenes: dict[str, list[Path]] = {}
    for folder in folders:
        category, underscore, split = folder.name.rpartition("_")
        if (
            underscore
            and category not in SPLITS
            and split in SPLITS
            and (not categories or category in categories)
        ):
            scenes.setdefault(split, []).extend(path for path in _folders(folder) if holds_scene(path))
    return {split: paths for split, paths in scenes.items() if paths}


def _by_own_suffix(root: Path, folders: list[Path]) -> dict[str, list[Path]]:
    """SRN's val or test folder by itself: all of it was held out of training."""
    split = root.absolute().name.rpartition("_")[2]
    scenes = [folder for folder in folders if holds_scene(folder)]
    held_out = split in ("val", "test") and scenes and all(holds_srn_scene(scene) for scene in scenes)
    return {split: scenes} if held_out else {}


def _by_split_folders(folders: list[Path]) -> dict[str, list[Path]]:
    scenes = {}
    for folder in folders:
        if folder.name.split("_")[0] in SPLITS:
            scenes[folder.name] = [path for path in _folders(folder) if holds_scene(path)]
    return {split: paths for split, paths in scenes.items() if paths}


def _by_hash(folders: list[Path]) -> dict[str, list[Path]]:
    """Splits that depend on each scene's name alone, so that new scenes move no old ones.

    But one or two scenes stand in every split, and of three or more val and test have at least one each.
    """
    if not folders:
        return {}
    if len(folders) < 3:
        return {split: list(folders) for split in SPLITS}
    ordered = sorted(folders, key=lambda folder: (_position(folder.name), folder.name))
    train_end, val_end = (sum(_position(folder.name) < bound for folder in ordered) for bound in _HASH_BOUNDS)
    val_end = min(val_end, len(ordered) - 1)
    train_end = max(min(train_end, val_end - 1), 1)
    val_end = max(val_end, train_end + 1)
    parts = (ordered[:train_end], ordered[train_end:val_end], ordered[val_end:])
    return {split: sorted(part) for split, part in zip(SPLITS, parts, strict=True)}


def _position(name: str) -> float:
    """A number in [0, 1) that only the name decides."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
