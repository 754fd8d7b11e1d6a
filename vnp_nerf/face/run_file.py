"""Reading a run's config.yml without running what it says.

nerfstudio writes configs as YAML with Python tags, which its own loader obeys whatever they name. This one
builds configuration objects of nerfstudio's and ours, paths, tuples and enumerations, and refuses everything
else.
"""

import importlib
import math
import sys
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from vnp_core.config import from_dict, to_dict
from vnp_core.errors import CheckpointError, ConfigError
from vnp_core.whole_files import read_bounded
from vnp_nerf.face.datamanager import VNPDataManagerConfig
from vnp_nerf.face.dataparser import VNPSceneDataParserConfig
from vnp_nerf.face.model import VNPModelConfig
from vnp_nerf.face.pipeline import VNPPipelineConfig
from vnp_nerf.face.trainer import VNPTrainerConfig
from vnp_nerf.library import model_config

_PACKAGES = ("nerfstudio", "vnp_nerf", "vnp_core")
_NAMES_ONLY = ("torch.optim",)
_FUNCTIONS_FROM = "nerfstudio.data.utils.nerfstudio_collate"
"""Functions may be named, not called, from here alone: data managers name what joins their pictures."""
_READING_ERRORS = (
    OSError,
    yaml.YAMLError,
    ImportError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_MOST_VALUES = 100_000
_TAG = "tag:yaml.org,2002:python/"


def read_run_config(path: Path) -> VNPTrainerConfig:
    """The configuration of a run of one of our methods. Raises `CheckpointError` for any other file."""
    try:
        config = yaml.load(read_bounded(path, mebibytes=1), Loader=_RunLoader)
        if isinstance(config, VNPTrainerConfig):
            _check_parts(config)
    except FileNotFoundError as error:
        raise CheckpointError(f"no run's config.yml at {path}") from error
    except _READING_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[-1].strip()
        raise CheckpointError(f"{path} cannot be read as a run's config.yml: {reason}") from error
    if not isinstance(config, VNPTrainerConfig):
        raise CheckpointError(f"{path} is no run of vnp-nerf, but of {type(config).__name__}")
    return config


def say_where_it_is_from(path: Path, config: VNPTrainerConfig) -> None:
    """Says on stderr what to beware of with a run that does not lie where it was made."""
    made, lies = config.get_base_dir().absolute(), path.absolute().parent
    if made.resolve() != lies.resolve():
        print(
            f"NOTE: {path} was made as {made / path.name}: the run was moved, or is another person's. It is "
            "read here without running what it says. nerfstudio's own programs (ns-train, ns-render, "
            "ns-viewer, ns-eval, ns-export with --load-config) call whatever the file names: use them on it "
            "only if you trust who made it. Weights are safe to pass on: vnp-export weights.",
            file=sys.stderr,
            flush=True,
        )


def _check_parts(config: VNPTrainerConfig) -> None:
    """Compares with their types the parts of a configuration that are used; raises if one is none of ours."""
    pipeline: Any = config.pipeline
    for part, kind in (
        (pipeline, VNPPipelineConfig),
        (pipeline.datamanager, VNPDataManagerConfig),
        (pipeline.datamanager.dataparser, VNPSceneDataParserConfig),
        (pipeline.model, VNPModelConfig),
    ):
        if not isinstance(part, kind):
            raise ConfigError(f"it has a {type(part).__name__} in place of a {kind.__name__}")
    pipeline.model.radiance = model_config(to_dict(pipeline.model.radiance))
    parser = pipeline.datamanager.dataparser
    values = {field.name: getattr(parser, field.name) for field in fields(parser) if field.name != "_target"}
    pipeline.datamanager.dataparser = from_dict(
        VNPSceneDataParserConfig, {**values, "read": to_dict(parser.read)}
    )
    draw = pipeline.model.draw
    if not (draw is None or type(draw) is int) or not config.get_checkpoint_dir().name:
        raise ConfigError(f"it has a draw of {draw!r}, or no folder of checkpoints")


class _RunLoader(yaml.SafeLoader):
    """Plain YAML, and the few Python objects that a config holds."""

    def get_single_node(self) -> Any:
        """The document. Parts that it uses again and again must not unfold to more than any run holds."""
        node = super().get_single_node()
        if _unfolded(node, {}) > _MOST_VALUES:
            raise yaml.YAMLError(f"it unfolds to more than {_MOST_VALUES} values")
        return node


def _unfolded(node: Any, known: dict[int, float]) -> float:
    """How many values a part stands for, each counted where it is used; infinite if it holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = (part for entry in parts for part in (entry if isinstance(entry, tuple) else (entry,)))
        known[id(node)] = 1 + sum(_unfolded(part, known) for part in inner)
    return known[id(node)]


def _named(loader: yaml.SafeLoader, name: str, packages: tuple[str, ...]) -> Any:
    module, _, attribute = name.rpartition(".")
    if not any(module == package or module.startswith(package + ".") for package in packages):
        raise yaml.YAMLError(f"it names {name}, which is no part of a run's configuration")
    named = getattr(importlib.import_module(module), attribute)
    if not isinstance(named, type) and module != _FUNCTIONS_FROM:
        raise yaml.YAMLError(f"it names {name}, which is no class")
    return named


def _object(loader: yaml.SafeLoader, name: str, node: yaml.MappingNode) -> Any:
    kind = _named(loader, name, _PACKAGES)
    if not is_dataclass(kind):
        raise yaml.YAMLError(f"it makes a {name}, which is no configuration")
    values = loader.construct_mapping(node, deep=True)
    if unknown := sorted(map(str, values.keys() - {field.name for field in fields(kind)})):
        raise yaml.YAMLError(f"a {name} has no {unknown[0]}")
    # Fields that an old file lacks keep their defaults.
    config = object.__new__(kind)
    made = {f.name: f.default_factory() for f in fields(kind) if f.default_factory is not MISSING}
    config.__dict__.update({**made, **values})
    return config


def _applied(loader: yaml.SafeLoader, name: str, node: yaml.SequenceNode) -> Any:
    arguments = loader.construct_sequence(node, deep=True)
    if name.rpartition(".")[0].split(".")[0] == "pathlib":
        return Path(*arguments)
    if name == "builtins.getattr":  # how Python 3.11.0 to 3.11.3 write a member of an enumeration
        owner, member = arguments
        if isinstance(owner, type) and issubclass(owner, Enum):
            return owner[member]
    kind = _named(loader, name, _PACKAGES)
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        raise yaml.YAMLError(f"it calls {name}, which is no part of a run's configuration")
    return kind(*arguments)


_RunLoader.add_multi_constructor(_TAG + "object:", _object)
_RunLoader.add_multi_constructor(_TAG + "object/apply:", _applied)
_RunLoader.add_multi_constructor(
    _TAG + "name:", lambda loader, name, node: _named(loader, name, _PACKAGES + _NAMES_ONLY)
)
_RunLoader.add_constructor(
    _TAG + "tuple", lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)
