import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vnp_core.errors import PictureError
from vnp_nerf.pictures import MAX_PIXELS, PictureSource, picture_size, read_mask, read_rgba


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def png_that_claims(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes whose header says that it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    return path


@pytest.fixture
def rgba(rng) -> np.ndarray:
    return rng.integers(0, 256, (5, 7, 4), dtype=np.uint8)


def test_rgba_files_come_back_byte_for_byte(tmp_path, rgba):
    path = saved(tmp_path / "a.png", rgba)
    np.testing.assert_array_equal(read_rgba(path), rgba)
    assert picture_size(path) == (5, 7)


def test_files_without_alpha_are_opaque(tmp_path, rgba):
    rgb = rgba[..., :3]
    expected = np.concatenate([rgb, np.full((5, 7, 1), 255, np.uint8)], axis=-1)
    np.testing.assert_array_equal(read_rgba(saved(tmp_path / "a.png", rgb)), expected)


def test_grey_files_are_spread_over_the_three_channels(tmp_path, rgba):
    grey = rgba[..., 0]
    expected = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    np.testing.assert_array_equal(read_rgba(saved(tmp_path / "a.png", grey)), expected)


def test_grey_files_with_alpha_keep_it(tmp_path, rgba):
    both = np.ascontiguousarray(rgba[..., :2])
    path = tmp_path / "a.png"
    Image.merge("LA", [Image.fromarray(np.ascontiguousarray(both[..., i])) for i in range(2)]).save(path)
    np.testing.assert_array_equal(read_rgba(path)[..., 3], both[..., 1])
    np.testing.assert_array_equal(read_rgba(path)[..., 2], both[..., 0])


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    values = np.array([[0, 128, 129, 257, 65535, 32768]], dtype=np.uint16)
    path = saved(tmp_path / "a.png", values)
    assert read_rgba(path)[0, :, 0].tolist() == [0, 0, 1, 1, 255, 128]
    assert (read_rgba(path)[..., 3] == 255).all()


def test_palette_files_keep_their_transparent_colour(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode=None).convert("P")
    image.putdata([0, 1])
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.save(tmp_path / "a.png", transparency=0)
    assert read_rgba(tmp_path / "a.png")[0].tolist() == [[10, 20, 30, 0], [200, 100, 50, 255]]


def test_exif_rotation_is_ignored(tmp_path, rgba):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.jpg", rgba[..., :3], exif=exif)
    assert read_rgba(path).shape == (5, 7, 4)
    assert picture_size(path) == (5, 7)


@pytest.mark.parametrize("values", [[[0, 1]], [[0, 255]]])
def test_masks_of_zeros_and_ones_mean_the_same_as_of_255(tmp_path, values):
    path = saved(tmp_path / "m.png", np.array(values, dtype=np.uint8))
    assert read_mask(path).tolist() == [[0, 255]]


@pytest.mark.parametrize("values", [[[0, 1]], [[0, 65535]]])
def test_masks_of_sixteen_bits_are_masks(tmp_path, values):
    Image.fromarray(np.array(values, dtype=np.uint16)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 255]]


def test_one_bit_masks_are_masks(tmp_path):
    path = saved(tmp_path / "m.png", np.array([[0, 255]], dtype=np.uint8), mode="1")
    assert read_mask(path).tolist() == [[0, 255]]


def palette_picture(*colours: tuple[int, int, int]) -> Image.Image:
    """Pixels 0, 1, ... of these colours in a row."""
    picture = Image.new("P", (len(colours), 1))
    picture.putpalette([value for colour in colours for value in colour])
    picture.putdata(range(len(colours)))
    return picture


def test_a_palette_of_colours_numbers_objects(tmp_path):
    """As DAVIS has them: dark red is the first object, no faint one; 0 is background, whatever its colour."""
    labels = palette_picture((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 0))
    labels.save(tmp_path / "labels.png")
    assert read_mask(tmp_path / "labels.png").tolist() == [[0, 255, 255, 255]]
    palette_picture((255, 0, 0), (0, 0, 0)).save(tmp_path / "red.png")
    assert read_mask(tmp_path / "red.png").tolist() == [[0, 255]]


def test_colours_paint_objects_on_black(tmp_path):
    """Blue is as opaque as white, and what compression leaves of black is black."""
    row = [(0, 0, 0), (3, 0, 5), (0, 0, 255), (64, 0, 0), (255, 255, 255)]
    path = saved(tmp_path / "m.png", np.array([row], dtype=np.uint8))
    assert read_mask(path).tolist() == [[0, 0, 255, 255, 255]]


def test_greys_of_three_channels_are_soft(tmp_path):
    path = saved(tmp_path / "m.png", np.array([[(0, 0, 0), (99, 99, 99), (255, 250, 255)]], dtype=np.uint8))
    assert read_mask(path).tolist() == [[0, 99, 252]]


def test_a_mask_that_is_partly_transparent_is_its_alpha(tmp_path):
    row = [(255, 255, 255, 0), (0, 0, 0, 120), (9, 200, 9, 255)]
    path = saved(tmp_path / "m.png", np.array([row], dtype=np.uint8))
    assert read_mask(path).tolist() == [[0, 120, 255]]
    solid = saved(tmp_path / "s.png", np.array([[(0, 0, 0, 255), (255, 255, 255, 255)]], dtype=np.uint8))
    assert read_mask(solid).tolist() == [[0, 255]]


def test_a_palette_of_greys_is_grey(tmp_path):
    palette_picture((255, 255, 255), (64, 64, 64), (0, 0, 0)).save(tmp_path / "soft.png")
    assert read_mask(tmp_path / "soft.png").tolist() == [[255, 64, 0]]


def test_a_missing_picture_is_an_error_of_ours(tmp_path):
    with pytest.raises(PictureError, match="no such picture"):
        read_rgba(tmp_path / "none.png")


def test_a_text_file_is_no_picture(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("not a picture")
    with pytest.raises(PictureError, match="no picture"):
        read_rgba(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_an_error_of_ours(tmp_path, rng, suffix, share):
    path = saved(tmp_path / f"a.{suffix}", rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(PictureError):
        read_rgba(path)


@pytest.mark.fault("a picture that unfolds")
@pytest.mark.parametrize(("width", "height"), [(9000, MAX_PIXELS // 9000 + 1), (60000, 60000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused_by_their_header(tmp_path, width, height):
    with pytest.raises(PictureError):
        read_rgba(png_that_claims(tmp_path / "a.png", width, height))


@pytest.mark.fault("a picture that unfolds")
@pytest.mark.parametrize("at", ["before the pixels", "after them"])
@pytest.mark.parametrize(
    ("kind", "head"), [(b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")]
)
def test_compressed_notes_that_unfold_are_refused(tmp_path, kind, head, at):
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4)).save(buffer, "PNG")
    png, note = buffer.getvalue(), kind + head + zlib.compress(bytes(32 << 20), 9)
    chunk = struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note))
    place = 33 if at == "before the pixels" else len(png) - 12
    (tmp_path / "a.png").write_bytes(png[:place] + chunk + png[place:])
    with pytest.raises(PictureError, match="Decompressed data too large"):
        read_rgba(tmp_path / "a.png")


def test_a_picture_of_floats_is_refused(tmp_path):
    path = saved(tmp_path / "a.tiff", np.zeros((3, 3), np.float32))
    with pytest.raises(PictureError, match="floats"):
        read_rgba(path)


def test_a_picture_of_another_size_than_its_camera_says_is_refused(tmp_path, rgba):
    path = saved(tmp_path / "a.png", rgba)
    with pytest.raises(PictureError, match=r"7 x 5 .* 5 x 7"):
        PictureSource(path, (7, 5)).load(7, 5)
    mask = saved(tmp_path / "m.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(PictureError, match=r"m\.png"):
        PictureSource(path, (5, 7), mask=mask).load(5, 7)


def test_masks_multiply_alpha(tmp_path, rgba):
    path = saved(tmp_path / "a.png", rgba)
    mask = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
    loaded = PictureSource(path, (5, 7), mask=saved(tmp_path / "m.png", mask)).load(5, 7)
    expected = np.round(rgba[..., 3] * (mask / 255)).astype(np.uint8)
    np.testing.assert_array_equal(loaded[..., 3], expected)
    np.testing.assert_array_equal(loaded[..., :3], rgba[..., :3])


def test_shrinking_takes_area_means_weighted_by_alpha(tmp_path):
    # Red at full opacity beside invisible green: the mean is red at half opacity, with no green in it.
    picture = np.zeros((2, 4, 4), np.uint8)
    picture[:, 0::2] = [200, 0, 0, 255]
    picture[:, 1::2] = [0, 255, 0, 0]
    loaded = PictureSource(saved(tmp_path / "a.png", picture), (2, 4)).load(1, 2)
    np.testing.assert_allclose(loaded, np.broadcast_to([200, 0, 0, 128], (1, 2, 4)), atol=1)


def test_white_background_becomes_empty_and_white_inside_the_object_stays(tmp_path):
    picture = np.full((9, 9, 3), 255, np.uint8)
    picture[2:7, 2:7] = 30
    picture[4, 4] = 255
    path = saved(tmp_path / "a.png", picture)
    expected = np.zeros((9, 9), np.uint8)
    expected[2:7, 2:7] = 255
    np.testing.assert_array_equal(
        PictureSource(path, (9, 9), white_is_empty=True).load(9, 9)[..., 3], expected
    )
    assert (PictureSource(path, (9, 9)).load(9, 9)[..., 3] == 255).all()


def test_white_is_kept_where_the_file_has_alpha_of_its_own(tmp_path):
    picture = np.full((4, 4, 4), 255, np.uint8)
    picture[0, 0, 3] = 0
    path = saved(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(PictureSource(path, (4, 4), white_is_empty=True).load(4, 4), picture)
