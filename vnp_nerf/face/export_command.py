"""`vnp-export`: the field of a run as a mesh, points, voxels, Gaussian splats or GLB; or a run's weights."""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
import tyro

from vnp_core.checkpoints import checkpoint_paths, save_weights
from vnp_core.config import to_dict
from vnp_core.errors import ConfigError, exit_on_error, with_exit_codes
from vnp_core.results import peak_bytes
from vnp_nerf import __version__
from vnp_nerf.console import Speech, SpeechFlags, speaking
from vnp_nerf.exporting.glb import write_glb
from vnp_nerf.exporting.grids import FieldGrid, OnPoints, field_to_grid
from vnp_nerf.exporting.meshes import grid_to_mesh, mesh_to_points
from vnp_nerf.exporting.new_files import refuse_existing
from vnp_nerf.exporting.ply import write_mesh, write_points
from vnp_nerf.exporting.splats import grid_to_splats, sigma_path, write_splats
from vnp_nerf.exporting.voxels import grid_to_voxels, write_voxels
from vnp_nerf.face.entry_points import check_nerfstudio
from vnp_nerf.face.opened_run import OpenedRun, open_run, run_weights
from vnp_nerf.frames import Similarity
from vnp_nerf.radiance_config import RadianceConfig

_Y_UP = Similarity(
    torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64),
    torch.zeros(3, dtype=torch.float64),
    1.0,
)


@dataclass
class FieldExport(ABC):
    """What all exports of a field can be told."""

    load_config: Path
    """The config.yml of a run that vnp-infer or ns-train wrote."""
    output: Path
    """The file to write; none is overwritten."""
    frame: Literal["world", "model"] = "world"
    """The frame and unit of length of the scene's own poses, or the model's."""
    draw: int | Literal["mean"] | None = None
    """Seed of the draw of the latents, or mean; what the run is set to, if not given."""
    sigma_draws: int = 8
    """Draws (seeds 0, 1, ...) that sigma is taken over; 0 leaves it at 0 and saves their time."""
    resolution: int = 128
    """Cells a side of the grid that the field is read on."""
    threshold: float | None = None
    """Density, per model unit, from which space counts as the object; the most fitting one, if not given."""

    speech: SpeechFlags = field(default_factory=Speech)
    """What is printed."""

    suffix: ClassVar[str] = ".ply"

    @abstractmethod
    def write(self, grid: FieldGrid, frame: Similarity, notes: dict[str, str]) -> None:
        """Writes the grid's field in the frame that `frame` leads to."""

    def outputs(self) -> tuple[Path, ...]:
        """All files that it writes."""
        return (self.output,)


@dataclass
class Mesh(FieldExport):
    """A closed surface by marching cubes, with colours and sigma at its vertices: PLY."""

    def write(self, grid: FieldGrid, frame: Similarity, notes: dict[str, str]) -> None:
        """See `FieldExport`."""
        write_mesh(self.output, grid_to_mesh(grid).moved(frame), notes)


@dataclass
class Points(FieldExport):
    """Points on that surface, with normals, colours and sigma: PLY."""

    count: int = 100_000
    """How many points."""
    seed: int = 0
    """What decides where on the surface they fall."""

    def write(self, grid: FieldGrid, frame: Similarity, notes: dict[str, str]) -> None:
        """See `FieldExport`."""
        mesh = grid_to_mesh(grid).moved(frame)
        write_points(self.output, mesh_to_points(mesh, self.count, np.random.default_rng(self.seed)), notes)


@dataclass
class Voxels(FieldExport):
    """The cells that the object fills, with density, colours and sigma: NPZ."""

    suffix: ClassVar[str] = ".npz"

    def write(self, grid: FieldGrid, frame: Similarity, notes: dict[str, str]) -> None:
        """See `FieldExport`."""
        write_voxels(self.output, grid_to_voxels(grid).moved(frame), notes)


@dataclass
class Splat(FieldExport):
    """Gaussian splats that splat viewers open: PLY, and a second file of their sigmas and origin."""

    def write(self, grid: FieldGrid, frame: Similarity, notes: dict[str, str]) -> None:
        """See `FieldExport`."""
        write_splats(self.output, grid_to_splats(grid).moved(frame), notes)

    def outputs(self) -> tuple[Path, ...]:
        """See `FieldExport`."""
        return (self.output, sigma_path(self.output))


@dataclass
class Glb(FieldExport):
    """The surface as binary glTF, with colours and sigma at its vertices."""

    y_up: bool = False
    """Turn it so that +z points where glTF viewers expect up, +y."""

    suffix: ClassVar[str] = ".glb"

    def write(self, grid: FieldGrid, frame: Similarity, notes: dict[str, str]) -> None:
        """See `FieldExport`."""
        mesh = grid_to_mesh(grid).moved(frame)
        if self.y_up:
            mesh, notes = mesh.moved(_Y_UP), {**notes, "turned": "z up to y up"}
        write_glb(self.output, mesh, notes)


@dataclass
class Weights:
    """The run's model as NAME.safetensors, and NAME.json with its configuration: what `vnp-infer --weights`
    takes.
    """

    load_config: Path
    """The run's config.yml."""
    output: Path
    """NAME.safetensors."""
    bfloat16: bool = False
    """Store them in half the size, rounded to 8 bits of precision."""
    speech: SpeechFlags = field(default_factory=Speech)
    """What is printed."""


Export = Mesh | Points | Voxels | Splat | Glb | Weights
_COMMANDS = {
    "mesh": Mesh,
    "points": Points,
    "voxels": Voxels,
    "splat": Splat,
    "glb": Glb,
    "weights": Weights,
}


def export(options: Export, on_points: OnPoints = lambda done, total: None) -> tuple[Path, ...]:
    """Writes the files and returns their paths; `on_points` is told how far reading the field is.

    Raises a `VNPError`, and writes nothing, for bad input.
    """
    if isinstance(options, Weights):
        return _export_weights(options)
    if options.output.suffix != options.suffix:
        raise ConfigError(f"{options.output}: the name of this export must end in {options.suffix}")
    refuse_existing(*options.outputs())
    if options.sigma_draws < 0 or options.sigma_draws == 1:
        raise ConfigError(f"{options.sigma_draws} draws have no spread: give 0, or 2 or more --sigma-draws")
    run = open_run(options.load_config, "cuda" if torch.cuda.is_available() else "cpu")
    frame = run.scene.frame.inverse() if options.frame == "world" else Similarity.identity()
    grid = _grid(options, run, on_points)
    options.write(grid, frame, _notes(options, run, grid))
    return options.outputs()


def main() -> None:
    """The console script."""
    with exit_on_error():
        check_nerfstudio()
        options = tyro.extras.subcommand_cli_from_dict(
            _COMMANDS, prog="vnp-export", description=with_exit_codes(__doc__)
        )
        with speaking("vnp-export", options.speech) as voice:
            with voice.progress("reading the field", "points") as report:
                paths = export(options, lambda done, total: report(done, total=total))
            held = peak_bytes(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
            voice.made(files=paths, peak_bytes=held)
            for path in paths:
                voice.say(str(path))
            voice.say(f"(memory held at most: {held / 2**30:.2f} GiB)")


def _export_weights(options: Weights) -> tuple[Path, ...]:
    paths = checkpoint_paths(options.output)
    refuse_existing(*paths)
    weights = run_weights(options.load_config)
    config = weights.config
    card = {
        "run": f"{config.experiment_name}/{config.method_name}/{config.timestamp}",
        "step": weights.step,
        "seed": config.machine.seed,
        "torch": torch.__version__,
    }
    save_weights(paths[0], weights.state, to_dict(weights.architecture), card, bfloat16=options.bfloat16)
    return paths


def _seed(options: FieldExport, run: OpenedRun) -> int | None:
    if options.draw is None:
        return run.draw
    return None if options.draw == "mean" else options.draw


def _grid(options: FieldExport, run: OpenedRun, on_points: OnPoints) -> FieldGrid:
    config = run.model.config
    return field_to_grid(
        run.field(_seed(options, run)),
        options.resolution,
        radius=config.radius if isinstance(config, RadianceConfig) else RadianceConfig.radius,
        threshold=options.threshold,
        draws=[run.field(seed) for seed in range(options.sigma_draws)],
        device=next(run.model.parameters()).device,
        on_points=on_points,
    )


def _notes(options: FieldExport, run: OpenedRun, grid: FieldGrid) -> dict[str, str]:
    seed = _seed(options, run)
    unit = "of the scene's own poses" if options.frame == "world" else "of the model: its ball has radius 1"
    return {
        "made by": f"vnp-export of vnp-nerf {__version__}",
        "scene": run.scene.name,
        "context views": " ".join(map(str, run.context)),
        "latents": "their mean" if seed is None else f"the draw of seed {seed}",
        "frame": f"{options.frame}; frame and unit of length are those {unit}",
        "grid": f"{options.resolution} cells a side, surface at density {grid.threshold:.4g} per model unit",
    }


if __name__ == "__main__":
    sys.exit(main())
