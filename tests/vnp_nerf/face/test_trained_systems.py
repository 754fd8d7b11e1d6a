"""Systems that are trained alike: their commands are ns-train's, and what is trained is not trained again."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from vnp_core.errors import ConfigError, DataError, OutputExistsError
from vnp_core.results import read_results
from vnp_nerf.face import trained_systems
from vnp_nerf.face.datamanager import scene_sample
from vnp_nerf.face.trained_systems import SYSTEMS, Schooling, steps_in, system_named, train
from vnp_nerf.library import build_model
from vnp_nerf.paper import PaperConfig


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are asked for in place of a process, which says a rate."""
    commands: list[list[str]] = []

    def run(command, on_step=None):
        commands.append(list(command))
        return "step     20  loss 1  0.40 steps/s\nstep     40  loss 1  1.25 steps/s  0 min left\n"

    monkeypatch.setattr(trained_systems, "_run", run)
    return commands


def test_a_sample_of_scenes_is_part_of_every_larger_one():
    paths = [Path(f"scene-{number}") for number in range(20)]
    samples = [set(scene_sample(paths, count, 3)) for count in (1, 5, 19, 20, 50)]
    assert [len(sample) for sample in samples] == [1, 5, 19, 20, 20]
    assert all(few <= many for few, many in pairwise(samples))
    assert samples[1] != set(scene_sample(paths, 5, 4))
    with pytest.raises(ConfigError, match="train_scenes is 0"):
        scene_sample(paths, 0, 3)


def test_the_steps_that_fit_into_a_time_follow_from_the_last_rate(printed, tmp_path):
    _, system = system_named("vnp-nerf")
    assert steps_in(system, Schooling(tmp_path), 2.0, tmp_path / "trial") == 150
    assert "--max-num-iterations" in printed[0]
    assert not (tmp_path / "trial").exists()


def test_an_unknown_system_and_a_folder_of_something_else_are_refused(printed, tmp_path):
    with pytest.raises(ConfigError, match="no system 'nerf'; known: vnp-nerf"):
        system_named("nerf")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.png").write_bytes(b"")
    with pytest.raises(OutputExistsError, match="no run of ns-train"):
        train(system_named("vnp-nerf")[1], Schooling(tmp_path), 3, tmp_path / "photos")
    assert (tmp_path / "photos" / "mine.png").exists()
    assert not printed


def test_a_variant_is_a_system_with_flags_that_count_last(tmp_path):
    name, variant = system_named("deep=deterministic --pipeline.model.radiance.frame azimuth")
    assert name == "deep"
    command = Schooling(tmp_path, frame="canonical").command(variant, 1, tmp_path / "run", 1)
    assert command[-2:] == ["--pipeline.model.radiance.frame", "azimuth"]
    plain = Schooling(tmp_path, frame="canonical").command(SYSTEMS["deterministic"], 1, tmp_path / "run", 1)
    assert command[:-2] == plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deep=nerf --x 1", "no system 'nerf'"),
        ("../deep=deterministic", "cannot name a variant"),
        ("planes=deterministic", "'planes' cannot name a variant"),
    ],
)
def test_variants_that_cannot_be_are_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        system_named(text)


def test_a_run_of_another_command_is_not_taken_for_this_one(printed, tmp_path):
    (tmp_path / "run").mkdir()
    told = {"command": "ns-train vnp-nerf --data elsewhere", "steps": 3, "seconds": 1.0}
    (tmp_path / "run" / "trained.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="another command"):
        train(system_named("vnp-nerf")[1], Schooling(tmp_path), 3, tmp_path / "run")


def test_a_training_that_fails_is_told_with_its_last_words(tmp_path):
    with pytest.raises(DataError, match=r"ended with exit code 14: (.|\n)*nowhere"):
        train(system_named("tiny")[1], Schooling(tmp_path / "nowhere"), 1, tmp_path / "run")


@pytest.mark.slow
def test_every_system_is_one_that_ns_train_knows(tmp_path, collection):
    import tyro
    from nerfstudio.configs.method_configs import AnnotatedBaseConfigUnion

    for name, system in SYSTEMS.items():
        schooling = Schooling(collection, "canonical", train_scenes=2)
        words = schooling.command(system, 7, tmp_path / name, 100)
        config = tyro.cli(AnnotatedBaseConfigUnion, args=words[1:])
        assert (config.method_name, config.max_num_iterations) == (system.method, 7)
        manager, architecture = config.pipeline.datamanager, config.pipeline.model.radiance
        assert (manager.batches.scenes_per_batch, manager.train_scenes) == (8, 2)
        assert build_model(architecture).config == architecture
        assert isinstance(architecture, PaperConfig) or architecture.frame == "canonical"
    assert name == "paper-small"


@pytest.mark.slow
def test_the_script_trains_scores_and_draws_and_finds_again_what_it_trained(
    load_script, collection, tmp_path, capsys
):
    compare = load_script("compare_3d")
    pairs = load_script("make_pairs")
    pairs.main(pairs.MakePairs("balls", collection, "", contexts=2, queries=2, folder=tmp_path))
    config = compare.Compare3D(
        train=collection,
        data=f"balls:{collection}",
        systems=("tiny",),
        steps=(1, 2),
        scenes=(1, 50),
        views=(1, 2),
        pairs=tmp_path,
        runs=tmp_path / "runs",
        output=tmp_path / "results.json",
        figure=tmp_path / "figure.png",
    )
    compare.main(config)
    first = read_results(config.output)
    assert {row.condition for row in first.rows if row.metric == "psnr"} == {
        f"views={views},scenes={scenes},steps={steps}"
        for views in (1, 2)
        for scenes in (1, 3)
        for steps in (1, 2)
    }
    assert {row.value for row in first.rows if row.metric == "steps"} == {1, 2}
    assert config.figure.stat().st_size > 5000
    compare.main(config)
    second = read_results(config.output)
    assert second.seconds < first.seconds / 2
    timeless = [[row for row in found.rows if row.metric != "seconds"] for found in (first, second)]
    assert timeless[0] == timeless[1]
    assert "tiny" in capsys.readouterr().out


def test_minutes_or_steps_have_to_be_said(load_script, tmp_path):
    compare = load_script("compare_3d")
    for given in ({}, {"minutes": 1.0, "steps": (1,)}, {"minutes": 0.0}, {"steps": (0,)}):
        with pytest.raises(ConfigError):
            compare.Compare3D(train=tmp_path, data="balls:.", **given)
    with pytest.raises(ConfigError, match="--figure"):
        compare.Compare3D(train=tmp_path, data="balls:.", minutes=1.0, figure=tmp_path / "a.png")
