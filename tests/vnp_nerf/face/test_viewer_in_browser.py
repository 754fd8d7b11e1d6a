"""ns-viewer as a person uses it: a browser, each control turned by hand, and the picture that comes of it.

Screenshots, and how long each answer took, are kept in outputs/viewer.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vnp_nerf.context_choice import choose_context
from vnp_nerf.readers import open_scene

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "data" / "demo" / "furniture"
KEPT = ROOT / "outputs" / "viewer"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",  # Chromium has none for root, and the page is ours
    "--disable-dev-shm-usage",
    "--enable-unsafe-swiftshader",  # draws WebGL on the processor
    "--use-angle=swiftshader-webgl",
    "--disable-gpu-compositing",
    "--disable-gpu-rasterization",
]
SIDE = 64
"""Pixels a side of what is kept of each glance at the canvas."""
SHARP = 250
"""Larger side, pixels, of what the server renders for a visitor at rest."""
CHANGE = 20
"""By how much of 255 a pixel changes at least where a control changes what is seen."""
SAME = 1 / 4
"""Most of a control's change that may be seen where it changes nothing: 21 of 255 were seen once, for no
known reason; a control changes a hundred and more."""
PATIENCE = 180.0
"""Seconds after which no answer is expected any more: the machine may have much else to do."""
ANSWER = 30.0
"""Most seconds from a turn to the first picture that answers it; an idle machine takes about one."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no browser here: apt-get install chromium"),
]

# A processor draws the page as well as the object: ten frames a second leave it time for both.
RECORDER = """
window.requestAnimationFrame = callback => setTimeout(() => callback(performance.now()), 100);
window.cancelAnimationFrame = clearTimeout;
window.glances = [];
window.turned = null;
for (const kind of ["pointerdown", "keydown", "input"])
  window.addEventListener(kind, () => { window.turned ??= performance.now(); }, true);
const small = new OffscreenCanvas(SIDE, SIDE).getContext("2d", {willReadFrequently: true});
setInterval(() => {
  const canvas = document.querySelector("canvas[data-engine]");
  const stats = [...document.querySelectorAll("p")].find(p => p.innerText.includes("Resolution: "));
  if (!canvas || !stats || window.turned === null) return;
  small.drawImage(canvas, 0, 0, SIDE, SIDE);
  const pixels = String.fromCharCode(...small.getImageData(0, 0, SIDE, SIDE).data);
  const size = stats.innerText.split("Resolution: ")[1].split("px")[0].split("x").map(Number);
  window.glances.push([performance.now() - window.turned, Math.max(...size), btoa(pixels)]);
}, 100);
window.still = count => {
  const last = window.glances.slice(-count);
  const sharp = last.every(glance => glance[1] >= SHARP);
  return last.length === count && sharp && new Set(last.map(glance => glance[2])).size === 1;
};
window.settled = () => window.still(window.glances.some(glance => glance[1] < SHARP) ? 20 : 100);
""".replace("SIDE", str(SIDE)).replace("SHARP", str(SHARP))
"""Watches, from the next turn of a control on, the canvas and how large a picture it was sent.

It has settled when a sharp picture has followed a coarse one and has stood still for two seconds, or for ten
where there was no coarse one. What is said of a picture's size comes before the picture is decoded and drawn.
"""


@dataclass
class Glance:
    """What was to be seen so many seconds after a control was turned."""

    seconds: float
    side: int
    picture: np.ndarray


@dataclass
class Visitor:
    """Somebody at the viewer."""

    page: Any
    looks: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE, 3)))
    """What is to be seen now."""
    answers: dict[str, dict[str, float]] = field(default_factory=dict)

    def glances(self) -> list[Glance]:
        rows = self.page.evaluate("window.glances")
        shape = (SIDE, SIDE, 4)
        return [
            Glance(
                milliseconds / 1000,
                side,
                np.frombuffer(base64.b64decode(code), np.uint8).reshape(shape)[..., :3].astype(float),
            )
            for milliseconds, side, code in rows
        ]

    def settle(self) -> list[Glance]:
        """Waits for the picture that stays, and tells all that was seen on the way."""
        self.stand_aside()
        self.page.wait_for_function("window.settled()", polling=200)
        glances = self.glances()
        self.looks = glances[-1].picture
        return glances

    def turn(self, name: str, turn: Callable[[], None]) -> float:
        """Turns a control; by how much the picture has changed in the end where it has most, of 255."""
        before = self.looks
        self.watch()
        turn()
        glances = self.settle()
        self.keep(name)
        nearer = [
            np.abs(glance.picture - self.looks).mean() < np.abs(glance.picture - before).mean()
            for glance in glances
        ]
        sharp = [not (glance.picture - self.looks).any() for glance in glances]
        change = float(np.abs(self.looks - before).max())
        self.answers[name] = {
            "answered after s": round(glances[nearer.index(True)].seconds, 2) if any(nearer) else -1.0,
            "sharp after s": round(glances[sharp.index(True)].seconds, 2),
            "change of 255": change,
        }
        return change

    def watch(self) -> None:
        """Forgets what was seen; the clock starts with the next touch."""
        self.page.evaluate("window.glances = []; window.turned = null")

    def rest(self) -> None:
        """Looks on until nothing has changed for ten seconds."""
        self.watch()
        self.page.evaluate("window.turned = performance.now()")
        self.stand_aside()
        self.page.wait_for_function("window.still(100)", polling=200)
        self.looks = self.glances()[-1].picture

    def stand_aside(self) -> None:
        """Takes the mouse to a corner: what it points at, a camera for one, is drawn in another colour."""
        self.page.mouse.move(1, 1)

    def keep(self, name: str) -> None:
        self.page.screenshot(path=KEPT / f"{name.replace(' ', '-')}.png", scale="css")

    def field(self, label: str) -> Any:
        """The input beside a label."""
        return self.page.locator(f"xpath=//label[text()='{label}']/ancestor::*[.//input][1]//input").first

    def choose(self, label: str, option: str) -> None:
        """Picks an option of a dropdown."""
        self.field(label).click()
        self.watch()
        self.page.get_by_role("option", name=option, exact=True).click()

    def slide(self, label: str, key: str) -> None:
        """Moves a slider one step with the keyboard."""
        place = self.page.get_by_text(label, exact=True).get_attribute("for")
        self.page.locator(f"[id='{place}']").get_by_role("slider").press(key)

    def note(self) -> str:
        """What the viewer says of what it shows."""
        return self.page.locator("p", has_text="blendswap-cc-0-").last.inner_text()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a viewer that shows one of several scenes, inferred with the weights that ship."""
    from vnp_nerf.infer import Infer, infer

    folder = tmp_path_factory.mktemp("viewer")
    run = infer(
        Infer(
            data=DEMO,
            weights="furniture",
            scene="blendswap-cc-0-teddybear",
            context=(0, 1, 2),
            output_dir=folder / "run",
        )
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).with_name("ns-viewer"))
    place = ["--viewer.websocket-host", "127.0.0.1", "--viewer.websocket-port", str(port)]
    command = [program, "--load-config", str(run / "config.yml"), *place, "--viewer.image-format", "png"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # the browser needs a core, too
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            end = time.monotonic() + PATIENCE
            while not listens(port):
                assert server.poll() is None, (folder / "log.txt").read_text()
                assert time.monotonic() < end, "ns-viewer did not start"
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def visitor(address: str) -> Iterator[Visitor]:
    """Has the viewer open, and has seen the first picture."""
    from playwright.sync_api import sync_playwright

    KEPT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 900, "height": 1000}, device_scale_factor=1.5)
        page.set_default_timeout(PATIENCE * 1000)
        page.add_init_script(RECORDER)
        page.goto(address)
        page.get_by_text("Resolution: ").wait_for()
        visitor = Visitor(page)
        visitor.rest()
        visitor.keep("start")
        yield visitor
        browser.close()
    (KEPT / "answers.json").write_text(json.dumps(visitor.answers, indent=1) + "\n")


def answered(visitor: Visitor, name: str) -> bool:
    return 0 <= visitor.answers[name]["answered after s"] <= ANSWER


def test_the_object_is_in_sight_at_once(visitor: Visitor) -> None:
    white = visitor.looks.min(axis=-1) > 250
    assert white[[0, -1]].all()
    assert 0.1 < 1 - white.mean() < 0.7


def test_another_scene(visitor: Visitor) -> None:
    assert visitor.turn("scene", lambda: visitor.choose("Scene", "blendswap-cc-0-chicken")) > 60
    assert "chicken" in visitor.note()
    assert answered(visitor, "scene")


def test_another_number_of_views(visitor: Visitor) -> None:
    assert visitor.turn("number of views", lambda: visitor.slide("Number of views", "ArrowLeft")) > CHANGE
    chosen = choose_context(open_scene(DEMO / "blendswap-cc-0-chicken"), None, 2)
    assert visitor.field("Context views").input_value() == " ".join(map(str, chosen))
    assert answered(visitor, "number of views")


def test_other_context_views(visitor: Visitor) -> None:
    assert visitor.turn("context views", lambda: visitor.field("Context views").fill("5, 1 7 9")) > CHANGE
    assert "views 5, 1, 7, 9" in visitor.note()
    assert visitor.field("Number of views").input_value() == "4"
    assert answered(visitor, "context views")


def test_views_that_cannot_be_are_told_and_change_nothing(visitor: Visitor) -> None:
    visitor.rest()
    before = visitor.looks
    visitor.watch()
    visitor.field("Context views").fill("5 99")
    visitor.page.get_by_text("views 0 to 23").wait_for()
    visitor.rest()
    visitor.keep("wrong views")
    assert "views 5, 1, 7, 9" in visitor.note()
    turned = visitor.answers["context views"]["change of 255"]
    assert np.abs(visitor.looks - before).max() < SAME * turned
    visitor.field("Context views").fill("5 1 7 9")
    visitor.rest()


@pytest.mark.parametrize("way", ["draw", "resample"])
def test_another_draw(way: str, visitor: Visitor) -> None:
    resample = visitor.page.get_by_role("button", name="Resample").click
    assert visitor.turn(way, resample if way == "resample" else lambda: visitor.slide("Draw", "ArrowRight"))
    assert f"draw {visitor.page.get_by_role('slider').last.get_attribute('aria-valuenow')}" in visitor.note()


def test_every_output_is_another_picture(visitor: Visitor) -> None:
    visitor.field("Output type").click()
    names = visitor.page.get_by_role("option").all_inner_texts()
    visitor.page.keyboard.press("Escape")
    assert {"rgb", "depth", "accumulation"} <= set(names)
    shown = visitor.field("Output type").input_value()
    for name in [name for name in names if name != shown] + [shown]:
        assert (
            visitor.turn(f"output {name}", lambda name=name: visitor.choose("Output type", name)) > CHANGE
        ), name
        assert answered(visitor, f"output {name}")
