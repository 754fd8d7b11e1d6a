"""What a visitor of ns-viewer may turn: the scene, the views that it is inferred from, and the draw."""

import copy
import math
import threading
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from nerfstudio.viewer.viewer_elements import (
    ViewerButton,
    ViewerControl,
    ViewerDropdown,
    ViewerElement,
    ViewerSlider,
    ViewerText,
)
from viser import ClientHandle, ViserServer

from vnp_core.errors import ViewCountError, VNPError
from vnp_nerf.context_choice import choose_context
from vnp_nerf.face.cameras import DISTANCE, FIELD_OF_VIEW
from vnp_nerf.face.dataparser import VNPSceneDataParser
from vnp_nerf.face.dataset import FocusDataset
from vnp_nerf.face.model import VNPModel
from vnp_nerf.readers import open_scene
from vnp_nerf.scene import Scene
from vnp_nerf.views import Views

_MEAN = -1
_DRAWS = 50
_CPU_SIDE = 256
"""Larger side, pixels, of the sharp picture on a CPU; the visitor may ask for more."""
_CPU_RATE = 8
"""Coarse pictures a second on a CPU: nerfstudio's 30 would leave a few dozen pixels to each."""


class ViewerNote(ViewerElement[str]):
    """A line of text below the controls."""

    def __init__(self, text: str) -> None:
        super().__init__("Note")
        self.text = text

    def install(self, viser_server: ViserServer) -> None:
        """Puts the text into the viewer."""
        self.gui_handle: Any = viser_server.gui.add_markdown(self.text)

    def tell(self, text: str) -> None:
        """Another text in its place."""
        self.text = text
        if self.gui_handle is not None:
            self.gui_handle.content = text


class ViewerControls(ViewerControl):
    """Lets a visitor turn what the model looks at. Nothing else of the pipeline changes.

    Controls that belong together are kept in step: the number of views, for one, follows the list of views.
    Setting one calls its hook, as a visitor's hand does, so a hook acts only where the control says something
    else than what is seen already.

    elements: by the names under which the pipeline shows them. nerfstudio lists them in that alphabet.
    """

    def __init__(self, parser: VNPSceneDataParser, model: VNPModel) -> None:
        self.model = model
        self.seen = copy.copy(parser)  # its scene and context are the visitor's
        names = [
            parser.collection.name_of(path) for paths in parser.collection.scenes.values() for path in paths
        ]
        self.scene = ViewerDropdown(
            "Scene",
            parser.scene.name,
            list(dict.fromkeys([parser.scene.name, *names])),
            cb_hook=self._hook(self._turn_scene),
            hint="The object to infer; all scenes of the folder that vnp-infer or ns-train was given",
        )
        self.count = ViewerSlider(
            "Number of views",
            default_value=len(parser.context),
            min_value=1,
            max_value=max(2, len(parser.scene.views_in("train")), len(parser.context)),
            step=1,
            cb_hook=self._hook(self._turn_count),
            hint="From how many posed pictures it is inferred, that look at it from all around",
        )
        self.views = ViewerText(
            "Context views",
            _listed(parser.context),
            cb_hook=self._hook(self._turn_views),
            hint="Or the numbers of the pictures, with spaces between them",
        )
        draw = _MEAN if model.config.draw is None else model.config.draw
        self.draw = ViewerSlider(
            "Draw",
            default_value=draw,
            min_value=_MEAN,
            max_value=max(_DRAWS, draw),
            step=1,
            cb_hook=self._hook(self._turn_draw),
            hint="-1: the latents' mean, the single best guess; others: the seed of a sample of what the "
            "object may be, as of vnp-infer --draw",
        )
        self.again = ViewerButton("Resample", cb_hook=self._hook(self._turn_again))
        self.note = ViewerNote(self._description())
        self.elements: dict[str, ViewerElement[Any]] = {
            "chosen_scene": self.scene,
            "context_count": self.count,
            "context_views": self.views,
            "latents_draw": self.draw,
            "latents_resample": self.again,
            "note": self.note,
        }

    def _setup(self, viewer: Any) -> None:
        """Called by the viewer once it has installed the elements."""
        super()._setup(viewer)
        self.model.wanted, self.model.hurried = self._shown, in_motion
        self._on_cpu = self.model.device.type == "cpu"
        if self._on_cpu:
            viewer.control_panel._max_res.value = _CPU_SIDE
        self.viser_server.on_client_connect(self._welcome)
        for element in self.elements.values():
            element.cb_hook = self._at_once(element.cb_hook)

    def _shown(self) -> set[str]:
        """The outputs that are looked at."""
        panel = self.viewer.control_panel
        return {panel.output_render, *([panel.split_output_render] if panel.split else [])}

    def _at_once(self, hook: Callable[[Any], Any]) -> Callable[[Any], None]:
        """nerfstudio lets a hook wait for the picture that is being rendered: ends that one first."""

        def interrupting(element: Any) -> None:
            self.viewer._trigger_rerender()
            hook(element)

        return interrupting

    def _welcome(self, client: ClientHandle) -> None:
        """Places a new visitor where all of the object is in sight, on the side of its first context view."""
        from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO as ratio

        if self._on_cpu:
            self.viewer.render_statemachines[client.client_id].target_fps = _CPU_RATE
        first = self.seen.scene.model_cameras().positions[self.seen.context[0]]
        half = math.tan(math.radians(FIELD_OF_VIEW / 2)) / min(1.0, client.camera.aspect)
        with client.atomic():
            client.camera.position = (ratio * DISTANCE * F.normalize(first.double(), dim=0)).numpy()
            client.camera.look_at = (0.0, 0.0, 0.0)
            client.camera.fov = 2 * math.atan(half)

    def _hook(self, turn: Callable[[], None]) -> Callable[[Any], None]:
        """Tells the visitor what cannot be done, and leaves everything as it was."""

        def hook(_: Any) -> None:
            try:
                turn()
                self.note.tell(self._description())
            except VNPError as error:
                # Where the server keeps its scenes is nobody's business, and too long for the panel.
                what = str(error).replace(f"{self.seen.collection.root.absolute().parent}/", "")
                self.note.tell(f"{what}\n\nStill: {self._description()}")

        return hook

    def _turn_scene(self) -> None:
        if self.scene.value == self.seen.scene.name:
            return
        parser = self.seen
        scene = open_scene(parser.collection.find(self.scene.value), parser.config.read, self.scene.value)
        fits = max(parser.context) < len(scene)
        self.look(scene, parser.context if fits else _spread(scene, len(parser.context)))

    def _turn_count(self) -> None:
        if self.count.value != len(self.seen.context):
            self.look(self.seen.scene, _spread(self.seen.scene, self.count.value))

    def _turn_views(self) -> None:
        numbers = _numbers(self.views.value)
        if numbers != self.seen.context:
            self.look(self.seen.scene, choose_context(self.seen.scene, numbers, None))

    def _turn_draw(self) -> None:
        self.model.choose_draw(None if self.draw.value == _MEAN else self.draw.value)

    def _turn_again(self) -> None:
        self.draw.value = (self.draw.value + 1) % (_DRAWS + 1)
        self._turn_draw()

    def look(self, scene: Scene, context: tuple[int, ...]) -> None:
        """Shows a scene as inferred from some of its views.

        Raises a `VNPError` where a view cannot be read.
        """
        views = Views.from_scene(scene, context)  # read here: an error would end the thread that renders
        self.model.set_context(lambda: views)
        self.seen.scene, self.seen.context = scene, context
        self.count.value = len(context)
        if _numbers(self.views.value) != context:
            self.views.value = _listed(context)
        self._show_cameras()

    def _show_cameras(self) -> None:
        """Draws the context views where they were taken from, in place of those of before."""
        viewer = getattr(self, "viewer", None)
        if viewer is None:
            return
        for handle in viewer.camera_handles.values():
            handle.remove()
        viewer.init_scene(FocusDataset(self.seen.get_dataparser_outputs("train")), viewer.train_state)
        viewer.set_camera_visibility(viewer.hide_images.visible)

    def _description(self) -> str:
        scene, context, draw = self.seen.scene, self.seen.context, self.model.config.draw
        views = f"view{'s' if len(context) > 1 else ''} {', '.join(map(str, context))}"
        what = "mean of the latents" if draw is None else f"draw {draw} of the latents"
        return f"`{scene.name}` from {views} of {len(scene)} (0 to {len(scene) - 1}), {what}"


def _spread(scene: Scene, count: int) -> tuple[int, ...]:
    """`count` views, or as many as the scene has."""
    return choose_context(scene, None, min(count, len(scene.views_in("train"))))


def in_motion() -> bool:
    """Whether the thread that asks draws a coarse picture, to be replaced by a sharp one as soon as nothing
    moves: nerfstudio makes it so coarse that it comes at once, and more rays a pixel would undo that.
    """
    from nerfstudio.viewer.render_state_machine import RenderStateMachine

    thread = threading.current_thread()
    return isinstance(thread, RenderStateMachine) and thread.state != "high"


def _listed(context: tuple[int, ...]) -> str:
    return " ".join(map(str, context))


def _numbers(text: str) -> tuple[int, ...]:
    """The inverse of `_listed`, generous about commas."""
    try:
        return tuple(int(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise ViewCountError(f"Context views are numbers such as 0 8 16, but {text!r} was given.") from error
