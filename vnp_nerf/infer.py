"""`vnp-infer`: a trained run or shipped weights, and a new scene, become a run that all of nerfstudio's tools
take.
"""

import copy
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import tyro
import yaml
from torch import Tensor

from vnp_core.checkpoints import load_into, load_weights
from vnp_core.errors import ConfigError, OutputExistsError, exit_on_error, with_exit_codes
from vnp_core.whole_files import move_whole, write_whole
from vnp_nerf.baked_field import BakedGrid, bake
from vnp_nerf.baked_file import BakedCard, save_baked, source_hash
from vnp_nerf.console import Speech, SpeechFlags, Voice, speaking
from vnp_nerf.culled_field import CulledField
from vnp_nerf.execution import Precision
from vnp_nerf.face.cameras import camera_path, elevation_of, turntable_cameras
from vnp_nerf.face.checkpoints import (
    pipeline_state,
    read_latest_checkpoint,
    scene_model_state,
    write_checkpoint,
)
from vnp_nerf.face.config import vnp_nerf, vnp_nerf_paper
from vnp_nerf.face.dataparser import VNPSceneDataParser, VNPSceneDataParserConfig, views_to_compare
from vnp_nerf.face.entry_points import check_nerfstudio
from vnp_nerf.face.run_file import read_run_config, say_where_it_is_from
from vnp_nerf.face.trainer import VNPTrainerConfig
from vnp_nerf.library import build_model, calibrated, fitting_config, weights_path
from vnp_nerf.paper import PaperConfig
from vnp_nerf.prediction import check_draws
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.readers import ReadOptions
from vnp_nerf.views import Views

_TURNTABLE_FRAMES = 72
_TURNTABLE_SECONDS = 3.0
_BAKED = "baked.safetensors"
_SAMPLES = 4
_FEWEST_SAMPLES = 2
"""That have a spread: where draws hardly differ, sigma is the noise, and any more of them tell the same."""


@dataclass
class Infer:
    """Infer an object from a few posed pictures, without any training.

    Writes a run directory on which ns-render, ns-viewer, ns-eval and ns-export work. Give either --weights or
    --load-config.
    """

    data: Path
    """The new scene: its folder, its transforms.json, or a collection (then name the scene)."""
    weights: str | None = None
    """Name of shipped weights, or a .safetensors file."""
    load_config: Path | None = None
    """The config.yml of a trained run, in place of --weights. It is read without running what it says;
    nerfstudio's own programs do run it, so take weights from people whom you do not know.
    """
    scene: str | None = None
    """Which scene of a collection."""
    context: tuple[int, ...] | None = None
    """Numbers of the views to infer the object from; --num-context of them, if not given."""
    num_context: int | None = None
    """How many views to infer it from, chosen to look at it from all around; up to 3, if not given."""
    output_dir: Path | None = None
    """The run directory to write; outputs/SCENE/vnp-infer/TIMESTAMP by default."""
    draw: int | None = None
    """Seed of one draw of the latents; their mean, the single best guess, by default."""
    samples: int | None = None
    """How many draws of the latents the tools compare, for rgb_std, depth_std, accumulation_std, epistemic
    and sample_0, sample_1, ... among their outputs; by default 4 for weights with noise, 2 if these were
    trained without draws, and 0, none, for others. Who looks at any of these waits longer.
    """
    calibrated: bool = False
    """Multiply the noise by the factor that the card of --weights tells (see scripts/calibrate.py)."""
    bake: int | None = None
    """Also write the field on a grid of so many points a side, 2 to 256: faster to look at on a CPU."""
    precision: Precision = "float32"
    """Of the matrix products of rendering: float32, or bfloat16, which rounds to 8 bits and is faster where
    processor or card have it (vnp-doctor tells), and much slower where they do not.
    """
    copy: bool = False
    """Copy a trained run's weights into the new run, so that it outlives the old one."""
    orbit_cameras: int = 24
    """How many virtual cameras about the object ns-export looks from, to see its every side."""
    orbit_size: int = 256
    """Longer side of what those cameras, and the context's, see in ns-export, pixels."""
    turntable_size: int = 256
    """Height and width, pixels, of the camera path turntable.json."""
    read: ReadOptions = field(default_factory=ReadOptions)
    """How the scene is read."""
    speech: SpeechFlags = field(default_factory=Speech)
    """What is printed."""


@dataclass
class _Source:
    """What to infer with: a config to start from, the folder of its checkpoints unless they are to be copied,
    and the scene model's tensors.
    """

    config: VNPTrainerConfig
    folder: Path | None
    step: int
    state: dict[str, Tensor]


def infer(options: Infer, voice: Voice | None = None) -> Path:
    """Writes the run and returns its folder; `voice` tells how far it is.

    Raises a `VNPError`, and writes nothing, for bad input.
    """
    voice = voice or Voice(Speech(quiet=True))
    check_draws(options.samples or 0)
    source = _source(options)
    config = source.config
    parser = _parser(options)
    # The context is decoded here and now: a damaged picture is an error before anything is written.
    views = Views.from_scene(parser.scene, parser.context)
    run_dir = _run_dir(options, parser)
    baked = None
    config.pipeline.model.baked = None  # that of the run which the config is from shows another field
    if options.bake is not None:
        baked = _baked(source, views, options.draw, options.bake, voice)
        config.pipeline.model.baked = run_dir / _BAKED
    config.run_dir, config.data = run_dir, parser.config.data
    config.experiment_name, config.timestamp = parser.scene.name.replace("/", "_"), run_dir.name
    config.load_dir = config.load_checkpoint = config.load_config = config.load_step = None
    config.pipeline.datamanager.data = parser.config.data
    config.pipeline.datamanager.dataparser = parser.config
    config.pipeline.model.draw, config.pipeline.model.precision = options.draw, options.precision
    config.pipeline.model.samples = _samples(options, config.pipeline.model.radiance)
    config.pipeline.model.initial_weights = None
    config.relative_model_dir = Path("nerfstudio_models") if source.folder is None else source.folder
    partial = run_dir.with_name(f".{run_dir.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        _write_run(partial, source, parser, options.turntable_size)
        if baked is not None:
            card = BakedCard(parser.scene.name, options.draw, baked[1], parser.scene.frame)
            save_baked(partial / _BAKED, baked[0], card)
        _move(partial, run_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return run_dir


def main() -> None:
    """The console script."""
    with exit_on_error():
        check_nerfstudio()
        options = tyro.cli(Infer, prog="vnp-infer", description=with_exit_codes(Infer.__doc__))
        with speaking("vnp-infer", options.speech) as voice:
            _tell(voice, infer(options, voice))


def _source(options: Infer) -> _Source:
    if (options.weights is None) == (options.load_config is None):
        raise ConfigError("give either --weights NAME_OR_FILE or --load-config RUN/config.yml")
    if options.load_config is None:
        path = weights_path(str(options.weights))
        saved = load_weights(path)
        radiance = fitting_config(saved, str(path))
        if options.calibrated:
            radiance = calibrated(radiance, saved.metadata, str(path))
        method = vnp_nerf_paper if isinstance(radiance, PaperConfig) else vnp_nerf
        config = copy.deepcopy(method.config)
        assert isinstance(config, VNPTrainerConfig)
        config.pipeline.model.radiance = radiance  # type: ignore[assignment]
        state = {name: tensor.float() for name, tensor in saved.state_dict.items()}
        return _Source(config, None, 0, state)
    if options.calibrated:
        raise ConfigError("--calibrated is for --weights, whose card tells the factor: export the run first")
    config = read_run_config(options.load_config)
    say_where_it_is_from(options.load_config, config)
    beside = options.load_config.absolute().parent / "nerfstudio_models"  # found even if the run was moved
    folder = beside if beside.is_dir() else config.get_checkpoint_dir().absolute()
    path, checkpoint = read_latest_checkpoint(folder)
    state = scene_model_state(checkpoint, config.pipeline.model.radiance, str(path))
    return _Source(config, None if options.copy else folder, int(checkpoint["step"]), state)


def _samples(options: Infer, radiance: RadianceConfig | PaperConfig) -> int:
    if options.samples is not None:
        return options.samples
    if not isinstance(radiance, RadianceConfig) or not radiance.noise:
        return 0
    return _SAMPLES if radiance.train_draws else _FEWEST_SAMPLES


def _parser(options: Infer) -> VNPSceneDataParser:
    return VNPSceneDataParser(
        VNPSceneDataParserConfig(
            data=options.data.absolute(),
            scene=options.scene,
            context=options.context,
            num_context=options.num_context,
            orbit_cameras=options.orbit_cameras,
            orbit_size=options.orbit_size,
            read=options.read,
        )
    )


def _run_dir(options: Infer, parser: VNPSceneDataParser) -> Path:
    if options.output_dir is None:
        stamp = datetime.now().strftime("%Y-%m-%d_%H%M%S")
        return Path("outputs").absolute() / parser.scene.name.replace("/", "_") / "vnp-infer" / stamp
    run_dir = options.output_dir.absolute()
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        what = "already holds a run" if (run_dir / "config.yml").exists() else "is not an empty folder"
        raise OutputExistsError(f"{run_dir} {what}, and nothing is overwritten: give another --output-dir")
    return run_dir


@torch.no_grad()
def _baked(
    source: _Source, views: Views, draw: int | None, resolution: int, voice: Voice
) -> tuple[BakedGrid, str]:
    """The field on a grid, and the hash of what it was made from."""
    radiance = source.config.pipeline.model.radiance
    model = build_model(radiance)
    if not isinstance(model, RadianceModel):
        raise ConfigError("--bake takes fields of vnp-nerf: those of vnp-nerf-paper change with the rays")
    if model.config.view_directions:
        raise ConfigError("--bake takes fields whose colour does not depend on the viewing direction")
    load_into(model, source.state)
    generator = None if draw is None else torch.Generator().manual_seed(draw)
    field = CulledField(model.eval().infer_field(model.encode(views), generator=generator))
    with voice.progress("baking", "vertices", resolution**3) as report:
        grid = bake(field, radiance.radius, resolution, on_progress=lambda done, _: report(done))
    return grid, source_hash(model, views, draw)


def _write_run(folder: Path, source: _Source, parser: VNPSceneDataParser, size: int) -> None:
    if source.folder is None:
        write_checkpoint(
            folder / "nerfstudio_models" / f"step-{source.step:09d}.ckpt",
            {"step": source.step, "pipeline": pipeline_state(source.state)},
            workspace=folder,
        )
    seen = parser.scene.model_cameras()[list(parser.context)]
    turntable = turntable_cameras(_TURNTABLE_FRAMES, elevation_of(seen), size, size)
    path = camera_path(turntable, _TURNTABLE_SECONDS)
    write_whole(folder / "turntable.json", json.dumps(path).encode())
    parser.get_dataparser_outputs("train").save_dataparser_transform(folder / "dataparser_transforms.json")
    write_whole(folder / "config.yml", yaml.dump(source.config).encode())


def _move(partial: Path, run_dir: Path) -> None:
    try:
        move_whole(partial, run_dir)
    except OSError as error:
        raise OutputExistsError(f"{run_dir} is not empty: give another --output-dir") from error


def _tell(voice: Voice, run_dir: Path) -> None:
    """What was made, and the commands that go on from there."""
    config = read_run_config(run_dir / "config.yml")
    parser: Any = config.pipeline.datamanager.dataparser.setup()
    unseen = views_to_compare(parser.scene, parser.context)
    baked = config.pipeline.model.baked
    voice.made(
        run=run_dir,
        config=run_dir / "config.yml",
        turntable=run_dir / "turntable.json",
        baked=baked,
        scene=parser.scene.name,
        views=len(parser.scene),
        context=parser.context,
        unseen=unseen,
    )
    seen = ", ".join(map(str, parser.context))
    voice.say(f"{parser.scene.name}, seen from views {seen}.", style="bold")
    if not unseen:
        voice.say("No posed view is left to compare with: ns-eval scores the views that it has seen.")
    load = f"--load-config {run_dir / 'config.yml'}"
    path = f"--camera-path-filename {run_dir / 'turntable.json'} --output-path turntable.mp4"
    voice.say(f"The run is in {run_dir}. Some things to do with it:")
    if baked is not None:
        voice.say(f"(They show {_BAKED} until draw, context or weights are others than it was baked from.)")
    for command in (
        f"ns-render camera-path {load} {path}",
        f"ns-eval {load}",
        f"ns-viewer {load}",
        f"ns-export tsdf {load} --output-dir mesh",
    ):
        voice.say(f"  {command}")


if __name__ == "__main__":
    sys.exit(main())
