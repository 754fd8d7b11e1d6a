import torch

from vnp_nerf.feature_planes import PlaneDecoder, read_planes


def test_planes_are_read_exactly_at_cell_centres():
    planes = torch.rand(2, 3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    # Cell (row, column) of a 4 x 4 plane has its centre at (column + .5, row + .5) / 4 * 2 - 1.
    column, row, layer = 1, 2, 3
    centre = torch.tensor([column, row, layer]) * 0.5 + 0.25 - 1
    read = read_planes(planes, centre.expand(2, 1, 3))
    expected = torch.cat(
        [planes[:, 0, :, row, column], planes[:, 1, :, layer, column], planes[:, 2, :, layer, row]], dim=-1
    )
    assert torch.allclose(read[:, 0], expected, atol=1e-6)


def test_planes_are_linear_between_cell_centres():
    planes = torch.rand(1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    left, right = torch.tensor([-0.25, 0.25, 0.25]), torch.tensor([0.25, 0.25, 0.25])
    ends = read_planes(planes, torch.stack([left, right])[None])[0]
    middle = read_planes(planes, ((3 * left + right) / 4)[None, None])[0, 0]
    assert torch.allclose(middle, (3 * ends[0] + ends[1]) / 4, atol=1e-6)


def test_latents_change_the_planes_and_masked_tokens_do_not():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    decoder = PlaneDecoder(16, 2, 1, cells=4, resolution=8, channels=4, latent_width=6)
    tokens = torch.randn(1, 5, 16, generator=generator)
    mask = torch.tensor([[True, True, True, False, False]])
    latents = torch.randn(1, 6, generator=generator)
    planes = decoder(decoder.keys_values(tokens), mask, latents)
    assert planes.shape == (1, 3, 4, 8, 8)
    assert not torch.allclose(planes, decoder(decoder.keys_values(tokens), mask, latents + 1))
    tokens[:, 3:] += 10
    assert torch.allclose(planes, decoder(decoder.keys_values(tokens), mask, latents), atol=1e-6)
