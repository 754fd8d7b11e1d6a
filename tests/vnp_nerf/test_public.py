"""The public surface is the checked-in list, and importing it is light."""

import subprocess
import sys

import pytest

import vnp_nerf


@pytest.mark.parametrize("name", vnp_nerf.__all__)
def test_every_public_name_can_be_imported(name: str):
    assert getattr(vnp_nerf, name).__module__.startswith("vnp_nerf.")


def test_an_unknown_name_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = vnp_nerf.Nonsense


def test_the_package_imports_without_torch_and_load_and_open_scene_without_nerfstudio():
    code = (
        "import sys, vnp_nerf; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules); "
        "vnp_nerf.load, vnp_nerf.open_scene; heavy = ('nerfstudio', 'open3d', 'trimesh', 'skimage'); "
        "assert not any(name.split('.')[0] in heavy for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
