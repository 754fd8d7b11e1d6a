"""What is kept between frames, and what makes it stale; and fields that `vnp-infer --bake` wrote down."""

import copy
import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_nerf.baked_field import BakedField
from vnp_nerf.baked_file import open_baked
from vnp_nerf.culled_field import CulledField
from vnp_nerf.face.model import VNPModel
from vnp_nerf.infer import Infer, infer, main
from vnp_nerf.radiance import RadianceField
from vnp_nerf.readers import open_scene
from vnp_nerf.views import Views


@pytest.fixture
def pipeline(ball_run: Path):
    from nerfstudio.utils.eval_utils import eval_setup

    return eval_setup(ball_run)[1]


@pytest.fixture
def encodings(pipeline) -> list[int]:
    """Grows by one with every encoding of a context."""
    count: list[int] = []
    inner = pipeline.model.radiance.encode

    def counted(views: Views):
        count.append(views.count)
        return inner(views)

    pipeline.model.radiance.encode = counted
    return count


def test_all_frames_see_one_field_that_was_encoded_once(pipeline, encodings: list[int]):
    field = pipeline.model.field()
    for _ in range(3):
        pipeline.model.get_outputs_for_camera(pipeline.datamanager.eval_dataset.cameras[0:1])
    assert pipeline.model.field() is field
    assert len(encodings) == 1


def test_another_draw_is_another_field_of_the_same_encoding(pipeline, encodings: list[int]):
    model: VNPModel = pipeline.model
    mean = model.field()
    model.choose_draw(3)
    drawn = model.field()
    assert drawn is not mean
    model.config.draw = 4  # however it is chosen
    assert model.field() is not drawn
    assert len(encodings) == 1


def test_a_new_checkpoint_is_encoded_anew(pipeline, encodings: list[int]):
    before = pipeline.model.field()
    pipeline.load_pipeline(copy.deepcopy(pipeline.state_dict()), 0)
    assert pipeline.model.field() is not before
    assert len(encodings) == 2


def test_a_training_step_is_seen_even_if_nobody_says_so(pipeline, encodings: list[int]):
    model: VNPModel = pipeline.model
    before = model.field()
    parameters = [p for p in model.radiance.parameters() if p.requires_grad]
    parameters[0].grad = torch.ones_like(parameters[0])
    torch.optim.AdamW(parameters[:1], lr=0.1).step()
    assert model.field() is not before
    assert len(encodings) == 2


def test_another_scene_is_encoded_anew_and_the_first_one_kept_aside(
    pipeline, encodings: list[int], collection: Path
):
    model: VNPModel = pipeline.model
    before = model.field()
    other = Views.from_scene(open_scene(collection / "test" / "g"), [0])
    with model.looking_at(other):
        assert model.field() is not before
    assert model.field() is before
    model.set_context(lambda: other)
    assert model.field() is not before
    assert encodings == [2, 1, 1]


def test_a_culled_field_shows_what_the_slow_one_shows(pipeline):
    model: VNPModel = pipeline.model
    camera = pipeline.datamanager.eval_dataset.cameras[0:1]
    fast = model.get_outputs_for_camera(camera)
    assert isinstance(model.field(), CulledField)
    model.config.culled = False
    slow = model.get_outputs_for_camera(camera)
    assert isinstance(model.field(), RadianceField)
    for name in ("rgb", "accumulation", "depth"):
        assert torch.allclose(fast[name], slow[name], atol=5e-3), name


def test_precision_is_a_choice_that_makes_the_field_anew(pipeline, encodings: list[int]):
    model: VNPModel = pipeline.model
    camera = pipeline.datamanager.eval_dataset.cameras[0:1]
    exact = model.get_outputs_for_camera(camera)
    model.config.precision = "bfloat16"
    rounded = model.get_outputs_for_camera(camera)
    assert model.field().drawn.execution.name == "bfloat16"
    assert 0 < (rounded["rgb"] - exact["rgb"]).abs().max() < 0.02
    assert len(encodings) == 1


@pytest.fixture(scope="module")
def baked_run(trained: Path, make_scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baked")
    scene = make_scene(folder / "scene")
    return infer(
        Infer(scene, load_config=trained, context=(0, 2), draw=5, bake=48, output_dir=folder / "run")
    )


def test_a_baked_file_says_where_it_comes_from_and_opens_without_the_model(baked_run: Path):
    grid, card = open_baked(baked_run / "baked.safetensors")
    assert (grid.resolution, card.draw, card.scene) == (48, 5, "scene")
    frame = open_scene(baked_run.parent / "scene").frame
    assert torch.equal(card.frame.to_matrix(), frame.to_matrix())
    seen = BakedField(grid).render(torch.tensor([[3.0, 0, 0]]), torch.tensor([[-1.0, 0, 0]]))
    assert seen.alpha.isfinite().all()


def test_the_tools_show_the_baked_field_until_draw_context_or_weights_are_others(baked_run: Path, capsys):
    from nerfstudio.utils.eval_utils import eval_setup

    pipeline = eval_setup(baked_run / "config.yml")[1]
    model: VNPModel = pipeline.model
    camera = pipeline.datamanager.eval_dataset.cameras[0:1]
    assert isinstance(model.field(), BakedField)
    model.config.samples = 2
    baked = model.get_outputs_for_camera(camera)
    assert "sample_0" not in baked
    model.config.baked = None
    slow = model.get_outputs_for_camera(camera)
    assert isinstance(model.field(), CulledField)
    assert (baked["rgb"] - slow["rgb"]).square().mean() < 1e-3
    model.config.baked = baked_run / "baked.safetensors"
    assert isinstance(model.field(), BakedField)
    model.choose_draw(6)
    assert isinstance(model.field(), CulledField)
    assert "baked from other" in capsys.readouterr().out
    assert "sample_0" in model.get_outputs_for_camera(camera)
    model.choose_draw(5)
    assert isinstance(model.field(), BakedField)
    with torch.no_grad():
        model.radiance.network.density.bias += 1
    assert isinstance(model.field(), CulledField)
    with torch.no_grad():
        model.radiance.network.density.bias -= 1
    pipeline.viewer_controls.look(pipeline.datamanager.dataparser.scene, (0,))
    assert isinstance(model.field(), CulledField)


def test_the_command_says_what_the_tools_will_show(
    trained: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    arguments = ["--data", str(collection), "--scene", "test/f", "--load-config", str(trained), "--bake", "8"]
    monkeypatch.setattr(sys, "argv", ["vnp-infer", *arguments, "--output-dir", str(tmp_path / "run")])
    main()
    assert "They show baked.safetensors" in capsys.readouterr().out
    assert open_baked(tmp_path / "run" / "baked.safetensors")[0].resolution == 8


def test_a_run_from_a_baked_run_shows_its_own_field(baked_run: Path, collection: Path, tmp_path: Path):
    from nerfstudio.utils.eval_utils import eval_setup

    infer(Infer(collection / "test" / "f", load_config=baked_run / "config.yml", output_dir=tmp_path / "run"))
    model = eval_setup(tmp_path / "run" / "config.yml")[1].model
    assert model.config.baked is None
    assert isinstance(model.field(), CulledField)


def test_a_baked_field_has_the_ray_width_of_its_model(baked_run: Path, monkeypatch: pytest.MonkeyPatch):
    from nerfstudio.utils.eval_utils import eval_setup

    model: VNPModel = eval_setup(baked_run / "config.yml")[1].model
    source = open_baked(baked_run / "baked.safetensors")[1].source
    monkeypatch.setattr("vnp_nerf.face.active_field.source_hash", lambda *_: source)
    model.radiance.config = dataclasses.replace(model.radiance.config, ray_width=0.25)
    field = model.field()
    assert isinstance(field, BakedField)
    assert field.ray_width == 0.25


@pytest.mark.parametrize("resolution", [1, 100_000])
def test_a_grid_that_cannot_be_is_one_error_and_leaves_nothing(
    resolution: int, trained: Path, collection: Path, tmp_path: Path
):
    with pytest.raises(ConfigError, match=str(resolution)):
        infer(
            Infer(
                collection / "test" / "f", load_config=trained, bake=resolution, output_dir=tmp_path / "run"
            )
        )
    assert not list(tmp_path.iterdir())
