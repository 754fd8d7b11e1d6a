"""`vnp-infer`, and what bad input does to it and to `ns-train`."""

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from vnp_core.errors import (
    CameraError,
    CheckpointError,
    ConfigError,
    OutputExistsError,
    PictureError,
    SceneError,
    SceneNotFoundError,
    ViewCountError,
    VNPError,
)
from vnp_nerf.infer import Infer, infer, main
from vnp_nerf.library import build_model, save_model


def rendered(config_file: Path) -> torch.Tensor:
    from nerfstudio.utils.eval_utils import eval_setup

    pipeline = eval_setup(config_file)[1]
    return pipeline.model.get_outputs_for_camera(pipeline.datamanager.eval_dataset.cameras[0:1])["rgb"]


def test_a_run_is_made_in_seconds_and_renders_the_same_wherever_its_weights_lie(
    trained: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, start = collection / "test" / "g", time.perf_counter()
    linked = infer(Infer(scene, load_config=trained, num_context=2, output_dir=tmp_path / "linked"))
    assert time.perf_counter() - start < 10
    copied = infer(
        Infer(scene, load_config=trained, num_context=2, output_dir=tmp_path / "copied", copy=True)
    )
    assert not (linked / "nerfstudio_models").exists()
    assert (copied / "nerfstudio_models").exists()
    monkeypatch.chdir("/")  # nothing depends on the current folder
    torch.testing.assert_close(
        rendered(linked / "config.yml"), rendered(copied / "config.yml"), rtol=0, atol=0
    )


def test_weights_files_make_the_run_that_their_training_run_makes(
    trained: Path, collection: Path, tmp_path: Path
) -> None:
    from vnp_nerf.face.checkpoints import latest_checkpoint, read_checkpoint, scene_model_state
    from vnp_nerf.face.run_file import read_run_config

    config = read_run_config(trained).pipeline.model.radiance
    checkpoint = read_checkpoint(latest_checkpoint(trained.parent / "nerfstudio_models"))
    model = build_model(config)
    model.load_state_dict(scene_model_state(checkpoint, config, "run"))
    save_model(tmp_path / "mine.safetensors", model, {})
    scene = collection / "test" / "f"
    by_file = infer(
        Infer(scene, weights=str(tmp_path / "mine.safetensors"), context=(1,), output_dir=tmp_path / "a")
    )
    by_run = infer(Infer(scene, load_config=trained, context=(1,), output_dir=tmp_path / "b"))
    torch.testing.assert_close(
        rendered(by_file / "config.yml"), rendered(by_run / "config.yml"), rtol=0, atol=0
    )


def test_a_seed_fixes_a_draw(trained: Path, collection: Path, tmp_path: Path) -> None:
    def picture(name: str, draw: int | None) -> torch.Tensor:
        options = Infer(collection / "test" / "f", load_config=trained, context=(0,), draw=draw)
        options.output_dir = tmp_path / name
        return rendered(infer(options) / "config.yml")

    assert torch.equal(picture("a", 3), picture("b", 3))
    assert not torch.equal(picture("c", 3), picture("d", 4))
    assert not torch.equal(picture("e", 3), picture("f", None))


def test_a_moved_run_is_found_beside_its_config(trained: Path, collection: Path, tmp_path: Path) -> None:
    shutil.copytree(trained.parent, tmp_path / "moved")
    run = infer(
        Infer(
            collection / "test" / "f",
            load_config=tmp_path / "moved" / "config.yml",
            output_dir=tmp_path / "r",
        )
    )
    assert rendered(run / "config.yml").shape == (24, 24, 3)


def test_the_command_says_what_to_do_next(
    trained: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    arguments = [
        "--data",
        str(collection),
        "--scene",
        "test/f",
        "--load-config",
        str(trained),
        "--context",
        "0",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["vnp-infer", *arguments, "--output-dir", str(tmp_path / "run")])
    main()
    said = capsys.readouterr().out
    assert "seen from views 0, 2" in said
    assert "ns-render camera-path" in said


def test_it_wants_exactly_one_source_of_weights(trained: Path, collection: Path) -> None:
    with pytest.raises(ConfigError):
        infer(Infer(collection / "test" / "f"))
    with pytest.raises(ConfigError):
        infer(Infer(collection / "test" / "f", weights="x", load_config=trained))


def edit_pose(change: Callable[[list[list[float]]], None]) -> Callable[[Path], None]:
    def damage(scene: Path) -> None:
        meta = json.loads((scene / "transforms.json").read_text())
        change(meta["frames"][0]["transform_matrix"])
        (scene / "transforms.json").write_text(json.dumps(meta))

    return damage


def edit_meta(**changes) -> Callable[[Path], None]:
    def damage(scene: Path) -> None:
        meta = json.loads((scene / "transforms.json").read_text())
        meta.update(changes)
        (scene / "transforms.json").write_text(json.dumps(meta))

    return damage


def set_nan(pose: list[list[float]]) -> None:
    pose[0][3] = float("nan")


def reflect(pose: list[list[float]]) -> None:
    for row in pose[:3]:
        row[0] = -row[0]


def stretch(pose: list[list[float]]) -> None:
    for row in pose[:3]:
        row[0] *= 1.5


def truncate(scene: Path) -> None:
    picture = scene / "r_0.png"
    picture.write_bytes(picture.read_bytes()[:60])


def resize(scene: Path) -> None:
    Image.new("RGBA", (20, 20)).save(scene / "r_0.png")


BAD_SCENES = {
    "no scene": (lambda scene: (scene / "transforms.json").unlink(), SceneNotFoundError),
    "no views": (edit_meta(frames=[]), SceneError),
    "picture missing": (lambda scene: (scene / "r_0.png").unlink(), PictureError),
    "picture truncated": (truncate, PictureError),
    "picture of another size": (resize, PictureError),
    "NaN in a pose": (edit_pose(set_nan), CameraError),
    "reflection": (edit_pose(reflect), CameraError),
    "no rotation": (edit_pose(stretch), CameraError),
    "focal length of zero": (edit_meta(fl_x=0.0, fl_y=0.0), CameraError),
    "negative focal length": (edit_meta(fl_x=-20.0, fl_y=-20.0), CameraError),
}


@pytest.mark.parametrize("case", list(BAD_SCENES))
def test_a_bad_scene_is_one_error_and_leaves_nothing_in_infer_and_in_train(
    case: str, trained: Path, make_scene, make_config, tmp_path: Path, capsys
) -> None:
    damage, expected = BAD_SCENES[case]
    scene = make_scene(tmp_path / "scene")
    if case == "picture of another size":  # of which nobody knows, unless the file says the size
        edit_meta(w=24, h=24)(scene)
    damage(scene)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(expected) as raised:
        infer(Infer(scene, load_config=trained, context=(0,), output_dir=tmp_path / "run"))
    assert str(scene.name) in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before
    config = make_config(scene, tmp_path / "train", 1)
    with pytest.raises(SystemExit) as ended:
        config.save_config()
    assert ended.value.code == raised.value.exit_code
    assert capsys.readouterr().err.startswith(type(raised.value).__name__ + ": ")
    assert sorted(tmp_path.iterdir()) == before


def test_every_error_class_has_an_exit_code_of_its_own() -> None:
    kinds, codes = [VNPError], []
    while kinds:
        kind = kinds.pop()
        codes.append(kind.exit_code)
        kinds += kind.__subclasses__()
    assert len(codes) == len(set(codes))
    assert 0 not in codes


def test_more_views_than_there_are_is_one_error(trained: Path, collection: Path, tmp_path: Path) -> None:
    for options in ({"num_context": 7}, {"context": (6,)}):
        with pytest.raises(ViewCountError):
            infer(
                Infer(collection / "test" / "f", load_config=trained, output_dir=tmp_path / "run", **options)
            )
    assert not list(tmp_path.iterdir())


def test_weights_of_another_architecture_are_one_error(
    trained: Path, collection: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained.parent, tmp_path / "run")
    config = tmp_path / "run" / "config.yml"
    text = config.read_text()
    assert "    width: 16\n" in text
    config.write_text(text.replace("      width: 16\n", "      width: 24\n"))
    with pytest.raises(CheckpointError):
        infer(Infer(collection / "test" / "f", load_config=config, output_dir=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_a_run_is_left_as_it_is(ball_run: Path, trained: Path, collection: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in ball_run.parent.rglob("*")}
    with pytest.raises(OutputExistsError, match="already holds a run"):
        infer(Infer(collection / "test" / "f", load_config=trained, output_dir=ball_run.parent))
    assert {path: path.stat().st_mtime_ns for path in ball_run.parent.rglob("*")} == before
