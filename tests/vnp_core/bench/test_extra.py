"""Optional packages: found, or named with the command that installs them."""

import math

import pytest

from vnp_core.bench.extra import import_extra
from vnp_core.errors import MissingDependencyError


def test_what_is_installed_is_imported() -> None:
    assert import_extra("math") is math


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(MissingDependencyError, match=r'no-such-thing.*pip install "vnp-nerf\[bench\]"'):
        import_extra("no_such_thing.inside")
