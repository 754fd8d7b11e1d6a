"""Makes scenes to learn from: posed RGBA pictures of furniture, of procedural shapes, or of your own meshes.

python scripts/make_scenes.py furniture --output outputs/scenes/furniture64
python scripts/make_scenes.py shapes --output outputs/scenes/shapes64 --categories cars --count 1000
python scripts/make_scenes.py meshes my_meshes --output outputs/scenes/mine
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vnp_core.errors import exit_on_error
from vnp_nerf.making import furniture, meshes, shapes
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.making.mesh import Mesh
from vnp_nerf.making.writer import CategoryReport, WriterConfig, write_category, write_text

INDEX = Path(__file__).resolve().parent.parent / "data" / "furniture_index.json"
CONSOLE = Console()


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
    supersampling: int = 2
    """Rays a pixel along each axis."""
    depth: bool = False
    """Also write 16-bit pictures of the distance along each pixel's ray."""
    strict: bool = False
    """Stop at the first object that can't be rendered, instead of leaving it out."""

    def writer_config(self) -> WriterConfig:
        """The options above as the writer takes them."""
        orbit = Orbit(self.views, self.distance, self.field_of_view, self.lowest, self.highest)
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
    index: Path = INDEX
    """List of the package's objects."""

    def make(self) -> None:
        """Renders them."""
        objects = furniture.clean_objects(furniture.read_index(self.index))
        work = self.work or self.output / ".package"
        with CONSOLE.status("fetching and unpacking the package"):
            if self.package_dir is not None:
                folder = furniture.extract_archives(self.package_dir, work / "objects")
            else:
                folder = furniture.fetch_package(work, self.deb)
        splits = furniture.split_objects(objects, self.seed)
        if self.demo:
            shown = {o.identity for o in objects if o.demo}
            splits = {"test": [identity for identity in splits["test"] if identity in shown]}
        sources = furniture.find_sources(objects, folder)
        _write(self, "furniture", splits, sources, furniture.load_furniture)
        write_text(self.output / "CREDITS.md", furniture.credits(objects, splits))


@dataclass
class Shapes(Common):
    """Procedural cars, chairs, lamps and tables in any number."""

    count: int = 1000
    """Objects of each category."""
    categories: tuple[str, ...] = tuple(shapes.BUILDERS)
    """Which of cars, chairs, lamps, tables."""

    def make(self) -> None:
        """Renders them."""
        wanted = {category: shapes.identities(category, self.count) for category in self.categories}
        for category, identities in wanted.items():
            sources = {
                name: shapes.ShapeSource(category, self.seed, index) for index, name in enumerate(identities)
            }
            _write(self, category, shapes.split_identities(identities), sources, shapes.load_shape)


@dataclass
class Meshes(Common):
    """Any folder of mesh files: OBJ, GLB, PLY, STL and whatever else trimesh loads."""

    folder: tyro.conf.Positional[Path] = dataclasses.field(kw_only=True)
    """Where the files are, at any depth."""
    category: str = "objects"
    """Name of the collection's category."""
    up: Annotated[str | None, tyro.conf.arg(metavar="{y,z}")] = None
    """The files' upward axis; by default y for OBJ and glTF and z for the others."""

    def make(self) -> None:
        """Renders them."""
        files = meshes.mesh_files(self.folder)
        sources = meshes.mesh_sources(files, self.folder, self.up)
        _write(self, self.category, meshes.split_sources(sources, self.seed), sources, meshes.load_source)


def _write(
    common: Common,
    category: str,
    splits: Mapping[str, Sequence[str]],
    sources: Mapping[str, Any],
    load: Callable[[Any], Mesh],
) -> None:
    """Renders one category under a progress bar and says what came of it."""
    columns = (
        TextColumn(category),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("scenes"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=CONSOLE) as progress:
        task = progress.add_task(category, total=None)
        report = write_category(
            common.output,
            category,
            splits,
            sources,
            load,
            common.writer_config(),
            processes=common.processes,
            strict=common.strict,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    _tell(common.output, category, splits, report)


def _tell(root: Path, category: str, splits: Mapping[str, Sequence[str]], report: CategoryReport) -> None:
    for identity, reason in report.failed.items():
        CONSOLE.print(f"left out: {identity}: {reason}", style="yellow", markup=False)
    counts = ", ".join(
        f"{sum(identity not in report.failed for identity in members)} {name}"
        for name, members in splits.items()
    )
    CONSOLE.print(
        f"{root / category}: {counts}; {len(report.written)} written now, {len(report.present)} were there, "
        f"{len(report.failed)} left out",
        markup=False,
    )


def main() -> None:
    """The command line."""
    with exit_on_error():
        try:
            tyro.cli(Furniture | Shapes | Meshes, description=__doc__).make()  # pyright: ignore
        except KeyboardInterrupt:
            CONSOLE.print("stopped; the same command goes on from here")
            raise SystemExit(130) from None


if __name__ == "__main__":
    main()
