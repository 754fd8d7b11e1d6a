import torch

from vnp_nerf.field_network import FieldNetwork


def test_every_level_of_the_latents_changes_the_state():
    torch.manual_seed(0)
    network = FieldNetwork(inputs=6, width=16, levels=3, latent_dim=4, style_width=8)
    read, latents = torch.randn(1, 10, 6), torch.randn(1, 3, 4)
    state = network(read, network.modulate(latents))
    for level in range(3):
        changed = latents.clone()
        changed[:, level] += 1
        assert not torch.allclose(state, network(read, network.modulate(changed)), atol=1e-4)


def test_scenes_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    network = FieldNetwork(inputs=6, width=16, levels=2, latent_dim=4, style_width=8)
    read, latents = torch.randn(3, 10, 6), torch.randn(3, 2, 4)
    joint = network(read, network.modulate(latents))
    alone = network(read[1:2], network.modulate(latents[1:2]))
    assert torch.allclose(joint[1:2], alone, atol=1e-6)


def test_a_fresh_field_is_neither_empty_nor_a_white_out():
    torch.manual_seed(0)
    network = FieldNetwork(inputs=6, width=64, levels=2, latent_dim=8, style_width=16)
    state = network(torch.randn(1, 1000, 6), network.modulate(torch.zeros(1, 2, 8)))
    density = network.density_of(state)
    crossing = 1 - torch.exp(-2 * density.mean())
    assert (density >= 0).all()
    assert 0.1 < crossing < 0.9
