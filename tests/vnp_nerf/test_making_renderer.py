import builtins

import numpy as np
import pytest
import trimesh

from vnp_core.errors import ConfigError, MissingDependencyError
from vnp_nerf.making.mesh import Material, Mesh, join_meshes
from vnp_nerf.making.renderer import Renderer, import_open3d, shading

FROM_ABOVE = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4]], float)
FOCAL_30 = 1 / (2 * np.tan(np.pi / 12))


def quad(z, material, half=1.0, uv_scale=1.0):
    corners = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], np.float32)
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * uv_scale
    order = np.array([[0, 1, 2], [0, 2, 3]])
    return Mesh(corners[order], np.zeros(2, np.int64), (material,), uvs=uvs[order])


def solid(shape):
    triangles = np.asarray(shape.triangles, np.float32)
    return Mesh(triangles, np.zeros(len(triangles), np.int64), (Material((1.0, 1.0, 1.0)),))


def look_at_origin(azimuth, elevation, distance=4.0):
    back = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
    return np.stack([right, np.cross(back, right), back, back * distance], axis=1)


def test_silhouette_of_the_unit_ball_has_the_area_of_its_projected_circle():
    size = 128
    picture = Renderer(solid(trimesh.creation.icosphere(5))).picture(FROM_ABOVE, FOCAL_30 * size, size, size)
    radius = FOCAL_30 * size * np.tan(np.arcsin(1 / 4))
    assert picture.rgba[..., 3].sum() / 255 == pytest.approx(np.pi * radius**2, rel=3e-3)


def test_distance_of_the_unit_ball_solves_its_quadratic():
    height, width, focal = 40, 60, 90.0
    renderer = Renderer(solid(trimesh.creation.icosphere(6)))
    distance = renderer.picture(look_at_origin(0.7, 0.4), focal, height, width, with_distance=True).distance
    x, y = np.meshgrid(
        (np.arange(width) + 0.5 - width / 2) / focal, (np.arange(height) + 0.5 - height / 2) / focal
    )
    cosine = 1 / np.sqrt(1 + x**2 + y**2)
    discriminant = (4 * cosine) ** 2 - 15
    inside = discriminant > 0.05
    expected = 4 * cosine[inside] - np.sqrt(discriminant[inside])
    np.testing.assert_allclose(distance[inside], expected, atol=2e-3)
    assert np.isinf(distance[discriminant < -0.05]).all()


def test_corners_of_a_cube_bound_its_picture():
    height, width, focal, pose = 90, 120, 170.0, look_at_origin(2.1, 0.5)
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    local = (corners - pose[:, 3]) @ pose[:, :3]
    columns = width / 2 + focal * local[:, 0] / -local[:, 2]
    rows = height / 2 - focal * local[:, 1] / -local[:, 2]
    alpha = Renderer(solid(trimesh.creation.box((1, 1, 1)))).picture(pose, focal, height, width).rgba[..., 3]
    seen_rows, seen_columns = np.nonzero(alpha)
    for seen, true in ((seen_rows, rows), (seen_columns, columns)):
        assert seen.min() == pytest.approx(np.floor(true.min()), abs=1)
        assert seen.max() == pytest.approx(np.floor(true.max()), abs=1)


def test_textured_quad_shows_each_texel_where_its_uv_says():
    texture = np.random.default_rng(0).integers(0, 256, (4, 8, 4), dtype=np.uint8)
    texture[..., 3] = 255
    plane = quad(0.0, Material((1, 1, 1), 1.0, texture))
    plane.corners[..., 1] *= 0.5
    # The quad fills the picture and each texel one pixel; the first row of both is the upper one (v = 1).
    rgba = Renderer(plane, 1).picture(FROM_ABOVE, 16.0, 4, 8).rgba
    light = shading(np.array([[0.0, 0.0, 1.0]], np.float32))[0]
    np.testing.assert_allclose(rgba[..., :3], texture[..., :3] * light, atol=1)


def test_texture_repeats_beyond_the_unit_square():
    texture = np.random.default_rng(1).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    texture[..., 3] = 255
    once = Renderer(quad(0.0, Material((1, 1, 1), 1.0, texture)), 1).picture(FROM_ABOVE, 8.0, 4, 4).rgba
    twice = Renderer(quad(0.0, Material((1, 1, 1), 1.0, texture), uv_scale=2.0), 1)
    np.testing.assert_allclose(twice.picture(FROM_ABOVE, 16.0, 8, 8).rgba, np.tile(once, (2, 2, 1)), atol=1)


def test_texture_finer_than_a_pixel_shows_its_mean_not_an_alias():
    board = np.zeros((256, 256, 4), np.uint8)
    board[..., 3] = 255
    board[::2, ::2, :3] = board[1::2, 1::2, :3] = 255
    light = shading(np.array([[0.0, 0.0, 1.0]], np.float32))[0]
    rgba = Renderer(quad(0.0, Material((1, 1, 1), 1.0, board))).picture(FROM_ABOVE, 32.0, 16, 16).rgba
    np.testing.assert_allclose(rgba[..., :3], 127.5 * light, atol=2)


def test_transparent_texels_lend_no_colour_to_their_neighbours():
    texture = np.zeros((2, 2, 4), np.uint8)
    texture[:, 0] = (0, 255, 0, 255)
    texture[:, 1] = (255, 0, 255, 0)
    rgba = Renderer(quad(0.0, Material((1, 1, 1), 1.0, texture))).picture(FROM_ABOVE, 32.0, 16, 16).rgba
    seen = rgba[rgba[..., 3] > 8]
    assert len(np.unique(rgba[..., 3])) > 3
    assert (seen[:, 0] == 0).all()
    assert (seen[:, 2] == 0).all()


def test_two_transparent_quads_composite_front_over_back():
    front, back = np.array([0.9, 0.2, 0.1]), np.array([0.1, 0.3, 0.8])
    both = join_meshes([quad(-0.2, Material(tuple(back), 0.7)), quad(0.3, Material(tuple(front), 0.4))])
    pixel = Renderer(both).picture(FROM_ABOVE, 20.0, 5, 5).rgba[2, 2] / 255
    alpha = 1 - 0.6 * 0.3
    light = shading(np.array([[0.0, 0.0, 1.0]], np.float32))[0]
    assert pixel[3] == pytest.approx(alpha, abs=0.003)
    np.testing.assert_allclose(pixel[:3], (0.4 * front + 0.6 * 0.7 * back) / alpha * light, atol=0.004)


def test_distance_ignores_a_surface_that_lets_more_than_half_the_light_through():
    both = join_meshes([quad(-0.5, Material(alpha=0.9)), quad(0.5, Material(alpha=0.3))])
    picture = Renderer(both).picture(FROM_ABOVE, 100.0, 1, 1, with_distance=True)
    assert picture.distance[0, 0] == pytest.approx(4.5, abs=1e-4)


def test_pixels_on_the_rim_keep_the_colour_of_the_surface():
    pose = FROM_ABOVE + np.array([[0, 0, 0, 0.013], [0, 0, 0, 0.027], [0, 0, 0, 0]])
    rgba = Renderer(quad(0.0, Material((0.8, 0.5, 0.2)), half=0.7), 4).picture(pose, 40.0, 24, 24).rgba
    partly = (rgba[..., 3] > 0) & (rgba[..., 3] < 255)
    assert partly.sum() > 20
    np.testing.assert_array_equal(rgba[partly][:, :3], np.tile(rgba[12, 12, :3], (partly.sum(), 1)))
    assert (rgba[rgba[..., 3] == 0] == 0).all()


def test_a_surface_has_one_brightness_in_all_views():
    renderer = Renderer(quad(0.0, Material((1, 1, 1))))
    seen = [
        renderer.picture(look_at_origin(azimuth, elevation), 100.0, 1, 1).rgba[0, 0, :3]
        for azimuth, elevation in ((0.1, 0.3), (2.0, 0.8), (4.0, 1.4))
    ]
    assert (np.stack(seen) == seen[0]).all()


def test_shading_lies_between_dark_and_one():
    normals = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    light = shading(normals / np.linalg.norm(normals, axis=1, keepdims=True))
    assert 0.3 < light.min() < light.max() <= 1.0


def test_normals_of_the_file_round_the_shading():
    ball = trimesh.creation.icosphere(2)
    flat = solid(ball)
    corners = np.asarray(ball.vertices, np.float32)[ball.faces]
    smooth = Mesh(flat.corners, flat.materials, flat.palette, normals=corners)
    pictures = [
        Renderer(mesh).picture(FROM_ABOVE, 200.0, 64, 64).rgba[16:48, 16:48, 0] for mesh in (flat, smooth)
    ]
    jumps = [np.abs(np.diff(picture.astype(int), axis=1)).max() for picture in pictures]
    assert jumps[1] <= 3 < jumps[0]


def test_supersampling_below_one_is_refused():
    with pytest.raises(ConfigError, match="supersampling is 0"):
        Renderer(quad(0.0, Material()), 0)


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (ModuleNotFoundError("No module named 'open3d'"), "pip install open3d"),
        (
            OSError("libusb-1.0.so.0: cannot open shared object file"),
            "apt-get install libusb-1.0-0 libgl1 libgomp1",
        ),
        (ImportError("libGL.so.1: cannot open shared object file"), "libGL.so.1"),
    ],
)
def test_missing_open3d_says_how_to_get_it(monkeypatch, failure, advice):
    real = builtins.__import__

    def without_open3d(name, *args, **kwargs):
        if name == "open3d":
            raise failure
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_open3d)
    with pytest.raises(MissingDependencyError, match=advice):
        import_open3d()
