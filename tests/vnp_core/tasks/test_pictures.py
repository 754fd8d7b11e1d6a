"""Pictures in memory: how levels become values, choices of them, and what is refused."""

import pytest
import torch

from vnp_core.errors import DataError
from vnp_core.tasks.pictures import Pictures, levels_to_values, values_to_shares

PICTURES = Pictures(torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2]))


def test_black_is_minus_a_half_and_white_a_half_and_shares_lead_back():
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    values = levels_to_values(levels)
    torch.testing.assert_close(values, torch.tensor([-0.5, -0.3, 0.5]))
    torch.testing.assert_close(values_to_shares(values), levels / 255)
    torch.testing.assert_close(values_to_shares(torch.tensor([-0.7, 0.9])), torch.tensor([0.0, 1.0]))


def test_classes_keep_order_and_the_digest_sees_every_pixel_and_label():
    kept = PICTURES.of_classes([2, 0])
    assert kept.labels.tolist() == [0, 2, 0, 2]
    assert kept.pixels[:, 0, 0, 0].tolist() == [0, 8, 12, 20]
    changed = PICTURES.pixels.clone()
    changed[5, 0, 1, 1] += 1
    digests = {
        PICTURES.digest,
        Pictures(changed, PICTURES.labels).digest,
        Pictures(PICTURES.pixels, PICTURES.labels.flip(0)).digest,
    }
    assert len(digests) == 3
    assert Pictures(PICTURES.pixels.clone(), PICTURES.labels.clone()).digest in digests


def test_unfit_pictures_are_refused():
    with pytest.raises(DataError, match="no picture of the classes"):
        PICTURES.of_classes([7])
    with pytest.raises(DataError, match="as many labels, not 2"):
        Pictures(PICTURES.pixels, torch.tensor([0, 1]))
    for pixels in (PICTURES.pixels.float(), PICTURES.pixels[0], PICTURES.pixels[:0]):
        with pytest.raises(DataError, match="Pictures are bytes"):
            Pictures(pixels, PICTURES.labels[: len(pixels)])
