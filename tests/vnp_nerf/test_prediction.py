import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_nerf.prediction import Prediction, check_draws
from vnp_nerf.rendering import Rendering


def rendering(draws: int = 50_000, noise: bool = True) -> Rendering:
    """Draws of one ray: means, noises, opacities and depths of every size."""
    generator = torch.Generator().manual_seed(0)
    rgb, variance, alpha, depth, along = (
        torch.rand(1, draws, *more, generator=generator) for more in ((3,), (), (), (), ())
    )
    if not noise:
        return Rendering(rgb, alpha, depth)
    return Rendering(
        rgb, alpha, alpha * depth + (1 - alpha) * 7.0, variance * 0.1, variance * 0.2, along * 0.1
    )


def test_the_variance_is_that_of_samples_with_their_noise():
    seen = rendering()
    told = Prediction.of_draws(seen, torch.tensor([7.0]))
    standard = torch.randn(seen.rgb.shape, generator=torch.Generator().manual_seed(1))
    samples = seen.rgb + seen.rgb_variance.sqrt()[..., None] * standard
    assert told.rgb_std.square().item() == pytest.approx(samples.var(1).mean().item(), rel=0.02)
    assert told.epistemic.square().item() == pytest.approx(seen.rgb.var(1).mean().item(), rel=1e-5)
    assert torch.allclose(told.rgb, seen.rgb.mean(1))


def test_no_deviation_is_larger_than_numbers_from_0_to_1_can_have():
    seen = rendering(draws=4)
    assert seen.rgb_variance is not None
    assert seen.alpha_variance is not None
    loud = Rendering(seen.rgb, seen.alpha, seen.depth, 20 * seen.rgb_variance, 20 * seen.alpha_variance)
    told = Prediction.of_draws(loud, torch.tensor([7.0]))
    # The most that any draws from 0 to 1 differ, about their mean: half of them at either end.
    ends = torch.tensor([0.0, 1.0]).std(correction=0).item()
    assert told.rgb_std.item() == told.accumulation_std.item() == ends
    # Black or white, which two draws cannot agree on: the part is no larger than the whole.
    apart = Rendering(
        torch.tensor([[0.0, 1.0]])[..., None].expand(1, 2, 3), seen.alpha[:, :2], seen.depth[:, :2]
    )
    told = Prediction.of_draws(apart, torch.tensor([7.0]))
    assert told.rgb_std.item() == told.epistemic.item() == ends


def test_depth_is_that_of_the_light_which_each_draw_absorbs():
    seen = rendering()
    told = Prediction.of_draws(seen, torch.tensor([7.0]))
    depth = (seen.depth - (1 - seen.alpha) * 7.0) / seen.alpha
    chosen = torch.multinomial(
        seen.alpha[0], 50_000, replacement=True, generator=torch.Generator().manual_seed(2)
    )
    standard = torch.randn(50_000, generator=torch.Generator().manual_seed(3))
    samples = depth[0, chosen] + seen.depth_variance[0, chosen].sqrt() * standard
    assert told.depth_std.square().item() == pytest.approx(samples.var().item(), rel=0.03)


def test_draws_that_see_nothing_have_no_say_in_depth():
    seen = Rendering(
        torch.rand(1, 3, 3),
        alpha=torch.tensor([[1.0, 1.0, 0.0]]),
        depth=torch.tensor([[2.0, 4.0, 9.0]]),
    )
    assert Prediction.of_draws(seen, torch.tensor([9.0])).depth_std.item() == pytest.approx(1.0)


def test_light_that_hardly_anything_absorbs_has_no_depth_to_be_unsure_of():
    faint = torch.tensor([[1e-6, 2e-6, 0.0]])
    seen = Rendering(torch.ones(1, 3, 3), faint, depth=torch.tensor([[5.0, 6.0, 5.0]]))
    assert Prediction.of_draws(seen, torch.tensor([6.0])).depth_std.item() == 0


def test_without_noise_there_is_the_disagreement_of_draws():
    told = Prediction.of_draws(rendering(noise=False), torch.tensor([7.0]))
    assert torch.equal(told.rgb_std, told.epistemic)


def test_equal_draws_leave_nothing_open():
    one = Rendering(torch.rand(4, 1, 3), torch.rand(4, 1), torch.rand(4, 1))
    seen = one.map(lambda part: part.repeat(1, 3, *[1] * (part.ndim - 2)))
    told = Prediction.of_draws(seen, torch.full((4,), 2.0))
    for deviation in (told.rgb_std, told.epistemic, told.accumulation_std):
        assert deviation.abs().max() < 1e-6


@pytest.mark.parametrize("draws", [1, -1])
def test_numbers_of_draws_without_a_spread_are_refused(draws: int):
    with pytest.raises(ConfigError, match="no spread"):
        check_draws(draws)
