"""Makes a capture of real photographs, with poses and masks, to try weights on what is no rendering.

    python scripts/make_capture.py --output outputs/captures/cube
    python scripts/demo.py --data outputs/captures/cube --context 0 12 30 --query 5 9 20 25

The photographs are a sequence of Debian's package visp-images-data (Inria's ViSP, GPL-2): a paper cube,
turned by hand on a table, grey, 640 x 480. The package tells the cube's size, the camera, and the pose in the
first picture; all other poses are found by the cube's edges (vnp_nerf/making/edge_tracking.py), and masks are
the cube's outline. What is written is a nerfstudio capture: transforms.json, images, masks.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image

from vnp_core.errors import ConfigError, DataError, OutputExistsError, exit_on_error, with_exit_codes
from vnp_core.packages import unpack_debian
from vnp_core.whole_files import write_whole
from vnp_nerf.console import Speech, SpeechFlags, Voice, speaking
from vnp_nerf.making.edge_tracking import BoxPose, Lens, cube_corners, outline, refine

PACKAGE = "visp-images-data"
SEQUENCE = Path("usr/share/visp-images-data/ViSP-images/mbt/cube")
SIDE = 0.084
"""Of the cube, metres."""
LENS = Lens(547.7367575, 542.0744058, 338.7036994, 234.5083345)
FIRST = np.array([0.02231950571, 0.1071368004, 0.5071128378, 2.100485509, 1.146812236, -0.4560126437])
"""The pose in the first picture, as the package's cube.0.pos has it."""
CREDITS = f"""# Credits

Photographs of a cube from Debian's package `{PACKAGE}`, of the project ViSP.
Copyright 2005-2018 Inria, GPL-2.
Changes: cut out about the cube. Poses and masks were added by `scripts/make_capture.py`.
"""


@dataclass
class MakeCapture:
    """Pose the photographs and write them."""

    output: Path = Path("outputs/captures/cube")
    """Folder of the capture, which must not exist yet."""
    every: int = 7
    """Keep every N-th of the 218 photographs."""
    side: int = 160
    """Height and width of the part about the cube that is kept, pixels."""
    deb: Path | None = None
    """The package file (75 MB), when it shouldn't be downloaded."""
    work: Path | None = None
    """Where the package is unpacked, and kept; by default beside OUTPUT, in .package."""
    speech: SpeechFlags = field(default_factory=Speech)
    """What is printed."""


def photographs(config: MakeCapture, voice: Voice) -> list[Path]:
    """The sequence, in order. Raises `DataError` where the package has none."""
    work = config.work or config.output.parent / ".package"
    if not (work / "package" / SEQUENCE).is_dir():
        with voice.waiting("fetching and unpacking the package"):
            unpack_debian(PACKAGE, work, config.deb, "or fetch it by hand and give it with --deb")
    found = sorted((work / "package" / SEQUENCE).glob("*.pgm"))
    if not found:
        raise DataError(f"no photographs in {work / 'package' / SEQUENCE}: is this the package {PACKAGE}?")
    return found


def track(paths: list[Path], voice: Voice) -> list[BoxPose]:
    """The cube's pose in each photograph."""
    corners, pose = cube_corners(SIDE), BoxPose.of_vector(FIRST)
    poses: list[BoxPose] = []
    with voice.progress("poses", "photographs", len(paths)) as report:
        for path in paths:
            pose = refine(pose, np.asarray(Image.open(path).convert("L"), dtype=float), corners, LENS)
            poses.append(pose)
            report(len(poses))
    return poses


def write_frame(path: Path, pose: BoxPose, folder: Path, side: int) -> dict[str, Any]:
    """Writes the part of a photograph about the cube, and its mask; returns the capture's frame."""
    picture = Image.open(path).convert("L")
    corners = cube_corners(SIDE)
    middle = pose.project(corners, LENS).mean(0)
    room = np.array(picture.size) - side
    left, top = map(int, np.clip(np.rint(middle - side / 2), 0, room))
    mask = outline(pose, corners, LENS, picture.height, picture.width)
    box = (left, top, left + side, top + side)
    for name, whole in (("images", picture), ("masks", Image.fromarray(mask))):
        (folder / name).mkdir(exist_ok=True)
        whole.crop(box).save(folder / name / f"{path.stem}.png")
    return {
        "file_path": f"images/{path.stem}.png",
        "mask_path": f"masks/{path.stem}.png",
        "cx": LENS.cx + 0.5 - left,  # a capture's first pixel has its middle at 1/2
        "cy": LENS.cy + 0.5 - top,
        "transform_matrix": pose.camera_to_box().tolist(),
    }


def main(config: MakeCapture, voice: Voice) -> None:
    if config.output.exists():
        raise OutputExistsError(f"{config.output} exists already: name another --output, or remove it")
    if config.every < 1 or not 16 <= config.side <= 480:
        raise ConfigError(
            f"--every {config.every} --side {config.side}: give 1 or more, and 16 to 480 pixels"
        )
    paths = photographs(config, voice)
    poses = track(paths, voice)
    unfinished = config.output.with_name(f".{config.output.name}.part")
    unfinished.mkdir(parents=True, exist_ok=True)
    kept = list(zip(paths, poses, strict=True))[:: config.every]
    frames = [write_frame(path, pose, unfinished, config.side) for path, pose in kept]
    corners = cube_corners(SIDE)
    head = {
        **{"fl_x": LENS.fx, "fl_y": LENS.fy, "w": config.side, "h": config.side},
        "bounding_centre": corners.mean(0).tolist(),
        "bounding_radius": SIDE * 3**0.5 / 2,
    }
    write_whole(unfinished / "CREDITS.md", CREDITS.encode())
    write_whole(unfinished / "transforms.json", json.dumps({**head, "frames": frames}, indent=1).encode())
    unfinished.replace(config.output)
    voice.made(capture=config.output, photographs=len(frames))
    voice.say(f"{len(frames)} photographs with poses and masks: {config.output}")


if __name__ == "__main__":
    with exit_on_error():
        options = tyro.cli(MakeCapture, description=with_exit_codes(__doc__))
        with speaking("make_capture.py", options.speech) as talker:
            main(options, talker)
