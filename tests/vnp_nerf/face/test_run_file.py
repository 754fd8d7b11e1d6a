import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from vnp_core.errors import CheckpointError
from vnp_core.muon import StackedMuon
from vnp_nerf.face.opened_run import run_weights
from vnp_nerf.face.run_file import read_run_config

pytestmark = pytest.mark.fault("a hostile config.yml")


def test_a_config_reads_back_as_nerfstudio_itself_reads_it(trained: Path) -> None:
    assert read_run_config(trained) == yaml.load(trained.read_text(), Loader=yaml.Loader)


def test_a_run_from_before_muon_was_stacked_opens_with_the_same_settings(
    trained: Path, tmp_path: Path
) -> None:
    text = trained.read_text()
    now, before = "vnp_core.muon.StackedMuon", "torch.optim.Muon"
    assert text.count(now) == 1
    run = Path(shutil.copytree(trained.parent, tmp_path / "run"))
    (run / "config.yml").write_text(text.replace(now, before))
    old, new = (read_run_config(path) for path in (run / "config.yml", trained))
    old_muon, new_muon = (config.optimizers["matrices"]["optimizer"] for config in (old, new))
    assert (old_muon._target, new_muon._target) == (torch.optim.Muon, StackedMuon)
    assert replace(old_muon, _target=StackedMuon) == new_muon
    assert run_weights(run / "config.yml") is not None


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [echo]",
        "!!python/object/apply:subprocess.check_output [[echo]]",
        "!!python/name:os.system ''",
        "!!python/object:nerfstudio.pipelines.base_pipeline.VanillaPipeline {}",
        "!!python/object/apply:nerfstudio.utils.eval_utils.eval_setup [x]",
        "!!python/object:vnp_nerf.face.trainer.NoSuchClass {}",
        "!!python/object:nerfstudio.engine.trainer.TrainerConfig {}",
        "!!python/name:nerfstudio.utils.scripts.run_command ''",
        "!!python/object:vnp_nerf.face.trainer.VNPTrainerConfig {setup: !!python/name:builtins.print ''}",
        "!!python/object:vnp_nerf.face.trainer.VNPTrainerConfig {setup: 1}",
        "!!python/object:vnp_nerf.face.trainer.VNPTrainerConfig "
        "{_target: !!python/name:nerfstudio.utils.scripts.run_command ''}",
        "a: 1",
        "a: [",
        "a: &a [*a]",
        "a0: &a0 [1]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(40)),
        "",
    ],
)
def test_what_is_no_run_of_ours_is_refused_and_not_run(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(CheckpointError):
        read_run_config(tmp_path / "config.yml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run"):
        read_run_config(tmp_path / "config.yml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width: 16", "width: wide"),
        ("levels: 2", "levels: true"),
        ("  draw: null", "  draw: [1]"),
        ("num_context: null", "num_context: some"),
        ("relative_model_dir:", "relative_model_dir: 1\nold_dir:"),
        ("canvas: 16", "canvas: 16\n      surprise: 1"),
    ],
)
def test_a_run_with_values_of_another_kind_is_refused(
    old: str, new: str, trained: Path, tmp_path: Path
) -> None:
    text = trained.read_text()
    assert old in text
    (tmp_path / "config.yml").write_text(text.replace(old, new))
    with pytest.raises(CheckpointError, match=r"cannot be read as a run's config\.yml"):
        read_run_config(tmp_path / "config.yml")


def test_a_run_that_asks_for_more_layers_than_tensors_is_refused(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained.parent, tmp_path / "run"))
    config = run / "config.yml"
    config.write_text(config.read_text().replace("plane_layers: 1", "plane_layers: 1000000000"))
    with pytest.raises(CheckpointError, match="plane_layers 1000000000, and has"):
        run_weights(config)


def test_a_run_that_lies_elsewhere_says_what_to_beware_of(trained: Path, tmp_path: Path, capsys) -> None:
    run_weights(trained)
    assert capsys.readouterr().err == ""
    run_weights(Path(shutil.copytree(trained.parent, tmp_path / "run")) / "config.yml")
    said = capsys.readouterr().err
    assert f"NOTE: {tmp_path / 'run' / 'config.yml'} was made as {trained}" in said
    assert "use them on it only if you trust who made it" in said
