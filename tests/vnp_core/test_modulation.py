"""The modulated block, computed by hand."""

import numpy as np
import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.modulation import ModulatedBlock, ModulatedLinear, ResidualBlock


def by_hand(layer: ModulatedLinear, style: np.ndarray, x: np.ndarray) -> np.ndarray:
    """One point [in] under one style [S], with a loop for every index."""
    w = layer.weight.detach().numpy()
    a, b = layer.affine.weight.detach().numpy(), layer.affine.bias.detach().numpy()
    outputs, inputs = w.shape
    scales = [b[i] + sum(a[i, k] * style[k] for k in range(len(style))) for i in range(inputs)]
    result = np.zeros(outputs)
    for o in range(outputs):
        row = [w[o, i] * scales[i] for i in range(inputs)]
        length = np.sqrt(sum(entry**2 for entry in row) + 1e-8)
        result[o] = sum(entry / length * x[i] for i, entry in enumerate(row))
    return result


def test_a_modulated_block_is_what_loops_in_float64_give():
    torch.manual_seed(0)
    block = ModulatedBlock(6, 4).double()
    with torch.no_grad():
        block.bias.uniform_(-1, 1)
    generator = np.random.default_rng(0)
    style, x = generator.normal(size=(2, 4)), generator.normal(size=(2, 3, 6))
    answer = block(torch.from_numpy(x), block.modulate(torch.from_numpy(style))).detach().numpy()
    bias = block.bias.detach().numpy()
    for scene in range(2):
        for point in range(3):
            hidden = by_hand(block.first, style[scene], x[scene, point]) + bias
            hidden = np.sqrt(2) * np.where(hidden > 0, hidden, 0.2 * hidden)
            expected = x[scene, point] + by_hand(block.second, style[scene], hidden)
            np.testing.assert_allclose(answer[scene, point], expected, rtol=1e-12)


def test_demodulated_rows_have_length_1_whatever_the_style():
    torch.manual_seed(0)
    layer = ModulatedLinear(32, 16, 8)
    weights = layer.matrix(layer.modulate(5 * torch.randn(3, 8)))
    assert weights.shape == (3, 16, 32)
    torch.testing.assert_close(weights.norm(dim=-1), torch.ones(3, 16), atol=1e-4, rtol=0)


def test_style_0_leaves_the_normalised_matrix_alone_at_the_start():
    torch.manual_seed(0)
    layer = ModulatedLinear(8, 4, 3)
    expected = layer.weight / layer.weight.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(
        layer.matrix(layer.modulate(torch.zeros(1, 3)))[0], expected, atol=1e-6, rtol=1e-5
    )


def test_a_scenes_answer_does_not_depend_on_its_neighbours_in_the_batch():
    torch.manual_seed(0)
    block = ModulatedBlock(6, 4).double()
    x, style = torch.randn(3, 5, 6, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    together = block(x, block.modulate(style))
    alone = block(x[1:2], block.modulate(style[1:2]))
    torch.testing.assert_close(together[1:2], alone)


def test_the_modulated_linear_map_passes_gradcheck():
    torch.manual_seed(0)
    layer = ModulatedLinear(3, 2, 2).double()
    x = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    style = torch.randn(1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, s: layer(a, layer.modulate(s)), (x, style))


def test_many_points_through_a_scenes_matrix_and_few_through_the_shared_one_agree():
    torch.manual_seed(0)
    layer = ModulatedLinear(8, 5, 3).double()
    x = torch.randn(2, 12, 8, dtype=torch.float64, requires_grad=True)
    modulation = layer.modulate(torch.randn(2, 3, dtype=torch.float64))
    many = layer(x, modulation)
    few = torch.cat([layer(part, modulation) for part in x.split(4, dim=1)], dim=1)
    torch.testing.assert_close(few, many, atol=1e-12, rtol=1e-12)
    (of_few,) = torch.autograd.grad(few.square().sum(), x, retain_graph=True)
    (of_many,) = torch.autograd.grad(many.square().sum(), x)
    torch.testing.assert_close(of_few, of_many, atol=1e-12, rtol=1e-12)


def test_matrices_that_are_ready_change_nothing():
    torch.manual_seed(0)
    block = ModulatedBlock(16, 4)
    style, x = torch.randn(3, 4), torch.randn(3, 40, 16)
    ready = block.modulate(style, ready=True)
    assert ready.first.matrix is not None
    for points in (1, 5, 40):
        expected = block(x[:, :points], block.modulate(style))
        torch.testing.assert_close(block(x[:, :points], ready), expected, atol=1e-5, rtol=1e-5)


def test_the_length_of_a_row_does_not_matter():
    torch.manual_seed(0)
    layer = ModulatedLinear(8, 4, 3).double()
    style = torch.randn(2, 3, dtype=torch.float64)
    before = layer.matrix(layer.modulate(style))
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([[0.5], [2.0], [3.0], [8.0]]))
    torch.testing.assert_close(layer.matrix(layer.modulate(style)), before, atol=1e-6, rtol=1e-6)


def test_the_residual_block_adds_an_mlp_of_extra_then_state():
    torch.manual_seed(0)
    block = ResidualBlock(4, 3).double()
    x, extra = torch.randn(1, 2, 4, dtype=torch.float64), torch.randn(1, 2, 3, dtype=torch.float64)
    first, _, second = block.mlp
    expected = x + second((torch.cat([extra, x], -1) @ first.weight.T + first.bias).clamp(min=0))
    torch.testing.assert_close(block(x, extra), expected)


def test_impossible_widths_are_refused():
    with pytest.raises(ConfigError, match="given were 0 and 3"):
        ResidualBlock(0, 3)
