"""Makes the pictures of docs/gallery.md anew, with the weights that ship.

    python scripts/make_gallery.py

Needs the extra `bench`. Fashion-MNIST, for the completions, is fetched once and kept under --cache.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import tyro
from rich.console import Console

import vnp_nerf
from vnp_core.bench.completion import complete
from vnp_core.bench.families import TEST_SEED, X_RANGE
from vnp_core.bench.figures import draw_predictions
from vnp_core.bench.panels import nested_contexts, prediction_panels
from vnp_core.bench.picture_figures import draw_completions
from vnp_core.bench.systems import load_system
from vnp_core.errors import exit_on_error
from vnp_core.model import Process
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks, KernelName
from vnp_core.tasks.picture_data import Opening, open_pictures
from vnp_core.tasks.picture_tasks import PictureTasks, PictureTasksConfig
from vnp_core.tasks.task import step_generator
from vnp_nerf.contact_sheets import contact_sheet, write_png
from vnp_nerf.gallery import Exhibit, hidden_sides, sigmas, turntables, write_gif
from vnp_nerf.making import shapes
from vnp_nerf.making.writer import WriterConfig, write_category
from vnp_nerf.pictures import read_rgba

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "data" / "weights"
FURNITURE = ("armchair", "cartoon-biplane", "chicken", "cupcake", "teddybear")
KERNELS: tuple[KernelName, ...] = ("rbf", "matern52", "periodic")


@dataclass
class MakeGallery:
    """Turntables, hidden sides, sigma, functions of one variable, and completed pictures."""

    output: Path = ROOT / "docs" / "gallery"
    """Folder of the pictures; those of before are replaced."""
    cache: Path = Path("outputs/data")
    """Where Fashion-MNIST is kept."""
    frames: int = 24
    """Frames of a turn."""
    seed: int = 0
    """Makes functions, known pixels and their draws; those of objects have the seeds 0, 1, ..."""


def main(config: MakeGallery) -> None:
    console, out = Console(), config.output
    furniture = furniture_exhibits()
    with console.status("turntables"), tempfile.TemporaryDirectory() as folder:
        exhibits = [*furniture, *car_exhibits(Path(folder), 2)]
        write_gif(out / "turntables.gif", turntables(exhibits, (1, 3), config.frames), seconds=4)
    with console.status("hidden sides and sigma"):
        sheet = contact_sheet(hidden_sides(furniture, draws=4), "One view, and what may be on the other side")
        write_png(out / "hidden-sides.png", sheet)
        rows = [row for exhibit in furniture[:2] for row in sigmas(exhibit, (1, 3, 8))]
        write_png(out / "sigma.png", contact_sheet(rows, "Where draws of the latents differ"))
    with console.status("functions and pictures"):
        draw_functions(out / "functions.png", config.seed)
        draw_pictures(out / "completions.png", config.seed, config.cache)
    for path in sorted(out.iterdir()):
        console.print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def furniture_exhibits() -> list[Exhibit]:
    """Objects of data/demo."""
    model, folder = vnp_nerf.load("furniture", "cpu"), ROOT / "data" / "demo" / "furniture"
    scenes = [vnp_nerf.open_scene(folder / f"blendswap-cc-0-{name}") for name in FURNITURE]
    return [Exhibit(model, scene) for scene in scenes]


def car_exhibits(folder: Path, count: int) -> list[Exhibit]:
    """The first cars of the test split, made anew in a folder."""
    identities = shapes.identities("cars", 7)
    names = shapes.split_identities(identities)["test"][:count]
    sources = {name: shapes.ShapeSource("cars", 0, identities.index(name)) for name in names}
    write_category(folder, "cars", {"test": names}, sources, shapes.load_shape, WriterConfig(), strict=True)
    model = vnp_nerf.load("shapes-cars", "cpu")
    return [Exhibit(model, vnp_nerf.open_scene(folder / "cars" / name)) for name in names]


def draw_functions(path: Path, seed: int) -> None:
    """Functions of three processes that their weights never saw, from 3, 8 and 30 points."""
    sizes, columns = (3, 8, 30), []
    for kernel in KERNELS:
        system, model, _ = load_system(WEIGHTS / "1d" / f"vnp-{kernel}.safetensors")
        tasks = GaussianProcessConfig(kernel=kernel, batch_size=1).sized(max(sizes), 20)
        points = GaussianProcessTasks(tasks, seed + TEST_SEED).batch(0).everything
        models = {kernel: (cast(Process, model), system.draws)}
        columns.append(
            [
                panel
                for context, truth in nested_contexts(points, sizes)
                for panel in prediction_panels(models, context, truth, X_RANGE, seed=seed)
            ]
        )
    draw_predictions(path, list(zip(*columns, strict=True)))


def draw_pictures(path: Path, seed: int, cache: Path) -> None:
    """A picture that the weights never saw, completed from ever more of its pixels."""
    system, model, _ = load_system(WEIGHTS / "2d" / "vnp-fashion-mnist.safetensors")
    pictures = open_pictures("fashion-mnist", Opening(read_rgba, cache)).test
    height, width = pictures.size
    rows = []
    for known in (10, 50, 200):
        tasks = PictureTasksConfig(batch_size=1).sized(known, height * width - known)
        batch = PictureTasks("fashion-mnist", pictures, tasks, seed + TEST_SEED).batch(0)
        generator = step_generator(seed, 0)
        rows.append(complete(cast(Process, model), batch, pictures.size, system.draws, 4, generator))
    draw_completions(path, rows)


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(MakeGallery, description=__doc__))
