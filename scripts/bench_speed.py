"""What a radiance field costs: time and memory of encoding, baking, frames, draws and training steps.

    python scripts/bench_speed.py --output docs/results/speed.json --figure docs/results/speed.png

All times are of the fastest of a few runs, all memory is the most that tensors held at once beyond weights
and inputs. The reference is the paper's model, rendered in the paper's manner: see vnp_nerf/speed. Without
nerfstudio, on a GPU: --device cuda --parts throughput.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
import tyro
from rich.console import Console

from vnp_core.bench.extra import import_extra
from vnp_core.errors import ConfigError, exit_on_error, with_exit_codes
from vnp_core.precision import quick_in_bfloat16
from vnp_core.results import Stopwatch, write_results
from vnp_nerf.console import Voice
from vnp_nerf.execution import Execution, Precision
from vnp_nerf.library import load_model, weights_path
from vnp_nerf.paper import PaperConfig, PaperModel
from vnp_nerf.protocol import SceneModel
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.readers import holds_scene, open_scene
from vnp_nerf.rendering import RayRenderer
from vnp_nerf.scene import Scene
from vnp_nerf.speed.fields import bake_rows, draw_rows, encoding_rows, frame_rows, loss_rows, ways_to_look
from vnp_nerf.speed.figure import draw_figure, print_table
from vnp_nerf.speed.ledger import Ledger, cameras_around, look
from vnp_nerf.speed.reference import PAPER, reference_rows
from vnp_nerf.speed.throughput import picture_rows, scene_rows
from vnp_nerf.speed.training import training_rows
from vnp_nerf.views import Views

ROOT = Path(__file__).resolve().parents[1]
Part = Literal["reference", "encode", "bake", "frames", "losses", "draws", "orbit", "training", "throughput"]
ExecutionName = Literal["float32", "bfloat16", "compiled-float32", "compiled-bfloat16"]


@dataclass
class BenchSpeed:
    """Time and memory of one field, from its views to its frames."""

    parts: tuple[Part, ...] = (
        "reference",
        "encode",
        "bake",
        "frames",
        "losses",
        "draws",
        "orbit",
        "training",
    )
    """What to time. The reference takes minutes on a CPU; throughput is of many pictures at once."""
    weights: str = "furniture"
    """Shipped name or .safetensors file."""
    data: Path = ROOT / "data" / "demo" / "furniture" / "blendswap-cc-0-armchair"
    """The scene whose field is looked at. Losses are measured on its neighbours, in the same folder, too."""
    views: tuple[int, ...] = (1, 2, 3, 5, 8)
    """Numbers of context views; frames are timed with `context` of them."""
    context: int = 3
    """Context views of the field whose frames are timed."""
    sizes: tuple[int, ...] = (64, 128, 256)
    """Heights and widths of square pictures, pixels."""
    size: int = 128
    """The one of `sizes` that the reference, the draws, the orbit and throughput are timed at."""
    executions: tuple[ExecutionName, ...] = ("float32", "bfloat16")
    """Ways to run the culled field's network; compiling takes minutes on a CPU."""
    bakes: tuple[int, ...] = (64, 128, 256)
    """Resolutions of baked fields."""
    draws: tuple[int, ...] = (1, 4, 16)
    """Numbers of draws of the latents that are rendered together."""
    orbit: int = 120
    """Frames of the orbit."""
    orbit_bake: int = 128
    """The one of `bakes` that the orbit is rendered from."""
    loss_scenes: int = 6
    """Scenes on which the loss in dB of each way to render is measured."""
    queries: int = 2
    """Posed views of each of them, not of the context, that it is measured on."""
    scenes: int = 32
    """Scenes that are encoded in one batch to measure throughput: the one, over and over."""
    pictures: int = 64
    """Pictures that are rendered in one batch to measure throughput."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where everything runs."""
    output: Path = Path("outputs/bench_speed/results.json")
    """Where the results go."""
    figure: Path | None = None
    """Where a figure of the curves goes."""
    seed: int = 0
    """Of draws and random weights."""

    def __post_init__(self) -> None:
        if self.size not in self.sizes or self.orbit_bake not in self.bakes:
            raise ConfigError(
                f"--size {self.size} is to be one of --sizes {self.sizes}, "
                f"and --orbit-bake {self.orbit_bake} one of --bakes {self.bakes}"
            )


def main(config: BenchSpeed) -> None:
    console = Console()
    if config.figure is not None:
        import_extra("matplotlib.figure")  # before the minutes, not after them
    stopwatch = Stopwatch("bench_speed", config.seed, config.device)
    device = torch.device(config.device)
    model, _ = load_model(config.weights)
    if not isinstance(model, RadianceModel):
        raise ConfigError(f"--weights {config.weights} are of the paper's model, which is the reference here")
    model, scene = model.to(device), open_scene(config.data)
    neighbours = _neighbours(config) if "losses" in config.parts else []
    total = sum(steps_of(part, config, len(neighbours)) for part in config.parts)
    with Voice().progress("timing", "steps", total) as report:
        ledger = Ledger(weights_path(config.weights).stem, device, report)
        measure(ledger, model, scene, neighbours, config)
    results = stopwatch.results(ledger.rows)
    print_table(results.rows, console)
    write_results(config.output, results)
    console.print(
        f"\nthe process held {results.peak_bytes / 2**30:.2f} GiB at most\nresults: {config.output}"
    )
    if config.figure is not None:
        draw_figure(config.figure, results.rows, ledger.model)
        console.print(f"figure: {config.figure}")


def steps_of(part: Part, config: BenchSpeed, neighbours: int) -> int:
    """How many things a part times, as its progress counts them."""
    ways = 1 + len(config.executions) + len(config.bakes)
    precisions = {Execution.named(name).precision for name in config.executions}
    return {
        "reference": 2 + len(get_args(Precision)),
        "encode": 3 * len(config.views),
        "bake": len(config.bakes),
        "frames": ways * len(config.sizes),
        "losses": neighbours,
        "draws": 2 + len(config.draws),
        "orbit": 1,
        "training": 1 + quick_in_bfloat16(config.device) + ("reference" in config.parts),
        "throughput": ways - 1 + len(precisions),
    }[part]


def measure(
    ledger: Ledger,
    model: RadianceModel,
    scene: Scene,
    neighbours: Sequence[tuple[Views, Views]],
    config: BenchSpeed,
) -> None:
    """All that was asked for, as rows of the ledger."""
    device = ledger.device
    context = Views.from_scene(scene, range(config.context)).to(device)
    reference: dict[int, float] = {}
    if "reference" in config.parts:
        reference[config.size] = reference_rows(ledger, PaperConfig(), context, config.size, config.seed)
    with torch.inference_mode():
        if "encode" in config.parts:
            views = Views.from_scene(scene, range(max(config.views))).to(device)
            encoding_rows(ledger, model, views, config.views, config.size)
        executions = [Execution.named(name) for name in config.executions]
        if "bake" in config.parts:
            bake_rows(ledger, model, context, config.bakes)
        if "losses" in config.parts:
            loss_rows(ledger, model, neighbours, config.bakes, executions)
        if {"frames", "orbit", "throughput"} & set(config.parts):
            _frames(ledger, ways_to_look(model, context, config.bakes, executions), config, reference)
        if "throughput" in config.parts:
            scene_rows(ledger, model, context, config.scenes, executions)
        if "draws" in config.parts:
            draw_rows(ledger, model, context, config.draws, config.size, config.seed)
    if "training" in config.parts:
        models: dict[str, SceneModel] = {ledger.model: model}
        if "reference" in config.parts:
            models[PAPER] = PaperModel(PaperConfig()).to(device)
        training_rows(ledger, models, context, config.seed)


def _frames(
    ledger: Ledger, ways: dict[str, RayRenderer], config: BenchSpeed, reference: dict[int, float]
) -> None:
    """Single frames, an orbit, and many pictures at once, as far as they are asked for."""
    if "frames" in config.parts:
        frame_rows(ledger, ways, config.sizes, reference)
    if "orbit" in config.parts:
        way = f"baked {config.orbit_bake}"
        cameras = cameras_around(config.orbit, config.size, ledger.device)
        ledger.time(
            "orbit",
            f"size={config.size},frames={config.orbit},way={way}",
            lambda: [look(ways[way], cameras[frame]) for frame in range(config.orbit)],
            least=1,
            memory=False,
        )
    if "throughput" in config.parts:
        fast = {way: field for way, field in ways.items() if way != "slow"}
        picture_rows(ledger, fast, config.size, config.pictures)


def _neighbours(config: BenchSpeed) -> list[tuple[Views, Views]]:
    """Context and views to score of scenes that lie beside the chosen one."""
    folders = [path for path in sorted(config.data.parent.iterdir()) if holds_scene(path)]
    chosen: list[tuple[Views, Views]] = []
    for path in folders[: config.loss_scenes]:
        views = Views.from_scene(open_scene(path), range(config.context + config.queries)).to(config.device)
        parts = slice(config.context), slice(config.context, None)
        chosen.append((views.select_views(parts[0]), views.select_views(parts[1])))
    return chosen


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(BenchSpeed, description=with_exit_codes(__doc__)))
