import numpy as np
import pytest
import trimesh
from PIL import Image

from vnp_core.errors import ConfigError, DataError, SceneNotFoundError
from vnp_nerf.making.meshes import (
    Z_UP_FROM_Y_UP,
    load_mesh,
    mesh_files,
    mesh_sources,
    split_sources,
    srgb_from_linear,
    z_up_rotation,
)

OBJ = """mtllib thing.mtl
v 0 0 0
v 1 0 0
v 1 2 0
v 0 2 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vt 0.25 0.75
usemtl painted
f 1/1 2/2 3/3
f 1/5 3/3 4/4
usemtl glass
f 1 2 3
"""
MTL = "newmtl painted\nKd 0.1 0.2 0.3\nmap_Kd paint.png\n\nnewmtl glass\nKd 0.2 0.4 0.6\nd 0.25\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "thing.obj").write_text(OBJ)
    (tmp_path / "thing.mtl").write_text(MTL)
    Image.fromarray(np.full((2, 2, 3), (10, 20, 30), np.uint8)).save(tmp_path / "paint.png")
    return tmp_path


def test_obj_comes_with_texture_opacity_and_z_up(folder):
    mesh = load_mesh(folder / "thing.obj")
    painted, glass = sorted(mesh.palette, key=lambda material: material.texture is None)
    assert painted.colour == (1.0, 1.0, 1.0)
    assert painted.texture[0, 0].tolist() == [10, 20, 30, 255]
    assert glass.colour == pytest.approx((0.2, 0.4, 0.6))
    assert glass.alpha == pytest.approx(0.25)
    np.testing.assert_allclose(np.ptp(mesh.corners.reshape(-1, 3), axis=0), [1, 0, 2], atol=1e-6)


def test_one_vertex_keeps_two_texture_coordinates(folder):
    mesh = load_mesh(folder / "thing.obj")
    at_origin = np.abs(mesh.corners).sum(axis=-1) == 0
    textured = np.array([mesh.palette[index].texture is not None for index in mesh.materials])
    coordinates = mesh.uvs[at_origin & textured[:, None]]
    assert sorted(coordinates.tolist()) == [[0.0, 0.0], [0.25, 0.75]]


def test_opacity_may_be_given_as_transparency(folder):
    (folder / "thing.mtl").write_text(MTL.replace("d 0.25", "Tr 0.25"))
    assert sorted(material.alpha for material in load_mesh(folder / "thing.obj").palette) == [0.75, 1.0]


def test_gltf_colours_are_linear_and_srgb_here(tmp_path):
    box = trimesh.creation.box()
    box.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[55, 128, 255, 255])
    )
    box.export(tmp_path / "box.glb")
    colour = load_mesh(tmp_path / "box.glb").palette[0].colour
    assert colour == pytest.approx(
        [1.055 * (55 / 255) ** (1 / 2.4) - 0.055, 1.055 * (128 / 255) ** (1 / 2.4) - 0.055, 1]
    )


def test_srgb_curve_is_continuous_and_keeps_both_ends():
    values = srgb_from_linear(np.array([0.0, 0.0031307, 0.0031309, 1.0, 2.0]))
    np.testing.assert_allclose(values[[0, 3, 4]], [0, 1, 1], atol=1e-12)
    assert values[2] - values[1] < 1e-4


def test_vertex_colours_of_a_ply_are_kept_and_its_up_is_z(tmp_path):
    box = trimesh.creation.box((1, 2, 3))
    box.visual.vertex_colors = np.tile([200, 100, 50, 255], (len(box.vertices), 1))
    box.export(tmp_path / "box.ply")
    mesh = load_mesh(tmp_path / "box.ply")
    np.testing.assert_allclose(
        mesh.tints.reshape(-1, 4), np.tile([200, 100, 50, 255], (36, 1)) / 255, atol=1e-6
    )
    np.testing.assert_allclose(np.ptp(mesh.corners.reshape(-1, 3), axis=0), [1, 2, 3])


def test_upward_axis_can_be_forced(tmp_path):
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "box.stl")
    np.testing.assert_allclose(
        np.ptp(load_mesh(tmp_path / "box.stl", y_up=True).corners.reshape(-1, 3), axis=0), [1, 3, 2]
    )


@pytest.mark.parametrize(
    ("name", "content"), [("bad.glb", b"glTF but not really"), ("points.obj", b"v 0 0 0\nv 1 1 1\n")]
)
def test_files_without_a_mesh_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_mesh(tmp_path / name)


def test_folders_without_meshes_are_named(tmp_path):
    with pytest.raises(SceneNotFoundError, match="no mesh file"):
        mesh_files(tmp_path)
    with pytest.raises(SceneNotFoundError, match="is no folder"):
        mesh_files(tmp_path / "absent")


def test_ids_are_unique_even_for_files_of_one_name(tmp_path):
    names = ["a.obj", "a.ply", "sub/a.obj", "sub-a.obj"]
    files = [tmp_path / name for name in names]
    sources = mesh_sources(files, tmp_path, None)
    assert [path for path, _ in sources.values()] == files
    with pytest.raises(ConfigError, match="y or z"):
        mesh_sources(files, tmp_path, "x")


@pytest.mark.parametrize("count", [1, 2, 3, 25])
def test_splits_part_the_meshes_and_leave_some_to_train(count):
    names = {f"object-{index}": None for index in range(count)}
    splits = split_sources(names)
    assert sorted(name for members in splits.values() for name in members) == sorted(names)
    assert splits["train"]


def test_objects_that_come_later_leave_the_others_in_their_splits():
    names = [f"object-{index}" for index in range(400)]
    before, after = split_sources(names[:100]), split_sources(names)
    for split, members in before.items():
        assert set(members) <= set(after[split])
    assert 0.05 < len(after["test"]) / len(names) < 0.2


@pytest.mark.parametrize("material", [False, True])
def test_colours_of_gltf_vertices_are_linear_light_and_multiply_the_material(tmp_path, material):
    box = trimesh.creation.box()
    linear = np.tile(np.array([[55, 8, 3, 255]], np.uint8), (len(box.vertices), 1))
    if material:
        box.visual = trimesh.visual.TextureVisuals(
            material=trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 255, 255, 255])
        )
        box.visual.vertex_attributes["color"] = linear
    else:
        box.visual = trimesh.visual.ColorVisuals(box, vertex_colors=linear)
    box.export(tmp_path / "box.glb")
    mesh = load_mesh(tmp_path / "box.glb")
    assert mesh.tints is not None
    colour = mesh.tints[0, 0, :3] * np.array(mesh.palette[0].colour)
    np.testing.assert_allclose(colour, srgb_from_linear(np.array([55, 8, 3]) / 255), atol=0.01)


def test_catalogue_rotation_commutes_with_the_change_of_axes():
    about_y = [0, 0, 1, 0, 1, 0, -1, 0, 0]
    point = np.array([0.3, -0.2, 0.9], np.float32)
    rotated_then_upright = Z_UP_FROM_Y_UP @ (np.array(about_y, np.float32).reshape(3, 3) @ point)
    np.testing.assert_allclose(
        z_up_rotation(about_y) @ (Z_UP_FROM_Y_UP @ point), rotated_then_upright, atol=1e-6
    )
