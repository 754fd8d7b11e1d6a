"""Patches against an explicit loop."""

import torch

from vnp_core.patches import PatchEmbedding, pad_to_multiple, patch_mask


def test_patches_are_flattened_channel_row_column_and_read_row_by_row():
    torch.manual_seed(0)
    layer = PatchEmbedding(channels=2, patch=3, width=5).double()
    picture = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    tokens = layer(picture)
    assert tokens.shape == (1, 2 * 3, 5)
    for row in range(2):
        for column in range(3):
            flat = torch.zeros(2, 3, 3, dtype=torch.float64)
            for c in range(2):
                for i in range(3):
                    for j in range(3):
                        if 3 * row + i < 5 and 3 * column + j < 7:
                            flat[c, i, j] = picture[0, c, 3 * row + i, 3 * column + j]
            expected = layer.project(flat.flatten())
            torch.testing.assert_close(tokens[0, 3 * row + column], expected)


def test_a_patch_is_present_if_one_of_its_pixels_is():
    mask = torch.zeros(1, 5, 7, dtype=torch.bool)
    mask[0, 4, 6] = mask[0, 0, 2] = True
    assert patch_mask(mask, 3).tolist() == [[True, False, False, False, False, True]]


def test_padding_adds_nothing_to_whole_patches():
    picture = torch.ones(1, 1, 6, 8)
    assert pad_to_multiple(picture, 2).shape == picture.shape
    assert pad_to_multiple(picture, 4).shape == (1, 1, 8, 8)
    assert pad_to_multiple(picture, 4).sum() == picture.sum()
