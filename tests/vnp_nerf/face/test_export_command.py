"""`vnp-export` on what `vnp-infer` writes: a run whose field is a solid ball of a known radius."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from vnp_core.errors import CheckpointError, ConfigError, OutputExistsError
from vnp_nerf.face.checkpoints import latest_checkpoint, read_checkpoint
from vnp_nerf.face.export_command import Glb, Mesh, Points, Splat, Voxels, Weights, export, main
from vnp_nerf.face.opened_run import open_run
from vnp_nerf.infer import Infer, infer
from vnp_nerf.library import load_model

WORLD_RADIUS = 4 * math.sin(math.radians(15))
"""World length of one model unit: the ball that just fits into the made scenes' views."""
SIDE = 24


@pytest.fixture
def voxel(ball_radius: float) -> float:
    """A cell's edge, model units: the grid covers the field's own ball."""
    return 2 * ball_radius / SIDE


def vertices_of(path: Path) -> np.ndarray:
    return np.asarray(trimesh.load(path, process=False).vertices)


@pytest.mark.parametrize("frame", ["world", "model"])
@pytest.mark.parametrize("kind", [Mesh, Points, Glb])
def test_the_ball_comes_back_in_the_frame_that_was_asked_for(
    kind: type, frame: str, ball_run: Path, tmp_path: Path, ball_radius: float, voxel: float
) -> None:
    unit = WORLD_RADIUS if frame == "world" else 1.0
    path = tmp_path / f"ball{kind.suffix}"
    export(kind(ball_run, path, frame=frame, resolution=SIDE, sigma_draws=0))
    vertices = trimesh.load_scene(path).dump(concatenate=True).vertices if kind is Glb else vertices_of(path)
    radii = np.linalg.norm(vertices, axis=1)
    assert np.abs(radii - ball_radius * unit).max() < voxel * unit


def test_voxels_fill_the_ball_of_the_world(ball_run: Path, tmp_path: Path, ball_radius: float) -> None:
    (path,) = export(Voxels(ball_run, tmp_path / "ball.npz", resolution=SIDE, sigma_draws=2))
    with np.load(path, allow_pickle=False) as read:
        filled = len(read["indices"]) * np.linalg.det(read["to_frame"][:3, :3])
        assert filled == pytest.approx(4 / 3 * math.pi * (ball_radius * WORLD_RADIUS) ** 3, rel=0.05)
        assert read["sigma_density"].shape == (len(read["indices"]),)
        notes = json.loads(str(read["notes"]))
    assert notes["scene"] == "ball"
    assert notes["context views"] == "0 2"
    assert notes["latents"] == "their mean"
    assert "2 draws" in notes["sigma"]


def test_sigma_is_the_spread_of_the_draws_that_render_too(ball_run: Path, tmp_path: Path) -> None:
    _, beside = export(
        Splat(ball_run, tmp_path / "ball.ply", frame="model", draw=1, resolution=SIDE, sigma_draws=3)
    )
    read = trimesh.load(beside, process=False)
    data = read.metadata["_ply_raw"]["vertex"]["data"]
    run = open_run(ball_run)
    points = torch.tensor(np.asarray(read.vertices), dtype=torch.float32)
    with torch.no_grad():
        densities = torch.stack([run.field(seed).density_colour(points)[0] for seed in range(3)])
    expected = densities.double().std(0).numpy()
    np.testing.assert_allclose(np.ravel(data["sigma_density"]), expected, rtol=1e-2, atol=1e-3)
    header = beside.read_bytes().partition(b"end_header")[0].decode()
    assert "comment latents: the draw of seed 1\n" in header


def test_glb_may_be_turned_upright(ball_run: Path, tmp_path: Path) -> None:
    options = {"resolution": 8, "sigma_draws": 0}
    export(Glb(ball_run, tmp_path / "plain.glb", **options))
    export(Glb(ball_run, tmp_path / "turned.glb", y_up=True, **options))
    plain, turned = (
        trimesh.load_scene(tmp_path / name).dump(concatenate=True).vertices
        for name in ("plain.glb", "turned.glb")
    )
    np.testing.assert_allclose(turned, plain[:, [0, 2, 1]] * [1, 1, -1], atol=1e-6)


@pytest.mark.parametrize("which", ["trained", "inferred"])
def test_weights_of_a_run_are_those_of_its_checkpoint(
    which: str, trained: Path, collection: Path, tmp_path: Path
) -> None:
    run = trained
    if which == "inferred":  # whose weights lie in the trained run's folder
        run = infer(Infer(collection / "test" / "g", load_config=trained, output_dir=tmp_path / "run"))
        run = run / "config.yml"
    paths = export(Weights(run, tmp_path / "mine.safetensors"))
    assert [path.name for path in paths] == ["mine.safetensors", "mine.json"]
    model, card = load_model(paths[0])
    checkpoint = read_checkpoint(latest_checkpoint(trained.parent / "nerfstudio_models"))
    assert card["step"] == checkpoint["step"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, checkpoint["pipeline"][f"_model.radiance.{name}"])
    with pytest.raises(OutputExistsError):
        export(Weights(run, tmp_path / "mine.safetensors"))


def test_bad_wishes_are_one_error_and_leave_nothing(ball_run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.ply").write_text("mine")
    for options, error in (
        (Mesh(ball_run, tmp_path / "taken.ply"), OutputExistsError),
        (Mesh(ball_run, tmp_path / "ball.glb"), ConfigError),
        (Mesh(ball_run, tmp_path / "ball.ply", sigma_draws=1), ConfigError),
        (Mesh(tmp_path / "config.yml", tmp_path / "ball.ply"), CheckpointError),
    ):
        with pytest.raises(error):
            export(options)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.ply"]
    assert (tmp_path / "taken.ply").read_text() == "mine"


def test_the_command_ends_on_an_empty_field_with_one_line(
    ball_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["mesh", "--load-config", str(ball_run), "--output", str(tmp_path / "ball.ply")]
    arguments += ["--resolution", "8", "--sigma-draws", "0"]
    monkeypatch.setattr(sys, "argv", ["vnp-export", *arguments, "--threshold", "1e9"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 12
    assert capsys.readouterr().err.startswith("DataError: the field is empty: ")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(sys, "argv", ["vnp-export", *arguments])
    main()
    printed = capsys.readouterr().out
    assert str(tmp_path / "ball.ply") in printed
    assert "memory held at most: " in printed
