"""A factor on the noise: found on validation objects, noted on the card, and used on demand alone."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

import vnp_nerf
from vnp_core.checkpoints import load_weights
from vnp_core.errors import CheckpointError, ConfigError
from vnp_nerf.console import Speech, Voice
from vnp_nerf.face.run_file import read_run_config
from vnp_nerf.infer import Infer, infer
from vnp_nerf.inferred_field import InferredField
from vnp_nerf.library import build_model, save_model
from vnp_nerf.radiance_config import RadianceConfig


@pytest.fixture
def weights(workplace: Path, tmp_path: Path) -> Path:
    for suffix in (".safetensors", ".json"):
        shutil.copy(workplace / f"tiny{suffix}", tmp_path)
    return tmp_path / "tiny.safetensors"


def calibrate(load_script, workplace: Path, weights: Path, **options) -> float:
    script = load_script("calibrate")
    given = {"objects": 1, "views": (1, 2), "draws": 2, "device": "cpu", **options}
    config = script.Calibrate(weights=str(weights), data=workplace / "noise", **given)
    return script.calibrate(config, Console(), Voice(Speech(quiet=True)))


@torch.no_grad()
def noise_of(field: InferredField) -> float:
    """Root mean square of the noise of rays through the object's ball, at the latents' mean."""
    through = torch.rand(64, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    origins = torch.tensor([[0.0, -3.0, 0.0]]).expand(64, 3)
    directions = torch.nn.functional.normalize(through - origins, dim=-1)
    variance = field.model.infer_field(field.encoded).render(origins, directions).rgb_variance
    assert variance is not None
    return float(variance.mean().sqrt())


def test_the_factor_is_on_the_card_and_works_where_it_is_asked_for(
    load_script, workplace: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_weights(weights)
    factor = calibrate(load_script, workplace, weights)
    printed = capsys.readouterr().out
    assert "calibrated" in printed
    assert "as it is" in printed
    after = load_weights(weights)
    assert after.metadata == {**before.metadata, "noise_factor": pytest.approx(factor, abs=1e-4)}
    assert after.config == before.config
    scene = vnp_nerf.open_scene(workplace / "noise" / "c")
    fields = [vnp_nerf.load(weights, calibrated=wanted).infer(scene) for wanted in (False, True)]
    plain, scaled = (field.render(scene.cameras[0], size=(8, 8), draws=2) for field in fields)
    assert torch.equal(plain.rgb, scaled.rgb)
    assert torch.equal(plain.epistemic, scaled.epistemic)
    noise = [noise_of(field) for field in fields]
    # The floor of one grey level is not multiplied.
    assert noise[1] / noise[0] == pytest.approx(factor, rel=0.1)
    # What is shown of it is no more than colours can have.
    assert plain.sigma.mean() < scaled.sigma.mean() <= scaled.sigma.max() <= 0.5
    run = infer(
        Infer(data=scene.path, weights=str(weights), calibrated=True, output_dir=tmp_path / "run", samples=2)
    )
    config = read_run_config(run / "config.yml")
    assert config.pipeline.model.radiance.noise_factor == pytest.approx(factor, abs=1e-4)


def test_a_dry_run_leaves_the_card_as_it_is(load_script, workplace: Path, weights: Path) -> None:
    before = weights.with_suffix(".json").read_bytes()
    assert calibrate(load_script, workplace, weights, dry_run=True) > 0
    assert weights.with_suffix(".json").read_bytes() == before


def test_what_was_never_calibrated_or_cannot_be_is_refused(
    load_script, workplace: Path, weights: Path, tmp_path: Path, smallest_model: RadianceConfig
) -> None:
    with pytest.raises(ConfigError, match=r"tiny\.safetensors was never calibrated"):
        vnp_nerf.load(weights, calibrated=True)
    data = workplace / "noise" / "c"
    with pytest.raises(ConfigError, match="never calibrated"):
        infer(Infer(data=data, weights=str(weights), calibrated=True, output_dir=tmp_path / "run"))
    with pytest.raises(ConfigError, match="--calibrated is for --weights"):
        infer(Infer(data=data, load_config=tmp_path / "config.yml", calibrated=True))
    scaled = tmp_path / "scaled.safetensors"
    save_model(scaled, build_model(dataclasses.replace(smallest_model, noise_factor=2.0)), {})
    with pytest.raises(ConfigError, match=r"noise_factor of 2\.0 already"):
        calibrate(load_script, workplace, scaled)
    with pytest.raises(ConfigError, match="positive and finite"):
        dataclasses.replace(smallest_model, noise_factor=0.0)
    with pytest.raises(CheckpointError, match="nowhere"):
        calibrate(load_script, workplace, tmp_path / "nowhere.safetensors")
