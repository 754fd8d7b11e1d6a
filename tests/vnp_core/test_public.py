"""The public surface is the checked-in list, and importing it is light."""

import subprocess
import sys

import pytest

import vnp_core


@pytest.mark.parametrize("name", vnp_core.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(vnp_core, name).__module__.startswith("vnp_core.")


def test_an_unknown_name_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = vnp_core.Nonsense


def test_the_package_imports_without_torch_and_the_model_without_nerfstudio():
    code = (
        "import sys, vnp_core; assert 'torch' not in sys.modules; vnp_core.VersatileNeuralProcess; "
        "assert not any(name.split('.')[0] in ('nerfstudio', 'vnp_nerf', 'open3d') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
