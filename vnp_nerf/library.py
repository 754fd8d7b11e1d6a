"""Models by name or by file: building one from its configuration, saving it, and finding the shipped
weights.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vnp_core.checkpoints import Checkpoint, fitting, load_into, load_weights, save_weights
from vnp_core.config import from_dict, nearest, to_dict
from vnp_core.errors import CheckpointError, ConfigError
from vnp_core.shipped import find_weights, shipped_names
from vnp_nerf.growth import grown
from vnp_nerf.paper import PaperConfig, PaperModel
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig

ModelConfig = RadianceConfig | PaperConfig
Model = RadianceModel | PaperModel

NOISE_FACTOR = "noise_factor"
"""Key in a card's metadata of the factor on the noise that validation scenes ask for."""


def model_config(values: Mapping[str, Any]) -> ModelConfig:
    """The configuration that a dictionary describes; its 'kind' says of which model."""
    kinds: dict[str, type[ModelConfig]] = {"radiance": RadianceConfig, "paper": PaperConfig}
    kind = str(values.get("kind"))
    if kind not in kinds:
        raise ConfigError(f"a model's configuration says kind {kind!r}; {nearest(kind, sorted(kinds))}")
    return from_dict(kinds[kind], dict(values))


def build_model(config: ModelConfig) -> Model:
    """A model with fresh weights."""
    return PaperModel(config) if isinstance(config, PaperConfig) else RadianceModel(config)


def shipped_weights() -> list[str]:
    """Names of the weights that come with the repository, or of those in the folder VNP_NERF_WEIGHTS."""
    return shipped_names()


def weights_path(name_or_path: str | Path) -> Path:
    """The safetensors file that a shipped name ('furniture' means 'vnp-nerf-furniture') or a path stands
    for. Raises `CheckpointError`.
    """
    return find_weights(name_or_path, "vnp-nerf-")


def save_model(path: Path, model: Model, metadata: Mapping[str, Any], *, bfloat16: bool = False) -> None:
    """Writes weights and configuration; `bfloat16` halves the file."""
    save_weights(path, model, config=to_dict(model.config), metadata=dict(metadata), bfloat16=bfloat16)


def fitting_config(checkpoint: Checkpoint, source: str) -> ModelConfig:
    """The configuration of a checkpoint, once its tensors are found to be those of such a model.

    No memory is taken for the model. Raises `ConfigError` or `CheckpointError`.
    """
    return fitting(checkpoint, model_config, build_model, source)


def start_from(model: Model, name_or_path: str | Path) -> list[str]:
    """Fills a fresh model with those tensors of other weights that have its names and shapes.

    Those of a smaller `vnp-nerf` grow into a larger one, as `vnp_nerf.growth` says. Returns the names of the
    tensors that stay fresh. Raises `CheckpointError` where none fits.
    """
    path = weights_path(name_or_path)
    checkpoint = load_weights(path)
    given, own = checkpoint.state_dict, model.state_dict()
    common = {name: given[name] for name in own if name in given and given[name].shape == own[name].shape}
    if not common:
        raise CheckpointError(f"{path} has no tensor of this model's names and shapes: nothing to start from")
    config = fitting_config(checkpoint, str(path))
    if isinstance(model, RadianceModel) and isinstance(config, RadianceConfig):
        state, fresh = grown(given, config, model)
    else:
        state, fresh = {**own, **common}, [name for name in own if name not in common]
    model.load_state_dict(state)
    return sorted(fresh)


def calibrated(config: ModelConfig, metadata: Mapping[str, Any], source: str) -> RadianceConfig:
    """The configuration with the factor on its noise that its card tells (`scripts/calibrate.py`).

    Raises `ConfigError` where the card tells none.
    """
    factor = metadata.get(NOISE_FACTOR)
    if not isinstance(config, RadianceConfig) or not isinstance(factor, float):
        raise ConfigError(
            f"{source} was never calibrated: do so with scripts/calibrate.py, or take it as it is"
        )
    return replace(config, noise_factor=factor)


def load_model(name_or_path: str | Path, *, calibrate: bool = False) -> tuple[Model, dict[str, Any]]:
    """A model in evaluation mode, with float32 weights, and the metadata that was saved with it.

    With `calibrate` its noise is as `calibrated` says.
    """
    path = weights_path(name_or_path)
    checkpoint = load_weights(path)
    config = fitting_config(checkpoint, str(path))
    model = build_model(calibrated(config, checkpoint.metadata, str(path)) if calibrate else config)
    load_into(model, checkpoint.state_dict, str(path))
    return model.eval(), checkpoint.metadata
