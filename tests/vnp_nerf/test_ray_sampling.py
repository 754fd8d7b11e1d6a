import numpy as np
import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.model_components.ray_samplers import PDFSampler, UniformSampler

from vnp_nerf.ray_sampling import ball_span, importance_edges, proposed_edges, stratified_edges


def test_ball_span_of_a_central_ray_is_its_diameter():
    origins = torch.tensor([[0.0, 0.0, 4.0], [0.0, 0.5, 4.0], [0.0, 1.5, 4.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0]]).expand(3, 3)
    near, far = ball_span(origins, directions)
    half_chord = 0.75**0.5
    assert torch.allclose(near, torch.tensor([3.0, 4 - half_chord, 4.0]))
    assert torch.allclose(far, torch.tensor([5.0, 4 + half_chord, 4.0]))


def test_ball_span_starts_at_an_origin_inside_the_ball():
    near, far = ball_span(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]]), radius=2.0)
    assert near.item() == 0
    assert far.item() == 2


def test_a_ball_behind_the_camera_is_not_seen():
    near, far = ball_span(torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
    assert near.item() == far.item()


def test_stratified_edges_increase_and_stay_in_their_strata():
    near, far = torch.tensor([2.0, 3.0]), torch.tensor([6.0, 5.0])
    edges = stratified_edges(near, far, 16, torch.Generator().manual_seed(0))
    even = stratified_edges(near, far, 16)
    assert (edges[..., 1:] >= edges[..., :-1]).all()
    assert ((edges - even).abs() <= (far - near)[:, None] / 32 + 1e-6).all()
    assert torch.equal(edges, stratified_edges(near, far, 16, torch.Generator().manual_seed(0)))


def _bundle(near: torch.Tensor, far: torch.Tensor) -> RayBundle:
    count = len(near)
    return RayBundle(
        origins=torch.zeros(count, 3),
        directions=torch.tensor([[0.0, 0.0, 1.0]]).expand(count, 3),
        pixel_area=torch.ones(count, 1),
        nears=near[:, None],
        fars=far[:, None],
    )


def test_even_edges_equal_nerfstudios_uniform_sampler():
    near, far = torch.tensor([2.0, 3.0]), torch.tensor([6.0, 5.0])
    samples = UniformSampler(num_samples=12).eval()(_bundle(near, far))
    theirs = torch.cat([samples.frustums.starts[..., 0], samples.frustums.ends[:, -1:, 0]], dim=-1)
    assert torch.allclose(stratified_edges(near, far, 12), theirs, atol=1e-6)


def test_importance_edges_equal_nerfstudios_pdf_sampler():
    near, far = torch.tensor([2.0, 3.0]), torch.tensor([6.0, 5.0])
    bundle = _bundle(near, far)
    first = UniformSampler(num_samples=12).eval()(bundle)
    weights = torch.rand(2, 12, generator=torch.Generator().manual_seed(1))
    second = PDFSampler(num_samples=20, include_original=True).eval()(bundle, first, weights[..., None])
    theirs = torch.cat([second.frustums.starts[..., 0], second.frustums.ends[:, -1:, 0]], dim=-1)
    ours = importance_edges(stratified_edges(near, far, 12), weights, 20)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_importance_edges_crowd_where_the_weight_is():
    edges = stratified_edges(torch.zeros(1), torch.ones(1), 10)
    weights = torch.zeros(1, 10)
    weights[0, 4] = 1.0
    new = importance_edges(edges, weights, 32, torch.Generator().manual_seed(0))
    assert new.shape == (1, 44)
    assert ((new >= 0.4) & (new <= 0.5)).float().mean() > 0.6


def test_proposed_edges_cut_the_same_span_into_equal_shares():
    near, far = torch.tensor([2.0, 3.0]), torch.tensor([6.0, 5.0])
    edges = stratified_edges(near, far, 12)
    weights = torch.rand(2, 12, generator=torch.Generator().manual_seed(1))
    found = proposed_edges(edges, weights, 8, padding=0)
    for row in range(2):
        cumulative = np.concatenate([[0], np.cumsum(weights[row].double())]) / weights[row].double().sum()
        shares = np.diff(np.interp(found[row], edges[row], cumulative))
        np.testing.assert_allclose(shares, 1 / 8, atol=1e-5)
    assert torch.equal(found[:, 0], near)
    assert torch.equal(found[:, -1], far)


def test_proposed_edges_of_a_ray_that_met_nothing_are_stratified():
    near, far = torch.tensor([2.0]), torch.tensor([6.0])
    first = stratified_edges(near, far, 5)
    found = proposed_edges(first, torch.zeros(1, 5), 16, torch.Generator().manual_seed(0))
    even = stratified_edges(near, far, 16, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found[:, 1:-1], even[:, 1:-1])
