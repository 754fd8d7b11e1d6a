"""Trained processes in a notebook: arrays in, tensors out, in the user's units."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import vnp_core
from vnp_core import LoadedProcess, Scaling, grid_coordinates
from vnp_core.errors import CheckpointError, ConfigError, DataError
from vnp_core.shipped import CLONE
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks

X = np.linspace(-1.2, 1.2, 12)
Y = np.sin(4 * X)
QUERIES = torch.linspace(-2, 2, 41)


@pytest.fixture(scope="module")
def process() -> LoadedProcess:
    return vnp_core.load("rbf", "cpu")


def test_shipped_names_need_no_prefix_and_unknown_ones_are_told_apart() -> None:
    assert vnp_core.load("tnp-rbf").name == "tnp-rbf"
    assert repr(vnp_core.load("fashion-mnist", "cpu")) == "LoadedProcess('vnp-fashion-mnist', device='cpu')"
    assert {"vnp-rbf", "cnp-rbf", "vnp-fashion-mnist"} <= set(vnp_core.shipped_weights())
    with pytest.raises(CheckpointError, match=r"'rbff'.*rbf"):
        vnp_core.load("rbff")
    with pytest.raises(ConfigError, match="kind 'radiance'"):
        vnp_core.load(CLONE / "vnp-nerf-furniture.safetensors")


def test_sigma_is_small_at_the_points_and_large_far_from_them_and_the_mean_goes_through(
    process: LoadedProcess,
) -> None:
    function = process.infer(X, Y)
    seen = function.predict(X)
    assert np.abs(seen.mean.numpy() - Y).max() < 0.05
    assert seen.sigma.max() < 0.05
    assert function.predict(2.0).sigma > 0.3
    between = np.array([-0.5, 0.1, 0.7])
    assert np.abs(function.predict(between).mean.numpy() - np.sin(4 * between)).max() < 0.05


def test_nine_of_ten_values_lie_in_the_interval_that_sigma_says(process: LoadedProcess) -> None:
    tasks = GaussianProcessTasks(GaussianProcessConfig(batch_size=64), seed=12345)
    inside = []
    for step in range(2):
        batch = tasks.batch(step)
        for row in range(64):
            function = process.infer(batch.context.x[row], batch.context.y[row])
            found = function.predict(batch.targets.x[row], draws=8)
            inside.append((found.mean - batch.targets.y[row]).abs() < 1.645 * found.sigma)
    assert torch.cat(inside).float().mean() == pytest.approx(0.9, abs=0.03)


def test_arrays_tensors_and_lists_with_or_without_channels_say_the_same(process: LoadedProcess) -> None:
    plain = process.infer(X, Y).predict(QUERIES)
    assert plain.mean.shape == plain.sigma.shape == (41,)
    assert type(plain.mean) is torch.Tensor
    for x, y in ((X.tolist(), Y.tolist()), (torch.tensor(X), torch.tensor(Y)), (X[:, None], Y)):
        assert torch.equal(process.infer(x, y).predict(QUERIES.numpy()).mean, plain.mean)
    with_channels = process.infer(X, Y[:, None])
    assert torch.equal(with_channels.predict(QUERIES[:, None]).mean[:, 0], plain.mean)
    assert with_channels.sample(QUERIES, 3).shape == (3, 41, 1)
    grid = process.infer(X, Y).predict(QUERIES[:40].reshape(8, 5))
    assert torch.allclose(grid.sigma.flatten(), plain.sigma[:40], atol=1e-6)
    assert process.infer(X, Y).predict(0.5).mean.shape == ()


def test_a_mean_and_sigma_are_those_of_samples_with_noise_and_a_seed_is_a_function(
    process: LoadedProcess,
) -> None:
    function = process.infer(X, Y)
    found = function.predict(QUERIES)
    drawn = function.sample(QUERIES, 2000, noise=True, seed=1).double()
    assert ((drawn.mean(0) - found.mean).abs() < 0.1 * found.sigma + 0.01).all()
    assert torch.allclose(drawn.std(0), found.sigma.double(), rtol=0.15, atol=0.01)
    assert torch.equal(function.sample(QUERIES, 3, seed=5), function.sample(QUERIES, 3, seed=5))
    assert not torch.equal(function.sample(QUERIES, 3, seed=5), function.sample(QUERIES, 3, seed=6))
    smooth, rough = (
        function.sample(QUERIES, 50, noise=noise).diff(n=2, dim=1).std() for noise in (False, True)
    )
    assert smooth < rough


def test_chunks_order_and_company_of_points_change_no_answer(
    process: LoadedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = process.infer(X, Y)
    found = function.predict(QUERIES)
    assert torch.allclose(function.predict(QUERIES.flip(0)).mean.flip(0), found.mean, atol=1e-5)
    monkeypatch.setattr("vnp_core.loaded_process._CHUNK", 7)
    chunked = function.predict(QUERIES)
    assert torch.allclose(chunked.mean, found.mean, atol=1e-5)
    assert torch.allclose(chunked.sigma, found.sigma, atol=1e-5)


def test_a_scaling_leads_from_the_users_units_and_back(process: LoadedProcess) -> None:
    years, heights = 1950 + 25 * X, 100 + 30 * Y
    scaling = Scaling((1950.0,), (25.0,), (100.0,), (30.0,))
    plain = process.infer(X, Y).predict(QUERIES)
    found = process.infer(years, heights, scaling=scaling).predict(1950 + 25 * QUERIES.double())
    assert torch.allclose(found.mean, 100 + 30 * plain.mean, atol=0.05)
    assert torch.allclose(found.sigma, 30 * plain.sigma, atol=0.05)
    fitted = process.infer(years, heights, scaling="fit")
    assert fitted.scaling.x_scale[0] == pytest.approx(60 / 4)
    assert np.abs(fitted.predict(years).mean.numpy() - heights).max() < 3


def test_nothing_observed_gives_what_is_expected_beforehand(process: LoadedProcess) -> None:
    prior = process.infer([], []).predict(QUERIES)
    assert prior.mean.abs().max() < 0.2
    assert 0.4 < prior.sigma.mean() < 0.8  # scales of training are uniform from 0.1 to 1
    with pytest.raises(DataError, match="needs points"):
        process.infer([], [], scaling="fit")


def test_models_without_latents_answer_too() -> None:
    for name in ("cnp-rbf", "anp-rbf", "tnp-rbf", "vnp-L0-rbf"):
        function = vnp_core.load(name, "cpu").infer(X, Y)
        assert function.predict(X, draws=0).mean.shape == X.shape
        assert function.sample(QUERIES, 5).shape == (5, 41)


def test_several_channels_come_back_as_the_last_axis() -> None:
    process = vnp_core.load("lotka-volterra", "cpu")
    both = np.stack([Y, -Y], axis=1)
    function = process.infer(X, both)
    assert function.predict(QUERIES).mean.shape == (41, 2)
    assert function.sample(QUERIES, 3).shape == (3, 41, 2)
    assert process.infer([], []).predict(QUERIES).mean.shape == (41, 2)
    with pytest.raises(DataError, match=r"y has 2 channels.*\[12\]"):
        process.infer(X, Y)


@pytest.mark.parametrize("name", ["fashion-mnist", "vnp-patches-fashion-mnist"])
def test_a_picture_is_completed_from_some_of_its_pixels(name: str) -> None:
    process = vnp_core.load(name, "cpu")
    rows, columns = np.mgrid[:28, :28]
    picture = np.where((abs(rows - 14) < 9) & (abs(columns - 14) < 7), 200, 0).astype(np.uint8)
    known = np.random.default_rng(0).random((28, 28)) < 0.25
    garbage = picture.copy()
    garbage[~known] = 77
    places = grid_coordinates(28, 28)
    found = process.infer_picture(garbage, known).predict(places, draws=4)
    assert found.mean.shape == (28, 28)
    assert np.abs(found.mean.numpy() - picture / 255).mean() < 0.12
    assert found.sigma.numpy()[~known].mean() > found.sigma.numpy()[known].mean()
    as_floats = process.infer_picture(picture[..., None] / 255, known)
    assert torch.allclose(as_floats.predict(places, draws=4).mean[..., 0], found.mean, atol=1e-5)
    larger = process.infer_picture(garbage, known).predict(grid_coordinates(40, 40), draws=1)
    assert larger.mean.shape == (40, 40)


def test_what_makes_no_sense_is_one_error_that_says_what_was_given(process: LoadedProcess) -> None:
    patches, points = (vnp_core.load(name, "cpu") for name in ("vnp-patches-fashion-mnist", "fashion-mnist"))
    picture, known = np.zeros((4, 4)), np.ones((4, 4), bool)
    for error, text, call in (
        (DataError, "x is no array of numbers", lambda: process.infer("abc", Y)),
        (DataError, "row 3 of task 0", lambda: process.infer(np.where(np.arange(12) == 3, np.nan, X), Y)),
        (DataError, r"\[11, 1\]", lambda: process.infer(X[:11], Y)),
        (DataError, "NaN", lambda: process.infer(X, Y).predict([0.0, float("nan")])),
        (ConfigError, "0 samples", lambda: process.infer(X, Y).sample(X, 0)),
        (ConfigError, "-1 draws", lambda: process.infer(X, Y).predict(X, draws=-1)),
        (ConfigError, "use infer_picture", lambda: patches.infer(np.zeros((1, 2)), [0.0])),
        (ConfigError, "not trained on pictures", lambda: process.infer_picture(picture, known)),
        (DataError, "brightness from 0 to 1", lambda: points.infer_picture(picture - 1, known)),
        (DataError, r"known \[H, W\]", lambda: points.infer_picture(picture, known[:3])),
        (DataError, "x has 2 channels", lambda: points.infer([0.0], [0.0])),
    ):
        with pytest.raises(error, match=text):
            call()


def test_places_where_nothing_was_trained_are_warned_of_and_no_others(process: LoadedProcess) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function = process.infer(X, Y)
        function.predict(QUERIES)
    with pytest.warns(UserWarning, match="1 points lie outside of -2 to 2") as told:
        function.predict([0.0, 2.5])
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="12 points"):
        process.infer(X + 10, Y)


def test_a_card_that_asks_for_another_model_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    for key, value in (("width", 10**9), ("layers", 10**9)):
        for suffix in (".safetensors", ".json"):
            shutil.copy(CLONE / "1d" / f"vnp-rbf{suffix}", tmp_path)
        card = json.loads((tmp_path / "vnp-rbf.json").read_text())
        card["config"]["model"]["encoder"][key] = value
        (tmp_path / "vnp-rbf.json").write_text(json.dumps(card))
        with pytest.raises(CheckpointError):
            vnp_core.load(tmp_path / "vnp-rbf.safetensors")
