from pathlib import Path

import pytest
import yaml

from vnp_core.errors import CheckpointError
from vnp_nerf.face.run_file import read_run_config


def test_a_config_reads_back_as_nerfstudio_itself_reads_it(trained: Path) -> None:
    assert read_run_config(trained) == yaml.load(trained.read_text(), Loader=yaml.Loader)


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
