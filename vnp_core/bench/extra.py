"""Packages that only the benchmarks need, imported when they are used."""

from importlib import import_module
from typing import Any

from vnp_core.errors import MissingDependencyError


def import_extra(name: str) -> Any:
    """The module `name`. Raises `MissingDependencyError`, saying how to install it, where it is not there."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("_", "-")
        raise MissingDependencyError(
            f"The benchmarks need {package}, which cannot be imported ({error}). "
            'Install it: pip install "vnp-nerf[bench]"'
        ) from error
