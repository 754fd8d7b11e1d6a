"""nerfacto from a few views of one object: that its rays are ours, and that it learns what it is shown."""

import pytest
import torch
import torch.nn.functional as F

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import look_at, picture_rays
from vnp_nerf.evaluation import Case, RenderingPredictor, foregrounds, pictures_over_white
from vnp_nerf.face.per_scene import RADIUS, NerfactoConfig, NerfactoPredictor, optimise_nerfacto
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.views import Views

SIDE = 24


def ball_case(context: int, seed: int = 0) -> Case:
    """A ball of radius 0.6 about a place beside the centre, red above and blue below."""
    generator = torch.Generator().manual_seed(seed)
    count, place = context + 2, torch.tensor([0.25, 0.1, 0.0])
    poses = look_at(4 * F.normalize(torch.randn(count, 3, generator=generator), dim=-1))
    intrinsics = torch.tensor([SIDE * 1.6, SIDE * 1.6, SIDE / 2, SIDE / 2])
    pictures = []
    for pose in poses:
        origins, directions = picture_rays(pose, intrinsics, SIDE, SIDE)
        near, far = ball_span(origins - place, directions, 0.6)
        above = ((origins + near[..., None] * directions)[..., 2] > 0).float()
        colour = torch.stack([above, torch.zeros_like(above), 1 - above])
        alpha = (far > near).float()
        pictures.append(torch.cat([colour * alpha, alpha[None]]))
    views = Views(
        rgba=torch.stack(pictures)[None],
        camera_to_world=poses[None],
        intrinsics=intrinsics.expand(1, count, 4).contiguous(),
        sizes=torch.full((1, count, 2), SIDE),
        mask=torch.ones(1, count, dtype=torch.bool),
    )
    return Case("ball", views.select_views(slice(context)), views.select_views(slice(context, None)))


def test_one_seed_is_one_field_and_nothing_outside_the_ball():
    case = ball_case(2)
    config = NerfactoConfig(steps=2, rays=32)
    state = torch.random.get_rng_state()
    predictor = NerfactoPredictor(config)
    assert isinstance(predictor, RenderingPredictor)
    first, again = (predictor.render(case, 1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a.rgb, b.rgb) for a, b in zip(first, again, strict=True))
    assert not torch.equal(
        NerfactoPredictor(NerfactoConfig(2, 32, seed=1)).render(case, 1)[0].rgb, first[0].rgb
    )
    for number, seen in enumerate(first):
        assert seen.rgb.shape == (SIDE, SIDE, 3)
        origins, directions = picture_rays(
            case.query.camera_to_world[0, number], case.query.intrinsics[0, number], SIDE, SIDE
        )
        near, far = ball_span(origins, directions, RADIUS)
        assert (seen.alpha[far <= near] == 0).all()
        assert (seen.rgb[far <= near] == 1).all()
        met = far > near
        assert ((seen.depth >= near - 1e-3) & (seen.depth <= far + 1e-3))[met].all()


def test_the_measure_that_nerfacto_builds_for_itself_is_not_fetched_and_comes_back():
    import torchmetrics.image.lpip as module

    before = module.LearnedPerceptualImagePatchSimilarity
    steps: list[int] = []
    optimise_nerfacto(ball_case(1).context, NerfactoConfig(steps=2, rays=16), steps.append)
    assert module.LearnedPerceptualImagePatchSimilarity is before
    assert steps == [1, 2]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"rays": -1}])
def test_no_steps_and_no_rays_are_told(wrong: dict[str, int]):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        NerfactoConfig(**wrong)


@pytest.mark.slow
def test_many_views_of_a_ball_teach_it():
    case = ball_case(12)
    seen = NerfactoPredictor(NerfactoConfig(150, 256, learning_rate=3e-2)).render(case, 12)
    for rendering, truth, mask in zip(
        seen, pictures_over_white(case.query), foregrounds(case.query), strict=True
    ):
        assert -10 * (rendering.rgb - truth).square().mean().log10() > 18.5
        union = ((rendering.alpha > 0.5) | mask).sum()
        assert ((rendering.alpha > 0.5) & mask).sum() / union > 0.85
