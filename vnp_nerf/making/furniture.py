"""Real textured objects from Debian's package `sweethome3d-furniture`.

The package holds zip archives (`.sh3f`) of OBJ files. `data/furniture_index.json` says what each object is,
who made it under which licence, and which defects it has.
"""

import hashlib
import json
import re
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vnp_core.config import nearest
from vnp_core.errors import ConfigError, DataError, SceneNotFoundError
from vnp_core.packages import debian_page, unpack_debian
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.meshes import load_mesh, z_up_rotation

PACKAGE = "sweethome3d-furniture"
PACKAGE_PAGE = debian_page(PACKAGE)
HELD_OUT_SET = "KatorLegaz"
DEFECTS = frozenset({"flat", "thin", "heavy", "coplanar"})
TWINS = frozenset({"plug/switch/socket"})
VAL_OBJECTS, TEST_OBJECTS = 20, 45
LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-3.0-US": "https://creativecommons.org/licenses/by/3.0/us/",
}


@dataclass(frozen=True)
class FurnitureObject:
    """One line of the index.

    Attributes:
        path: SET/path inside the set's archive.
        name, kind, category: what it is, for people.
        creator, licence: who made it, and under which SPDX-like licence.
        flags: defects (`flat`, `thin`, `heavy`, `coplanar`) and `transparent`.
        rotation: nine numbers, row by row, that the catalogue turns the y-up model by.
        demo: whether it ships in `data/demo`; such objects are always in the test split.
    """

    path: str
    name: str
    kind: str
    category: str
    creator: str
    licence: str
    flags: tuple[str, ...] = ()
    rotation: tuple[float, ...] | None = None
    demo: bool = False

    @property
    def set_name(self) -> str:
        """The archive that it lies in."""
        return self.path.split("/", 1)[0]

    @property
    def identity(self) -> str:
        """Its scene's folder name: unique, and the same in every run."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.set_name}-{Path(self.path).stem}".lower()).strip("-")


def read_index(path: Path) -> list[FurnitureObject]:
    """The objects of an index file, in its order.

    Raises:
        DataError: the file is missing or makes no sense.
    """
    try:
        lines = json.loads(path.read_text(encoding="utf-8"))
        return [
            FurnitureObject(
                **{
                    **line,
                    "flags": tuple(line.get("flags", ())),
                    "rotation": tuple(line["rotation"]) if "rotation" in line else None,
                }
            )
            for line in lines
        ]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"the furniture index {path} can't be read: {error}") from error


def clean_objects(objects: Iterable[FurnitureObject]) -> list[FurnitureObject]:
    """Those without a defect, and without the wall plates, which are each other's near twins."""
    return [o for o in objects if not DEFECTS & set(o.flags) and o.kind not in TWINS]


def split_objects(objects: Sequence[FurnitureObject], seed: int = 0) -> dict[str, list[str]]:
    """Ids by split: `test_author` is one set held out whole; `test` and `val` are spread over the kinds.

    One author's objects with the same name but for its digits (`Double window 3 panes`, `... 4 panes`) stay
    together, so that no test object has a twin in training. The order comes from a hash of path and seed.
    """
    held_out = [o.identity for o in objects if o.set_name == HELD_OUT_SET]
    families: dict[str, dict[str, list[FurnitureObject]]] = defaultdict(lambda: defaultdict(list))
    for o in sorted((o for o in objects if o.set_name != HELD_OUT_SET), key=lambda o: _hash(seed, o.path)):
        families[o.kind][
            f"{o.set_name}/{o.creator}/{re.sub(r'[^a-z]+', ' ', o.name.lower()).strip()}"
        ].append(o)
    # Small families first: one window family must not fill its kind's share.
    queues = {
        kind: sorted(groups.values(), key=lambda group: (not any(o.demo for o in group), len(group) > 2))
        for kind, groups in families.items()
    }
    total = sum(len(group) for groups in queues.values() for group in groups)
    chosen: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    shares = {"test": TEST_OBJECTS / total, "val": VAL_OBJECTS / total}
    for kind in sorted(queues):
        count = sum(len(group) for group in queues[kind])
        taken = {"test": 0, "val": 0}
        for group in queues[kind]:
            split = "train"
            if any(o.demo for o in group) or taken["test"] < max(1, round(shares["test"] * count)):
                split = "test"
            elif taken["val"] < max(1, round(shares["val"] * count)):
                split = "val"
            chosen[split] += [o.identity for o in group]
            if split != "train":
                taken[split] += len(group)
    return {**{name: sorted(members) for name, members in chosen.items()}, "test_author": sorted(held_out)}


def hold_out_category(
    splits: Mapping[str, Sequence[str]], objects: Iterable[FurnitureObject], category: str
) -> dict[str, list[str]]:
    """The same splits without a category, whose objects become the split `test_category`.

    Raises `ConfigError` for a category that no object of the splits is of, naming those that there are.
    """
    category_of = {o.identity: o.category for o in objects}
    held_out = [i for members in splits.values() for i in members if category_of[i] == category]
    if not held_out:
        known = sorted({category_of[i] for members in splits.values() for i in members})
        raise ConfigError(f"there is no category {category!r} among the objects. {nearest(category, known)}")
    kept = {name: [i for i in members if category_of[i] != category] for name, members in splits.items()}
    return {**kept, "test_category": sorted(held_out)}


def fetch_package(work: Path, deb: Path | None = None) -> Path:
    """Unpacks the package's archives below `work` (downloads the package first unless `deb` is given).

    Returns:
        The folder with one folder for each set.

    Raises:
        MissingDependencyError: `apt-get` or `dpkg-deb` isn't there.
        DataError: the download or the unpacking failed, or the package isn't the one we know.
    """
    unpacked = work / "objects"
    if (unpacked / "complete").is_file():
        return unpacked
    package = unpack_debian(PACKAGE, work, deb, advice="or fetch it by hand and give it with --deb")
    extract_archives(package, unpacked)
    shutil.rmtree(package)
    return unpacked


def extract_archives(package: Path, destination: Path) -> Path:
    """Unpacks every `.sh3f` below `package` into a folder of its own name below `destination`."""
    archives = sorted(package.rglob("*.sh3f"))
    if not archives:
        raise DataError(f"no .sh3f archive below {package}; is this the package {PACKAGE}?")
    for archive in archives:
        try:
            with zipfile.ZipFile(archive) as content:
                content.extractall(destination / archive.stem)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{archive} can't be unpacked: {error}") from error
    (destination / "complete").touch()
    return destination


def find_sources(
    objects: Iterable[FurnitureObject], folder: Path
) -> dict[str, tuple[Path, tuple[float, ...] | None]]:
    """Id -> (OBJ file, rotation) for `load_furniture`.

    Raises:
        SceneNotFoundError: an object of the index isn't in the folder.
    """
    sources = {o.identity: (folder / o.path, o.rotation) for o in objects}
    missing = [str(path) for path, _ in sources.values() if not path.is_file()]
    if missing:
        raise SceneNotFoundError(
            f"{len(missing)} objects of the index aren't there, the first is {missing[0]}; "
            f"give version 1.8 of {PACKAGE}"
        )
    return sources


def load_furniture(source: tuple[Path, tuple[float, ...] | None]) -> Mesh:
    """The mesh of one object, upright and facing -y."""
    path, rotation = source
    mesh = load_mesh(path)
    return mesh if rotation is None else mesh.rotated(z_up_rotation(list(rotation)))


def credits(objects: Iterable[FurnitureObject], splits: Mapping[str, Sequence[str]]) -> str:
    """A Markdown page that names author and licence of every object in the splits."""
    split_of = {identity: split for split, members in splits.items() for identity in members}
    lines = [
        "# Credits",
        "",
        f"Pictures of 3D models from Debian's package [`{PACKAGE}`]({PACKAGE_PAGE}),",
        "rendered by `scripts/make_scenes.py`.",
        "Each model belongs to its author and comes under the licence named beside it:",
        ", ".join(f"[{name}]({page})" for name, page in LICENCES.items()) + ".",
        "Changes: scaled, turned upright, lit and rendered from many sides.",
        "",
        "| scene | object | author | licence | split | file |",
        "|---|---|---|---|---|---|",
    ]
    for o in sorted(objects, key=lambda o: o.identity):
        if o.identity in split_of:
            cells = (o.identity, o.name, o.creator, o.licence, split_of[o.identity], f"`{o.path}`")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _hash(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}/{text}".encode()).hexdigest()
