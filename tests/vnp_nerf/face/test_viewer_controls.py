"""The viewer's controls without a viewer: each says what is seen, and turning one changes what is seen."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from vnp_nerf.face.viewer_controls import in_motion
from vnp_nerf.infer import Infer, infer
from vnp_nerf.views import Views


@pytest.fixture
def run(trained: Path, collection: Path, make_scene, tmp_path: Path) -> Path:
    """Of one of several scenes; `test/short` has fewer views, `test/broken` lacks one."""
    scenes = tmp_path / "scenes"
    shutil.copytree(collection, scenes)
    make_scene(scenes / "test" / "short", views=3)
    (make_scene(scenes / "test" / "broken") / "r_2.png").unlink()
    options = {"scene": "test/f", "context": (0, 2), "draw": 0}
    return infer(Infer(scenes, load_config=trained, output_dir=tmp_path / "run", **options))


@pytest.fixture
def pipeline(run: Path):
    from nerfstudio.utils.eval_utils import eval_setup

    return eval_setup(run / "config.yml")[1]


@pytest.fixture
def controls(pipeline):
    return pipeline.viewer_controls


def turn(element: Any, value: Any = None) -> None:
    """As the viewer does on a visitor's behalf."""
    if value is not None:
        element.value = value
    element.cb_hook(element)


def seen(pipeline) -> torch.Tensor:
    camera = pipeline.datamanager.eval_dataset.cameras[0:1]
    return pipeline.model.get_outputs_for_camera(camera)["rgb"]


def inferred(pipeline, name: str, context: tuple[int, ...], draw: int | None) -> torch.Tensor:
    """What the scene model says of these views, asked without the controls."""
    from vnp_nerf.readers import open_scene

    parser = pipeline.datamanager.dataparser
    views = Views.from_scene(open_scene(parser.collection.find(name), parser.config.read, name), context)
    pipeline.model.config.draw, kept = draw, pipeline.model.config.draw
    with pipeline.model.looking_at(views):
        picture = seen(pipeline)
    pipeline.model.config.draw = kept
    return picture


def test_controls_start_with_what_the_run_says(pipeline, controls) -> None:
    assert controls.scene.value == "test/f"
    assert {"test/f", "test/g", "val/d", "train/a"} <= set(controls.scene.options)
    assert (controls.count.value, controls.views.value, controls.draw.value) == (2, "0 2", 0)
    for word in ("test/f", "views 0, 2", "draw 0"):
        assert word in controls.note.text
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/f", (0, 2), 0))


def test_every_turn_shows_what_the_controls_say(pipeline, controls) -> None:
    turn(controls.scene, "test/g")
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/g", (0, 2), 0))
    turn(controls.count, 3)
    assert controls.views.value == "0 2 4"
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/g", (0, 2, 4), 0))
    turn(controls.views, " 5,1 ")
    assert controls.count.value == 2
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/g", (5, 1), 0))
    turn(controls.draw, 7)
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/g", (5, 1), 7))
    turn(controls.again)
    assert controls.draw.value == 8
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/g", (5, 1), 8))
    turn(controls.draw, -1)
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/g", (5, 1), None))
    assert "`test/g` from views 5, 1 of 6 (0 to 5), mean of the latents" in controls.note.text


def test_a_scene_with_fewer_views_is_inferred_from_as_many_as_it_has(pipeline, controls) -> None:
    turn(controls.views, "0 2 4 5")
    turn(controls.scene, "test/short")
    assert controls.views.value == "0 1 2"
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/short", (0, 1, 2), 0))


def test_only_another_context_is_encoded_anew(pipeline, controls) -> None:
    encoded: list[int] = []
    inner = pipeline.model.radiance.encode

    def counted(views: Views):
        encoded.append(views.count)
        return inner(views)

    pipeline.model.radiance.encode = counted
    seen(pipeline)
    for draw in (3, 4, -1):
        turn(controls.draw, draw)
        seen(pipeline)
    turn(controls.views, "0, 2")  # the same in other words
    turn(controls.again)
    seen(pipeline)
    assert encoded == [2]
    turn(controls.count, 1)
    seen(pipeline)
    assert encoded == [2, 1]


@pytest.mark.parametrize(("state", "hurried"), [("low_move", True), ("low_static", True), ("high", False)])
def test_only_what_moves_is_drawn_in_a_hurry(state: str, hurried: bool) -> None:
    from nerfstudio.viewer.render_state_machine import RenderStateMachine

    said: list[bool] = []

    class Machine(RenderStateMachine):
        """The thread that draws, without a viewer to draw for."""

        def __init__(self) -> None:
            threading.Thread.__init__(self)
            self.state = state  # type: ignore[assignment]

        def run(self) -> None:
            said.append(in_motion())

    machine = Machine()
    machine.start()
    machine.join()
    assert said == [hurried]
    assert not in_motion()


def test_resampling_goes_on_and_on(controls) -> None:
    draws = set()
    for _ in range(60):
        turn(controls.again)
        draws.add(controls.model.config.draw)
    assert draws == set(range(51))


@pytest.mark.parametrize("text", ["", "0 6", "-1", "one", "1.5", "0;2", "9" * 5000])
def test_views_that_cannot_be_are_told_and_change_nothing(text: str, pipeline, controls) -> None:
    field = pipeline.model.field()
    turn(controls.views, text) if text else controls.views.cb_hook(setattr(controls.views, "value", text))
    assert pipeline.model.field() is field
    assert controls.note.text.endswith("Still: `test/f` from views 0, 2 of 6 (0 to 5), draw 0 of the latents")
    turn(controls.views, "0 2")
    assert controls.note.text.startswith("`test/f`")


def test_a_damaged_scene_is_told_and_changes_nothing(pipeline, controls) -> None:
    field = pipeline.model.field()
    turn(controls.scene, "test/broken")
    assert pipeline.model.field() is field
    assert "r_2: there is no such picture" in controls.note.text
    turn(controls.scene, "test/g")
    assert "`test/g` from views 0, 2" in controls.note.text


def test_evaluation_does_not_follow_a_visitor(pipeline, controls) -> None:
    def scores() -> list[float]:
        pipeline.datamanager.eval_count = 0
        image = pipeline.get_eval_image_metrics_and_images(0)[0]
        return [image["psnr"], pipeline.get_average_eval_image_metrics()["psnr"]]

    before = scores()
    turn(controls.scene, "test/g")
    turn(controls.views, "3")
    assert scores() == before
    assert "`test/g` from view 3" in controls.note.text
    assert torch.equal(seen(pipeline), inferred(pipeline, "test/g", (3,), 0))
