"""What tools are shown beside the picture: deviations, and the draws of the latents themselves."""

from pathlib import Path

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_nerf.face.guards import LevelMonitor
from vnp_nerf.face.model import VNPModel
from vnp_nerf.face.run_file import read_run_config
from vnp_nerf.infer import Infer, infer
from vnp_nerf.pixel_noise import FLOOR
from vnp_nerf.prediction import Prediction
from vnp_nerf.views import Views

DEMO = Path(__file__).parents[3] / "data" / "demo" / "furniture"
DEVIATIONS = ("rgb_std", "epistemic", "accumulation_std", "depth_std")


@pytest.fixture
def pipeline(ball_run: Path):
    from nerfstudio.utils.eval_utils import eval_setup

    return eval_setup(ball_run)[1]


@pytest.fixture
def camera(pipeline):
    return pipeline.datamanager.eval_dataset.cameras[0:1]


def test_deviations_and_draws_are_among_the_outputs(pipeline, camera):
    outputs = pipeline.model.get_outputs_for_camera(camera)
    height, width = outputs["rgb"].shape[:2]
    for name in DEVIATIONS:
        assert outputs[name].shape == (height, width, 1)
        assert outputs[name].isfinite().all()
        assert (outputs[name] >= 0).all()
    assert (outputs["rgb_std"] >= outputs["epistemic"]).all()
    assert outputs["rgb_std"].min() >= 0.999 * FLOOR
    assert outputs["rgb_std"].max() > 2 * FLOOR
    draws = [name for name in outputs if name.startswith("sample_")]
    assert draws == [f"sample_{draw}" for draw in range(pipeline.model.config.samples)]


def test_a_sample_is_the_draw_of_its_seed(pipeline, camera):
    model: VNPModel = pipeline.model
    shown = model.get_outputs_for_camera(camera)["sample_2"]
    model.choose_draw(2)
    assert torch.allclose(model.get_outputs_for_camera(camera)["rgb"], shown, atol=5e-3)


def test_the_epistemic_part_is_the_spread_of_the_samples(pipeline, camera):
    outputs = pipeline.model.get_outputs_for_camera(camera)
    draws = torch.stack([part for name, part in outputs.items() if name.startswith("sample_")])
    assert torch.allclose(outputs["epistemic"][..., 0], draws.var(0).mean(-1).sqrt(), atol=1e-5)


def test_a_cropped_picture_has_the_same_outputs(pipeline, camera):
    from nerfstudio.data.scene_box import OrientedBox

    model: VNPModel = pipeline.model
    whole = model.get_outputs_for_camera(camera)
    box = OrientedBox(torch.eye(3), torch.zeros(3), torch.full((3,), 4.0))
    cropped = model.get_outputs_for_camera(camera, obb_box=box)
    assert cropped.keys() == whole.keys()
    for name in ("rgb", "rgb_std", "sample_0"):
        assert (cropped[name] - whole[name]).abs().mean() < 0.02


def test_draws_are_rendered_for_who_asks_for_them_and_once(pipeline, camera, monkeypatch):
    model: VNPModel = pipeline.model
    rendered = []
    inner = Prediction.of_draws
    monkeypatch.setattr(Prediction, "of_draws", lambda *given: rendered.append(1) or inner(*given))
    outputs = model.get_outputs_for_camera(camera)
    assert outputs["rgb"].shape[:2] == outputs["depth"].shape[:2]
    assert {*DEVIATIONS, "sample_0"} <= set(outputs)
    assert not rendered
    parts = [outputs[name] for name in ("rgb_std", "sample_1", "epistemic")]
    assert all(part.grad_fn is None for part in parts)
    chunks = len(rendered)
    assert chunks > 0
    assert dict(outputs).keys() == outputs.keys()
    assert len(rendered) == chunks
    model.wanted = lambda: ["rgb_std", "not set"]
    model.get_outputs_for_camera(camera)
    assert len(rendered) == 2 * chunks


def test_draws_are_those_of_the_context_when_the_picture_was_asked_for(pipeline, camera):
    model: VNPModel = pipeline.model
    before = model.get_outputs_for_camera(camera)["sample_0"]
    late = model.get_outputs_for_camera(camera)
    model.set_context(lambda: Views.empty(1))
    model.config.samples = 2
    assert not torch.allclose(model.get_outputs_for_camera(camera)["sample_0"], before, atol=1e-3)
    assert torch.equal(late["sample_0"], before)
    assert "sample_3" in late


def test_without_samples_there_are_none(pipeline, camera):
    pipeline.model.config.samples = 0
    outputs = pipeline.model.get_outputs_for_camera(camera)
    assert not [name for name in outputs if name in DEVIATIONS or name.startswith("sample_")]


def test_ns_eval_scores_the_uncertainty(pipeline):
    pipeline.model.config.samples = 2
    scores = pipeline.get_average_eval_image_metrics()
    assert {"psnr", "nll_fg", "coverage90_fg", "ause_rel", "best_of_k"} <= scores.keys()
    assert 0 <= scores["coverage90"] <= 1
    assert "nll" not in pipeline.get_average_eval_image_metrics(step=1)


def test_one_draw_has_no_spread(tmp_path: Path):
    with pytest.raises(ConfigError, match="no spread"):
        infer(Infer(data=tmp_path, weights="furniture", samples=1))


@pytest.mark.parametrize(
    ("weights", "samples"), [("furniture", 0), ("furniture-draws", 4), ("shapes-cars-large", 2)]
)
def test_weights_with_noise_are_asked_for_draws(weights: str, samples: int, tmp_path: Path):
    scene = DEMO / "blendswap-cc-0-armchair"
    run = infer(Infer(data=scene, weights=weights, output_dir=tmp_path / "run"))
    assert read_run_config(run / "config.yml").pipeline.model.samples == samples


def test_dead_levels_are_named_once_and_called_alive_again():
    monitor = LevelMonitor(patience=2, decay=0.0)
    alive, dead = torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.001])
    assert monitor.update(dead) is None
    told = monitor.update(dead)
    assert told is not None
    assert "level 1 (0.001)" in told
    assert "level 0" not in told
    assert monitor.update(dead) is None
    assert monitor.update(alive) == "all levels of the latents are alive again."
