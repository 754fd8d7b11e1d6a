import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vnp_core.checkpoints import save_weights
from vnp_core.config import to_dict
from vnp_core.errors import CheckpointError, ConfigError
from vnp_core.shipped import VARIABLE
from vnp_nerf import library
from vnp_nerf.paper import PaperConfig
from vnp_nerf.radiance_config import RadianceConfig


def test_a_configuration_survives_the_round_trip(smallest_model: RadianceConfig):
    for config in (smallest_model, RadianceConfig(), PaperConfig()):
        assert library.model_config(to_dict(config)) == config


def test_an_unknown_kind_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match="'radianse'.*radiance"):
        library.model_config({"kind": "radianse"})


def test_saved_models_come_back_with_their_weights_and_card(smallest_model: RadianceConfig, tmp_path: Path):
    torch.manual_seed(0)
    model = library.build_model(smallest_model)
    library.save_model(tmp_path / "small", model, {"steps": 3})
    loaded, metadata = library.load_model(tmp_path / "small.safetensors")
    assert metadata["steps"] == 3
    assert loaded.config == smallest_model
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_half_precision_files_are_half_as_large_and_close(smallest_model: RadianceConfig, tmp_path: Path):
    torch.manual_seed(0)
    model = library.build_model(smallest_model)
    library.save_model(tmp_path / "whole", model, {})
    library.save_model(tmp_path / "half", model, {}, bfloat16=True)
    whole, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("whole", "half"))
    assert half < 0.7 * whole
    loaded, _ = library.load_model(tmp_path / "half.safetensors")
    for name, tensor in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == tensor.dtype
        assert torch.allclose(loaded.state_dict()[name], tensor, rtol=2**-8, atol=0)


def test_shipped_names_need_no_prefix(
    smallest_model: RadianceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    library.save_model(tmp_path / "vnp-nerf-furniture", library.build_model(smallest_model), {})
    expected = tmp_path / "vnp-nerf-furniture.safetensors"
    assert library.weights_path("furniture") == expected
    assert library.weights_path("vnp-nerf-furniture") == expected
    with pytest.raises(CheckpointError, match=r"'furnitures'.*vnp-nerf-furniture"):
        library.weights_path("furnitures")


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no weights at"):
        library.weights_path(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(width=10**9),
        lambda config: config["encoder"].update(layers=10**9),
        lambda config: config["latents"].update(levels=10**9),
        lambda config: config.update(plane_resolution=10**9),
        lambda config: config["encoder"].update(heads=0),
        lambda config: config.update(patch=0),
        lambda config: config.update(width=-1),
    ],
)
def test_a_card_that_asks_for_another_model_is_refused_before_memory_is_taken(
    smallest_model: RadianceConfig, tmp_path: Path, change
):
    library.save_model(tmp_path / "a", library.build_model(smallest_model), {})
    card = json.loads((tmp_path / "a.json").read_text())
    change(card["config"])
    (tmp_path / "a.json").write_text(json.dumps(card))
    with pytest.raises((CheckpointError, ConfigError)):
        library.load_model(tmp_path / "a.safetensors")


def test_training_may_start_from_weights_of_a_similar_model(smallest_model: RadianceConfig, tmp_path: Path):
    torch.manual_seed(0)
    model = library.build_model(smallest_model)
    library.save_model(tmp_path / "old", model, {})
    wider = replace(
        smallest_model, latents=replace(smallest_model.latents, dim=2 * smallest_model.latents.dim)
    )
    begun = library.build_model(wider)
    before = begun.state_dict()["network.styles.0.0.weight"].clone()
    fresh = library.start_from(begun, tmp_path / "old.safetensors")
    assert torch.equal(begun.network.density.weight, model.network.density.weight)
    assert "network.styles.0.0.weight" in fresh
    assert torch.equal(begun.network.styles[0][0].weight, before)
    assert library.start_from(library.build_model(smallest_model), tmp_path / "old.safetensors") == []


def test_weights_of_which_nothing_fits_are_refused(smallest_model: RadianceConfig, tmp_path: Path):
    save_weights(tmp_path / "strange", {"w": torch.zeros(2)}, config={}, metadata={})
    with pytest.raises(CheckpointError, match="nothing to start from"):
        library.start_from(library.build_model(smallest_model), tmp_path / "strange.safetensors")
