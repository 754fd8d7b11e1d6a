import numpy as np
import pytest
import torch

from vnp_core.errors import CameraError
from vnp_nerf.lenses import Lens

BARREL = Lens(50.0, 52.0, 33.0, 23.5, 48, 64, k1=-0.12, k2=0.02, p1=0.003, p2=-0.002)
PINCUSHION = Lens(50.0, 52.0, 33.0, 23.5, 48, 64, k1=0.1, k3=0.01)


def smooth_picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)]
    rgb = [127 + 100 * wave for wave in waves]
    return np.stack([*rgb, np.full((height, width), 255)], axis=-1).round().astype(np.uint8)


def bilinear(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    """The value at a point, with pixel centres at +0.5."""
    column, row = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    column, row = min(max(column, 0), picture.shape[1] - 2), min(max(row, 0), picture.shape[0] - 2)
    u, v = x - 0.5 - column, y - 0.5 - row
    corners = picture[row : row + 2, column : column + 2].astype(float)
    return (1 - v) * ((1 - u) * corners[0, 0] + u * corners[0, 1]) + v * (
        (1 - u) * corners[1, 0] + u * corners[1, 1]
    )


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION])
def test_undistorting_samples_where_opencvs_formula_says(lens):
    picture = smooth_picture(lens.height, lens.width)
    straight = lens.undistort(picture)
    fx, fy, cx, cy = lens.pinhole()
    for row, column in [(0, 0), (10, 50), (24, 33), (47, 63), (30, 5)]:
        x, y = (column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy
        r2 = x * x + y * y
        d = 1 + lens.k1 * r2 + lens.k2 * r2**2 + lens.k3 * r2**3
        bent_x = x * d + 2 * lens.p1 * x * y + lens.p2 * (r2 + 2 * x * x)
        bent_y = y * d + lens.p1 * (r2 + 2 * y * y) + 2 * lens.p2 * x * y
        expected = bilinear(picture, bent_x * lens.fx + lens.cx, bent_y * lens.fy + lens.cy)
        np.testing.assert_allclose(straight[row, column], expected, atol=1.0)


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION])
def test_the_undistorted_view_is_the_widest_that_is_filled(lens):
    zoom = lens.pinhole()[0] / lens.fx
    y, x = torch.meshgrid(torch.arange(lens.height) + 0.5, torch.arange(lens.width) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], dim=-1).double()
    size = torch.tensor([lens.width, lens.height])

    def overshoot(factor: float) -> float:
        focal, centre = torch.tensor([lens.fx, lens.fy]), torch.tensor([lens.cx, lens.cy])
        source = lens.distort((pixels - centre) / (factor * focal)) * focal + centre
        return float(torch.maximum(0.5 - source, source - (size - 0.5)).max())

    assert overshoot(zoom) < 1e-3
    assert overshoot(0.995 * zoom) > 0


def test_undistortion_agrees_with_opencv():
    cv2 = pytest.importorskip("cv2")
    lens, picture = BARREL, smooth_picture(48, 64)
    fx, fy, cx, cy = lens.pinhole()
    camera = np.array([[lens.fx, 0, lens.cx - 0.5], [0, lens.fy, lens.cy - 0.5], [0, 0, 1]])
    straight = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    coefficients = np.array([lens.k1, lens.k2, lens.p1, lens.p2, lens.k3])
    expected = cv2.undistort(picture, camera, coefficients, None, straight)
    difference = np.abs(expected[2:-2, 2:-2, :3].astype(int) - lens.undistort(picture)[2:-2, 2:-2, :3])
    assert difference.max() <= 2


def test_a_lens_without_distortion_changes_nothing_but_the_last_bit():
    lens = Lens(50.0, 50.0, 32.0, 24.0, 48, 64)
    picture = smooth_picture(48, 64)
    assert lens.pinhole()[0] == pytest.approx(50.0, rel=1e-5)
    assert np.abs(lens.undistort(picture).astype(int) - picture).max() <= 1


def test_colours_of_invisible_pixels_do_not_bleed_in():
    picture = smooth_picture(48, 64)
    picture[:, :32] = [255, 0, 255, 0]
    picture[:, 32:] = [10, 20, 30, 255]
    straight = BARREL.undistort(picture)
    seen = straight[straight[..., 3] > 20]
    np.testing.assert_allclose(seen[:, :3], np.broadcast_to([10, 20, 30], (len(seen), 3)), atol=1)


@pytest.mark.parametrize("strength", [{"k1": -0.9}, {"k1": 40.0}, {"k1": -3.0, "k2": 0.1}])
def test_distortion_that_folds_the_picture_is_refused(strength):
    with pytest.raises(CameraError, match="too strong"):
        Lens(20.0, 20.0, 32.0, 24.0, 48, 64, **strength).pinhole()


@pytest.mark.parametrize("centre", [(-1.0, 24.0), (32.0, 49.0)])
def test_a_refused_cut_of_a_picture_is_told_that_its_centre_lies_outside(centre):
    with pytest.raises(CameraError, match=r"principal point \(.*\) lies outside of the picture"):
        Lens(100.0, 100.0, *centre, 48, 64, k1=1e-3).pinhole()
