"""Reading a run's config.yml without running what it says.

nerfstudio writes configs as YAML with Python tags, which its own loader obeys whatever they name. This one
builds configuration objects of nerfstudio's and ours, paths, tuples and enumerations, and refuses everything
else.
"""

import importlib
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from vnp_core.errors import CheckpointError
from vnp_nerf.face.trainer import VNPTrainerConfig

_PACKAGES = ("nerfstudio", "vnp_nerf", "vnp_core")
_NAMES_ONLY = ("torch.optim",)
_TAG = "tag:yaml.org,2002:python/"


def read_run_config(path: Path) -> VNPTrainerConfig:
    """The configuration of a run of one of our methods. Raises `CheckpointError` for any other file."""
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_RunLoader)
    except FileNotFoundError as error:
        raise CheckpointError(f"no run's config.yml at {path}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ImportError, AttributeError) as error:
        reason = str(error).splitlines()[-1].strip()
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
    return getattr(importlib.import_module(module), attribute)


def _object(loader: yaml.SafeLoader, name: str, node: yaml.MappingNode) -> Any:
    kind = _named(loader, name, _PACKAGES)
    if not is_dataclass(kind):
        raise yaml.YAMLError(f"it makes a {name}, which is no configuration")
    config = object.__new__(
        kind
    )  # as nerfstudio's loader does: fields that an old file lacks keep their defaults
    config.__dict__.update(loader.construct_mapping(node, deep=True))
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
