"""The main job on an object that no model was trained on: pictures in, a radiance field and a video out.

    python scripts/demo.py

Runs what a user would type, `vnp-infer` and `ns-render`, in this process, which saves their start-up time,
and says the commands. Then draws one picture: context views, novel views beside the truth, and their depth.
"""

import json
import math
import shlex
import shutil
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import tyro

from vnp_core.errors import ConfigError, MissingDependencyError, exit_on_error, with_exit_codes
from vnp_nerf.baselines import NearestView
from vnp_nerf.console import Voice
from vnp_nerf.contact_sheets import case_sheet, contact_sheet, write_png
from vnp_nerf.evaluation import Case, ModelPredictor, score_case
from vnp_nerf.library import load_model
from vnp_nerf.pairs import ScenePairs, camera_centre
from vnp_nerf.readers import open_scene

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Demo:
    """A few views of one object in, a run, a video and a picture out."""

    data: Path = ROOT / "data" / "demo" / "furniture" / "blendswap-cc-0-armchair"
    """The object's scene."""
    weights: str = "furniture"
    """Shipped name or .safetensors file."""
    context: tuple[int, ...] = (0, 1, 2)
    """The views that are given."""
    query: tuple[int, ...] = (3, 4, 7, 11)
    """Views that are not given, for comparison."""
    output: Path = ROOT / "outputs" / "demo"
    """Folder of the results; those of an earlier demo are replaced."""
    frames: int = 36
    """Frames of the video, at most 72."""
    size: int = 96
    """Height and width of a frame, pixels; rgb and depth stand side by side."""


def main(demo: Demo) -> None:
    voice = Voice()
    warnings.simplefilter(
        "ignore"
    )  # nerfstudio's, about newer versions of torch, would bury what is said here
    start = time.perf_counter()
    if not demo.query or demo.frames < 1:
        raise ConfigError("give one or more --query views, and --frames of 1 or more")
    if shutil.which("ffmpeg") is None:
        raise MissingDependencyError(
            "ffmpeg is not on the PATH, and writes the video: apt-get install ffmpeg"
        )
    model, _ = load_model(demo.weights)
    scene = open_scene(demo.data)
    case = Case.from_scene(scene, ScenePairs(len(scene), camera_centre(scene), demo.context, demo.query))

    with voice.waiting("starting nerfstudio"):
        from nerfstudio.scripts.render import RenderCameraPath

        from vnp_nerf.infer import Infer, infer

    run, path, video = demo.output / "run", demo.output / "turntable.json", demo.output / "turntable.mp4"
    if (run / "config.yml").is_file():
        shutil.rmtree(run)
    numbers = " ".join(map(str, demo.context))
    options = f"--turntable-size {demo.size} --output-dir {_typed(run)}"
    _say(
        voice,
        f"vnp-infer --weights {demo.weights} --data {_typed(demo.data)} --context {numbers} {options}",
    )
    infer(
        Infer(
            data=demo.data,
            weights=demo.weights,
            context=demo.context,
            output_dir=run,
            turntable_size=demo.size,
        ),
        voice,
    )
    distance = thin_path(run / "turntable.json", path, demo.frames)
    files = f"--camera-path-filename {_typed(path)} --output-path {_typed(video)}"
    near, far = round(distance - 1, 2), round(distance + 1, 2)  # where the object's ball begins and ends
    outputs = f"--rendered-output-names rgb depth --depth-near-plane {near} --depth-far-plane {far}"
    _say(voice, f"ns-render camera-path --load-config {_typed(run / 'config.yml')} {files} {outputs}")
    RenderCameraPath(
        load_config=run / "config.yml",
        camera_path_filename=path,
        output_path=video,
        rendered_output_names=["rgb", "depth"],
        depth_near_plane=near,
        depth_far_plane=far,
    ).main()

    _tell(voice, "video", video)
    predictor, count = ModelPredictor(demo.weights, model), len(demo.context)
    with voice.progress("novel views beside the truth", "steps", 3) as report:
        title = f"{scene.name}: the model was never trained on it"
        sheet = contact_sheet(case_sheet(predictor, case, count), title)
        write_png(demo.output / "novel_views.png", sheet)
        report(1)
        scores = {"this model": score_case(predictor, case, count)}
        report(2)
        scores["nearest given view"] = score_case(NearestView(), case, count)
        report(3)
    for name, score in scores.items():
        voice.say(f"{name}: PSNR {score['psnr']:.2f} dB, on the object alone {score['psnr_fg']:.2f} dB")
    _tell(voice, "picture", demo.output / "novel_views.png")
    _tell(voice, "run", run)
    voice.say(f"{time.perf_counter() - start:.0f} seconds")


def thin_path(source: Path, target: Path, frames: int) -> float:
    """Keeps at most `frames` evenly spaced frames of a camera path, over the same seconds.

    Returns the first camera's distance from the origin, model units.
    """
    path = json.loads(source.read_text(encoding="utf-8"))
    everything = path["camera_path"]
    kept = min(frames, len(everything))
    path["camera_path"] = [everything[index * len(everything) // kept] for index in range(kept)]
    path["fps"] = kept / path["seconds"]
    target.write_text(json.dumps(path), encoding="utf-8")
    return math.hypot(*everything[0]["camera_to_world"][3:12:4])


def _typed(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _tell(voice: Voice, what: str, where: Path) -> None:
    voice.say(f"{what + ':':9}{_typed(where)}")


def _say(voice: Voice, command: str) -> None:
    voice.say(f"$ {command}", style="bold")


if __name__ == "__main__":
    with exit_on_error():
        main(tyro.cli(Demo, description=with_exit_codes(__doc__)))
