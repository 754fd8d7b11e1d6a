"""What a radiance field costs: time and memory of encoding, baking, frames, draws and training steps.

    python scripts/bench_speed.py --output docs/results/speed.json --figure docs/results/speed.png

All times are of the fastest of a few runs, all memory is the most that tensors held at once beyond weights
and inputs. The reference is the paper's model with random weights, which is the same arithmetic, rendered in
the paper's manner: the context is encoded again for each chunk of 1,024 rays. Chunks cost the same, so a
picture's cost is that of one chunk times their number; its row says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from einops import rearrange
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vnp_core.bench.encoding_cost import fastest, peak_bytes
from vnp_core.bench.extra import import_extra
from vnp_core.errors import ConfigError, exit_on_error
from vnp_core.results import Row, Stopwatch, write_results
from vnp_nerf.baked_field import BakedField, bake
from vnp_nerf.batches import TrainBatch
from vnp_nerf.cameras import Cameras, orbit_cameras, picture_rays
from vnp_nerf.culled_field import CulledField, DrawnFields
from vnp_nerf.evaluation import pictures_over_white
from vnp_nerf.image_metrics import psnr
from vnp_nerf.library import load_model, weights_path
from vnp_nerf.memory_budget import MOST
from vnp_nerf.paper import PaperConfig, PaperModel
from vnp_nerf.protocol import SceneModel
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.readers import open_scene
from vnp_nerf.rendering import RayRenderer, render_picture
from vnp_nerf.scene import Scene
from vnp_nerf.views import Views

ROOT = Path(__file__).resolve().parents[1]
PAPER = "vnp-nerf-paper"
SLOW_RAYS = 1024
"""Rays at a time of the slow twin: few enough for the samples' features to stay in a processor's cache."""


@dataclass
class BenchSpeed:
    """Time and memory of one field, from its views to its frames."""

    weights: str = "furniture"
    """Shipped name or .safetensors file."""
    data: Path = ROOT / "data" / "demo" / "furniture" / "blendswap-cc-0-armchair"
    """The scene whose field is looked at."""
    views: tuple[int, ...] = (1, 2, 3, 5, 8)
    """Numbers of context views; frames are timed with `context` of them."""
    context: int = 3
    """Context views of the field whose frames are timed."""
    sizes: tuple[int, ...] = (64, 128, 256)
    """Heights and widths of square pictures, pixels."""
    size: int = 128
    """The one of `sizes` that the reference, the draws and the orbit are timed at."""
    bakes: tuple[int, ...] = (64, 128, 256)
    """Resolutions of baked fields."""
    draws: int = 16
    """Draws of the latents that are rendered together."""
    orbit: int = 120
    """Frames of the orbit."""
    orbit_bake: int = 128
    """The one of `bakes` that the orbit is rendered from."""
    queries: int = 4
    """Posed views, not of the context, on which the loss in dB of each way to render is measured."""
    reference: bool = True
    """Time the paper's model as well: minutes on a CPU."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where everything runs."""
    output: Path = Path("outputs/bench_speed/results.json")
    """Where the results go."""
    figure: Path | None = None
    """Where a figure of the curves goes."""
    seed: int = 0
    """Of draws and random weights."""


class Bench:
    """Collects rows while things are timed."""

    def __init__(self, model: str, device: torch.device, console: Console) -> None:
        self.model, self.device, self.console = model, device, console
        self.rows: list[Row] = []

    def note(
        self,
        task: str,
        condition: str,
        metric: str,
        value: float,
        model: str = "",
        stderr: float | None = None,
    ) -> None:
        """Keeps one number."""
        self.rows.append(Row(model or self.model, task, "speed", condition, metric, value, stderr, 1))

    def time(
        self,
        task: str,
        condition: str,
        work: Callable[[], object],
        *,
        model: str = "",
        least: int = 3,
        scale: int = 1,
        memory: bool = True,
    ) -> float:
        """Seconds, and bytes, of some work; `scale` times as many seconds where the work is but a part."""
        self.console.print(f"{model or self.model}: {task}, {condition}")

        def run() -> None:
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        seconds = fastest(run, least=least) * scale
        self.note(task, condition, "seconds", seconds, model)
        if memory:
            self.note(task, condition, "peak_bytes", peak_bytes(run, self.device), model)
        return seconds


def camera(size: int, device: torch.device) -> Cameras:
    """A camera that sees the whole ball from above and aside."""
    return orbit_cameras(1, 4.0, 25.0, 32.0, size, size).to(device)


def look(field: RayRenderer, cameras: Cameras, chunk: int = MOST) -> Tensor:
    """The first camera's picture."""
    height, width = cameras.sizes[0].tolist()
    pose, intrinsics = cameras.camera_to_world[0], cameras.intrinsics[0]
    return render_picture(field, pose, intrinsics, height, width, chunk=chunk).rgb


def training_batch(views: Views, rays: int, generator: torch.Generator) -> TrainBatch:
    """Rays through the first view of a scene that is its own target."""
    height, width = views.sizes[0, 0].tolist()
    origins, directions = picture_rays(views.camera_to_world[0, 0], views.intrinsics[0, 0], height, width)
    chosen = torch.randperm(height * width, generator=generator)[:rays].to(origins.device)
    origins, directions = (
        rearrange(part, "H W xyz -> 1 (H W) xyz")[:, chosen] for part in (origins, directions)
    )
    rgba = rearrange(views.rgba[:, 0, :, :height, :width], "1 C H W -> 1 (H W) C")[:, chosen]
    one = views.select_views([0])
    return TrainBatch(one, one, origins, directions, rgba, ["scene"])


def training_step(model: Any, batch: TrainBatch, generator: torch.Generator) -> None:
    """Forward and backward."""
    model.zero_grad()
    sum(model.loss_terms(model.train_outputs(batch, generator), batch, 0).values()).backward()


def reference_rows(bench: Bench, config: PaperConfig, views: Views, size: int, seed: int) -> float:
    """Seconds of a picture by the paper's model in the paper's manner; rows of that, and of encoding once."""
    torch.manual_seed(seed)
    model = PaperModel(config).eval().to(bench.device)
    one = views.select_views([0])
    cameras = camera(size, bench.device)
    rays = [
        rearrange(part, "H W xyz -> (H W) xyz")[: config.chunk_rays]
        for part in picture_rays(cameras.camera_to_world[0], cameras.intrinsics[0], size, size)
    ]
    chunks = -(-size * size // config.chunk_rays)
    condition = f"size={size},views=1,samples={config.samples},timed=1 chunk of {chunks}"

    def paper_manner() -> None:
        model.infer_field(model.encode(one)).render(*rays)

    with torch.inference_mode():
        seconds = bench.time(
            "frame", f"{condition},manner=paper", paper_manner, model=PAPER, least=1, scale=chunks
        )
        once = bench.time("encode", "views=1", lambda: model.encode(one), model=PAPER)
        field = model.infer_field(model.encode(one))
        kept = bench.time(
            "frame",
            f"{condition},manner=encoded once",
            lambda: field.render(*rays),
            model=PAPER,
            least=1,
            scale=chunks,
        )
    bench.note("frame", f"size={size},manner=encoded once", "ratio_reference", seconds / (kept + once), PAPER)
    return seconds


def field_rows(
    bench: Bench, model: RadianceModel, scene: Scene, config: BenchSpeed
) -> dict[str, RayRenderer]:
    """Encoding, deciding what is empty, and baking; gives each way to look at the field."""
    everything = Views.from_scene(scene, range(max(*config.views, config.context))).to(bench.device)
    for count in config.views:
        views = everything.select_views(slice(count))
        bench.time("encode", f"views={count}", lambda views=views: model.encode(views))

        def ready(views: Views = views) -> None:
            CulledField(model.infer_field(model.encode(views)))

        bench.time("ready field", f"views={count}", ready)
    slow = model.infer_field(model.encode(everything.select_views(slice(config.context))))
    culled = CulledField(slow)
    ways: dict[str, RayRenderer] = {"slow": slow, "culled": culled}
    for resolution in config.bakes:
        bench.time(
            "bake",
            f"views={config.context},resolution={resolution}",
            lambda resolution=resolution: BakedField(
                bake(culled, model.config.radius, resolution, bench.device)
            ),
            least=1,
        )
        ways[f"baked {resolution}"] = BakedField(bake(culled, model.config.radius, resolution, bench.device))
    return ways


def frame_rows(
    bench: Bench, ways: dict[str, RayRenderer], sizes: Sequence[int], reference: dict[int, float]
) -> None:
    """Each next frame, by way and size."""
    for way, field in ways.items():
        chunk = SLOW_RAYS if way == "slow" else MOST
        for size in sizes:
            cameras = camera(size, bench.device)
            condition = f"size={size},way={way}"
            seconds = bench.time("frame", condition, lambda f=field, c=cameras, n=chunk: look(f, c, n))
            if size in reference:
                bench.note("frame", condition, "ratio_reference", reference[size] / seconds)


def loss_rows(bench: Bench, ways: dict[str, RayRenderer], query: Views) -> None:
    """What each way loses against the slow twin, dB of PSNR, as a mean over posed views."""
    truths = pictures_over_white(query)
    scores: dict[str, list[float]] = {}
    for way, field in ways.items():
        for view, truth in enumerate(truths):
            cameras = Cameras(query.camera_to_world[0], query.intrinsics[0], query.sizes[0])[view]
            scores.setdefault(way, []).append(
                psnr(look(field, cameras, SLOW_RAYS if way == "slow" else MOST), truth)
            )
    for way, values in scores.items():
        lost = [best - value for best, value in zip(scores["slow"], values, strict=True)]
        bench.note("frame", f"way={way},pictures={len(lost)}", "psnr", sum(values) / len(values))
        bench.note("frame", f"way={way},pictures={len(lost)}", "psnr_lost", sum(lost) / len(lost))


def draw_rows(bench: Bench, model: RadianceModel, views: Views, draws: int, size: int, seed: int) -> None:
    """K draws together, from the views to their pictures, against one encoding and K times one draw."""
    cameras = camera(size, bench.device)

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    encoded = model.encode(views)
    one = bench.time(
        "draw",
        f"size={size},draws=1,encoded",
        lambda: look(CulledField(model.infer_field(encoded, generator=generator())), cameras),
    )
    encode = bench.time("encode", f"views={views.count}", lambda: model.encode(views))
    together = bench.time(
        "draw",
        f"size={size},draws={draws}",
        lambda: look(DrawnFields.infer(model, model.encode(views), draws, generator()), cameras),
        least=1,
    )
    bench.note("draw", f"size={size},draws={draws}", "ratio_one_by_one", together / (encode + draws * one))


def training_rows(bench: Bench, models: dict[str, SceneModel], views: Views, seed: int) -> None:
    """A step of one scene and 128 rays, forward and backward, without the optimiser."""
    generator = torch.Generator(bench.device).manual_seed(seed)
    batch = training_batch(views, 128, torch.Generator().manual_seed(seed))
    for name, model in models.items():
        config = model.config
        samples = config.samples if isinstance(config, PaperConfig) else config.train_samples
        condition = f"scenes=1,rays=128,samples={samples},views=1"
        bench.time(
            "training step",
            condition,
            lambda m=model: training_step(m, batch, generator),
            model=name,
            least=2,
        )


def draw_figure(path: Path, rows: Sequence[Row], model: str) -> None:
    """Seconds a frame against pixels, and seconds to a ready field against views."""
    figure = import_extra("matplotlib.figure").Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    timed = [row for row in rows if row.metric == "seconds" and row.model == model]
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in timed:
        condition = dict(part.split("=", 1) for part in row.condition.split(",") if "=" in part)
        if row.task == "frame" and "way" in condition:
            curves.setdefault(condition["way"], []).append((int(condition["size"]), row.value))
    for way, points in curves.items():
        left.loglog(*zip(*sorted(points), strict=True), marker="o", markersize=3, label=way)
    sizes = sorted({size for points in curves.values() for size, _ in points})
    left.set(xlabel="pixels a side", ylabel="seconds a frame")
    left.set_xticks(sizes, labels=[str(size) for size in sizes])
    left.minorticks_off()
    for task in ("encode", "ready field"):
        points = {int(row.condition.removeprefix("views=")): row.value for row in timed if row.task == task}
        right.plot(*zip(*sorted(points.items()), strict=True), marker="o", markersize=3, label=task)
    right.set(xlabel="context views", ylabel="seconds", ylim=(0, None))
    for axis in (left, right):
        axis.legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial{path.suffix}")
    figure.savefig(temporary, dpi=130)
    temporary.replace(path)


def print_table(rows: Sequence[Row], console: Console) -> None:
    """All numbers."""
    table = Table("model", "task", "condition", "metric", "value", box=None)
    for row in rows:
        bytes_of = row.metric == "peak_bytes"
        shown = f"{row.value / 2**20:.1f} MiB" if bytes_of else f"{row.value:.4g}"
        table.add_row(row.model, row.task, row.condition, row.metric, shown)
    console.print(table)


def main(config: BenchSpeed) -> None:
    if config.size not in config.sizes or config.orbit_bake not in config.bakes:
        raise ConfigError(
            f"--size {config.size} is to be one of --sizes {config.sizes}, "
            f"and --orbit-bake {config.orbit_bake} one of --bakes {config.bakes}"
        )
    console = Console()
    if config.figure is not None:
        import_extra("matplotlib.figure")  # before the minutes, not after them
    stopwatch = Stopwatch("bench_speed", config.seed, config.device)
    device = torch.device(config.device)
    model, _ = load_model(config.weights)
    if not isinstance(model, RadianceModel):
        raise ConfigError(f"--weights {config.weights} are of the paper's model, which is the reference here")
    model, scene = model.to(device), open_scene(config.data)
    bench = Bench(weights_path(config.weights).stem, device, console)
    context = Views.from_scene(scene, range(config.context)).to(device)
    training: dict[str, SceneModel] = {bench.model: model}
    reference: dict[int, float] = {}
    if config.reference:
        paper = PaperConfig()
        reference[config.size] = reference_rows(bench, paper, context, config.size, config.seed)
        training[PAPER] = PaperModel(paper).to(device)
    with torch.inference_mode():
        ways = field_rows(bench, model, scene, config)
        frame_rows(bench, ways, config.sizes, reference)
        query = Views.from_scene(scene, range(config.context, config.context + config.queries)).to(device)
        loss_rows(bench, ways, query)
        draw_rows(bench, model, context, config.draws, config.size, config.seed)
        baked = ways[f"baked {config.orbit_bake}"]
        cameras = orbit_cameras(config.orbit, 4.0, 25.0, 32.0, config.size, config.size).to(device)
        bench.time(
            "orbit",
            f"size={config.size},frames={config.orbit},way=baked {config.orbit_bake}",
            lambda: [look(baked, cameras[frame]) for frame in range(config.orbit)],
            least=1,
            memory=False,
        )
    training_rows(bench, training, context, config.seed)
    results = stopwatch.results(bench.rows)
    print_table(results.rows, console)
    write_results(config.output, results)
    console.print(
        f"\nthe process held {results.peak_bytes / 2**30:.2f} GiB at most\nresults: {config.output}"
    )
    if config.figure is not None:
        draw_figure(config.figure, results.rows, bench.model)
        console.print(f"figure: {config.figure}")


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(BenchSpeed, description=__doc__))
