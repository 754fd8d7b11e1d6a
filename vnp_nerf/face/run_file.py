"""Reading a run's config.yml without running what it says.

nerfstudio writes configs as YAML with Python tags, which its own loader obeys whatever they name. This one
builds configuration objects of nerfstudio's and ours, paths, tuples and enumerations, and refuses everything
else.
"""

import importlib
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from vnp_core.errors import CheckpointError
from vnp_core.whole_files import read_bounded
from vnp_nerf.face.trainer import VNPTrainerConfig

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
_TAG = "tag:yaml.org,2002:python/"


def read_run_config(path: Path) -> VNPTrainerConfig:
    """The configuration of a run of one of our methods. Raises `CheckpointError` for any other file."""
    try:
        config = yaml.load(read_bounded(path, mebibytes=1), Loader=_RunLoader)
    except FileNotFoundError as error:
        raise CheckpointError(f"no run's config.yml at {path}") from error
    except _READING_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[-1].strip()
        raise CheckpointError(f"{path} cannot be read as a run's config.yml: {reason}") from error
    if not isinstance(config, VNPTrainerConfig):
        raise CheckpointError(f"{path} is no run of vnp-nerf, but of {type(config).__name__}")
    return config


class _RunLoader(yaml.SafeLoader):
    """Plain YAML, and the few Python objects that a config holds."""


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
    # As nerfstudio's loader does: fields that an old file lacks keep their defaults.
    config = object.__new__(kind)
    config.__dict__.update(values)
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
