"""Makes scenes to learn from: posed RGBA pictures of furniture, of procedural shapes, or of your own meshes.

python scripts/make_scenes.py furniture --output outputs/scenes/furniture64
python scripts/make_scenes.py shapes --output outputs/scenes/shapes64 --categories cars --count 1000
python scripts/make_scenes.py meshes my_meshes --output outputs/scenes/mine
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from vnp_core.errors import ConfigError, InterruptedRunError, exit_on_error, with_exit_codes
from vnp_nerf.console import Speech, SpeechFlags, Voice, speaking
from vnp_nerf.making import furniture, meshes, shapes
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.writer import CategoryReport, WriterConfig, made_splits, write_category, write_text

INDEX = Path(__file__).resolve().parent.parent / "data" / "furniture_index.json"


@dataclass
class Common:
    """What every made scene has."""

    output: Path
    """Folder of the collection; a begun one is resumed."""
    views: int = 40
    """Pictures of each object."""
    size: int = 64
    """Height and width of a picture in pixels."""
    processes: int = os.cpu_count() or 1
    """How many objects are rendered at a time."""
    seed: int = 0
    """Of everything that is drawn at random."""
    lowest: float = -10.0
    """Lowest elevation of a camera above the horizon, in degrees."""
    highest: float = 60.0
    """Highest elevation of a camera, in degrees."""
    distance: float = 4.0
    """Of the cameras from the object, whose bounding ball has radius 1."""
    field_of_view: float = 30.0
    """Of the cameras, in degrees."""
    aside: float = 0.0
    """Angle by which each camera looks past the object's middle, to a random side of it, in degrees."""
    roll: float = 0.0
    """Greatest angle by which a camera is turned about the axis that it looks along, in degrees."""
    supersampling: int = 2
    """Rays a pixel along each axis."""
    depth: bool = False
    """Also write 16-bit pictures of the distance along each pixel's ray."""
    strict: bool = False
    """Stop at the first object that can't be rendered, instead of leaving it out."""
    speech: SpeechFlags = dataclasses.field(default_factory=Speech)
    """What is printed."""

    def writer_config(self) -> WriterConfig:
        """The options above as the writer takes them."""
        orbit = Orbit(
            self.views,
            self.distance,
            self.field_of_view,
            self.lowest,
            self.highest,
            self.aside,
            self.roll,
        )
        return WriterConfig(orbit, self.size, self.supersampling, self.depth, self.seed)


@dataclass
class Furniture(Common):
    """Real textured objects of Debian's package sweethome3d-furniture; CREDITS.md names the authors."""

    deb: Path | None = None
    """The package file, when it shouldn't be downloaded."""
    package_dir: Path | None = None
    """The unpacked package: a folder with .sh3f files somewhere below."""
    work: Path | None = None
    """Where the package is unpacked (about 400 MB, kept for the next run); by default OUTPUT/.package."""
    demo: bool = False
    """Only the dozen CC0 objects of data/demo, which are all in the test split."""
    held_out_category: str | None = None
    """A category, such as Vehicles, that no object of training, validation or the other tests is of: its
    objects become the split test_category."""
    index: Path = INDEX
    """List of the package's objects."""

    def make(self, voice: Voice) -> None:
        """Renders them."""
        objects = furniture.clean_objects(furniture.read_index(self.index))
        work = self.work or self.output / ".package"
        with voice.waiting("fetching and unpacking the package"):
            if self.package_dir is not None:
                folder = furniture.extract_archives(self.package_dir, work / "objects")
            else:
                folder = furniture.fetch_package(work, self.deb)
        # Whatever the seed of the cameras: an object that weights were trained on is never tested on.
        splits = furniture.split_objects(objects)
        if self.held_out_category is not None:
            splits = furniture.hold_out_category(splits, objects, self.held_out_category)
        if self.demo:
            shown = {o.identity for o in objects if o.demo}
            splits = {"test": [identity for identity in splits["test"] if identity in shown]}
        sources = furniture.find_sources(objects, folder)
        _write(voice, self, "furniture", splits, sources, furniture.load_furniture)
        write_text(self.output / "CREDITS.md", furniture.credits(objects, splits))


@dataclass
class Shapes(Common):
    """Procedural cars, chairs, lamps and tables in any number."""

    count: int = 1000
    """Objects of each category."""
    categories: tuple[str, ...] = tuple(shapes.BUILDERS)
    """Which of cars, chairs, lamps, tables."""
    splits: tuple[str, ...] = ("train", "val", "test")
    """Which of train, val, test: the last two are a seventh of all objects, and all that scoring needs."""

    def make(self, voice: Voice) -> None:
        """Renders them."""
        if not self.splits or set(self.splits) - {"train", "val", "test"}:
            raise ConfigError(f"--splits {list(self.splits)}: name one or more of train, val, test")
        wanted = {category: shapes.identities(category, self.count) for category in self.categories}
        for category, identities in wanted.items():
            sources = {
                name: shapes.ShapeSource(category, self.seed, index) for index, name in enumerate(identities)
            }
            splits = shapes.split_identities(identities)
            made = made_splits(self.output, category)
            chosen = {name: members for name, members in splits.items() if name in {*self.splits, *made}}
            _write(voice, self, category, chosen, sources, shapes.load_shape)


@dataclass
class Meshes(Common):
    """Any folder of mesh files: OBJ, GLB, PLY, STL and whatever else trimesh loads."""

    folder: tyro.conf.Positional[Path] = dataclasses.field(kw_only=True)
    """Where the files are, at any depth."""
    category: str = "objects"
    """Name of the collection's category."""
    up: Annotated[str | None, tyro.conf.arg(metavar="{y,z}")] = None
    """The files' upward axis; by default y for OBJ and glTF and z for the others."""

    def make(self, voice: Voice) -> None:
        """Renders them."""
        files = meshes.mesh_files(self.folder)
        sources = meshes.mesh_sources(files, self.folder, self.up)
        _write(
            voice, self, self.category, meshes.split_sources(sources), sources, meshes.load_source, up=self.up
        )


def _write(
    voice: Voice,
    common: Common,
    category: str,
    splits: Mapping[str, Sequence[str]],
    sources: Mapping[str, Any],
    load: Callable[[Any], Mesh],
    **making: Any,
) -> None:
    """Renders one category under a progress bar and says what came of it. making: what else decides how its
    scenes look.
    """
    with voice.progress(category, "scenes") as report:
        made = write_category(
            common.output,
            category,
            splits,
            sources,
            load,
            common.writer_config(),
            processes=common.processes,
            strict=common.strict,
            making=making,
            on_progress=lambda done, total: report(done, total=total),
        )
    _tell(voice, common.output, category, splits, made)


def _tell(
    voice: Voice, root: Path, category: str, splits: Mapping[str, Sequence[str]], made: CategoryReport
) -> None:
    for identity, reason in made.failed.items():
        voice.say(f"left out: {identity}: {reason}", style="yellow")
    counts = {
        name: sum(identity not in made.failed for identity in members) for name, members in splits.items()
    }
    told = {"folder": str(root / category), "splits": counts, "written": len(made.written)}
    told |= {"present": len(made.present), "failed": dict(made.failed)}
    voice.made(categories=[*voice.facts.get("categories", []), told])
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    voice.say(
        f"{root / category}: {words}; {len(made.written)} written now, {len(made.present)} were there, "
        f"{len(made.failed)} left out"
    )


def main() -> None:
    """The command line."""
    with exit_on_error():
        options = tyro.cli(Furniture | Shapes | Meshes, description=with_exit_codes(__doc__))  # pyright: ignore
        try:
            with speaking("make_scenes", options.speech) as voice:
                options.make(voice)
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here", file=sys.stderr)
            raise SystemExit(InterruptedRunError.exit_code) from None


if __name__ == "__main__":
    main()
