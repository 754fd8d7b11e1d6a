"""`vnp-scenes check DIR`: reads a capture as the model would, draws it, and says what looks wrong."""

import json
import sys
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from tyro.conf import Positional

from vnp_core.errors import OutputExistsError, exit_on_error
from vnp_nerf.checking.capture import Capture
from vnp_nerf.checking.diagnoses import diagnose, exit_code
from vnp_nerf.checking.drawing import draw_capture
from vnp_nerf.contact_sheets import write_png
from vnp_nerf.readers import ReadOptions


@dataclass
class Check:
    """Say what looks wrong about a capture, and draw it: cameras, context, near and far, box, epipolar lines.

    Exit codes: 0 if nothing looks wrong; else that of the first thing that does: 13 the scene's box, scale or
    depths, 15 pictures or masks, 16 cameras, 17 too few views. A scene that cannot be read ends with the
    code of its error (13 to 17; 14: no scene there), 19: the drawing exists, 2: arguments that are not
    understood.
    """

    data: Positional[Path]
    """The scene: its folder, or its transforms.json."""
    output: Path | None = None
    """The drawing to write, a PNG; none is overwritten. outputs/SCENE/vnp-scenes/TIMESTAMP.png by default."""
    context: tuple[int, ...] | None = None
    """Numbers of the views to infer from; as many as vnp-infer takes by default, if not given."""
    json: bool = False
    """Print one JSON object."""
    read: ReadOptions = field(default_factory=ReadOptions)
    """How the scene is read."""


def check(options: Check) -> int:
    """Prints what is found, and returns the exit code. Raises a `VNPError` for what cannot be read."""
    if options.output is not None and options.output.exists():
        raise OutputExistsError(
            f"{options.output} is there, and nothing is overwritten: give another --output"
        )
    capture = Capture.read(options.data, options.read, options.context)
    diagnoses = diagnose(capture)
    code = exit_code(diagnoses)
    name = capture.scene.name
    stamp = datetime.now().strftime("%Y-%m-%d_%H%M%S")
    output = options.output or Path("outputs") / name / "vnp-scenes" / f"{stamp}.png"
    write_png(output, draw_capture(capture, diagnoses))
    if options.json:
        told: dict[str, Any] = {"scene": name, "views": len(capture.scene), "context": capture.context}
        told["drawing"] = str(output)
        told |= {"diagnoses": [asdict(one) for one in diagnoses], "exit_code": code}
        print(json.dumps(told, indent=1))
        return code
    console = Console(highlight=False, soft_wrap=True, markup=False)
    seen = ", ".join(map(str, capture.context))
    console.print(f"{name}: {len(capture.scene)} views; the model would see views {seen}.")
    for diagnosis in diagnoses:
        console.print(diagnosis.line(), style="red" if diagnosis.state == "wrong" else "yellow")
    if not code:
        console.print("Nothing looks wrong.")
    console.print(f"Drawn in {output}.")
    return code


def main() -> None:
    """The console script."""
    with exit_on_error():
        options = tyro.extras.subcommand_cli_from_dict(
            {"check": Check},
            prog="vnp-scenes",
            description="Captures, before anything is inferred from them.",
        )
        code = check(options)
    sys.exit(code)


if __name__ == "__main__":
    main()
