"""`vnp-scenes check DIR`: reads a capture as the model would, draws it, and says what looks wrong."""

import sys
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import tyro
from tyro.conf import Positional

from vnp_core.errors import OutputExistsError, exit_on_error, with_exit_codes
from vnp_nerf.checking.capture import Capture
from vnp_nerf.checking.diagnoses import diagnose, exit_code
from vnp_nerf.checking.drawing import draw_capture
from vnp_nerf.console import Speech, SpeechFlags, Voice, speaking
from vnp_nerf.contact_sheets import write_png
from vnp_nerf.readers import ReadOptions


@dataclass
class Check:
    """Say what looks wrong about a capture, and draw it: cameras, context, near and far, box, epipolar lines.

    It exits with 0 if nothing looks wrong; else with the code of the first thing that does: 13 the scene's
    box, scale or depths, 15 pictures or masks, 16 cameras, 17 too few views.
    """

    data: Positional[Path]
    """The scene: its folder, or its transforms.json."""
    output: Path | None = None
    """The drawing to write, a PNG; none is overwritten. outputs/SCENE/vnp-scenes/TIMESTAMP.png by default."""
    context: tuple[int, ...] | None = None
    """Numbers of the views to infer from; as many as vnp-infer takes by default, if not given."""
    read: ReadOptions = field(default_factory=ReadOptions)
    """How the scene is read."""
    speech: SpeechFlags = field(default_factory=Speech)
    """What is printed."""


def check(options: Check, voice: Voice) -> int:
    """Says what is found, and returns the exit code. Raises a `VNPError` for what cannot be read."""
    if options.output is not None and options.output.exists():
        raise OutputExistsError(
            f"{options.output} is there, and nothing is overwritten: give another --output"
        )
    with voice.progress("reading pictures", "pictures") as report:
        capture = Capture.read(
            options.data, options.read, options.context, lambda done, total: report(done, total=total)
        )
    diagnoses = diagnose(capture)
    code = exit_code(diagnoses)
    name = capture.scene.name
    stamp = datetime.now().strftime("%Y-%m-%d_%H%M%S")
    output = options.output or Path("outputs") / name / "vnp-scenes" / f"{stamp}.png"
    write_png(output, draw_capture(capture, diagnoses))
    voice.made(scene=name, views=len(capture.scene), context=capture.context, drawing=output)
    voice.made(diagnoses=[asdict(one) for one in diagnoses], exit_code=code)
    seen = ", ".join(map(str, capture.context))
    voice.say(f"{name}: {len(capture.scene)} views; the model would see views {seen}.")
    for diagnosis in diagnoses:
        voice.say(diagnosis.line(), style="red" if diagnosis.state == "wrong" else "yellow")
    if not code:
        voice.say("Nothing looks wrong.")
    voice.say(f"Drawn in {output}.")
    return code


def main() -> None:
    """The console script."""
    with exit_on_error():
        options = tyro.extras.subcommand_cli_from_dict(
            {"check": Check},
            prog="vnp-scenes",
            description=with_exit_codes("Captures, before anything is inferred from them."),
        )
        with speaking("vnp-scenes", options.speech) as voice:
            code = check(options, voice)
    sys.exit(code)


if __name__ == "__main__":
    main()
