"""A training whose data worker dies says so, and does not wait for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from vnp_core.errors import DataError

pytestmark = pytest.mark.fault("a dead data worker")

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from nerfstudio.scripts.train import train_loop
from vnp_nerf.face.datamanager import VNPDataManager
from vnp_nerf.face.run_file import read_run_config

config_file, folder, wait = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
config = read_run_config(config_file)
config.run_dir, config.max_num_iterations, config.steps_per_save = folder, 10_000, 2
config.pipeline.datamanager.batches.workers = 1
inner = VNPDataManager.next_train

def next_train(self, step):
    found = inner(self, step)
    if step == 5:
        os.kill(self._samplers["train"]._stream._workers[0].pid, signal.SIGKILL)
        time.sleep(wait)
    return found

VNPDataManager.next_train = next_train
config.save_config()
train_loop(0, 1, config)
"""


@pytest.mark.parametrize("wait", [0.0, 0.5])
def test_a_dead_worker_ends_the_training_with_one_line(trained: Path, tmp_path: Path, wait: float) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(trained), str(tmp_path / "run"), str(wait)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == DataError.exit_code, done.stderr[-2000:]
    assert "DataError: A worker process that makes training batches has died" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "run" / "nerfstudio_models").iterdir())[-1] == (
        "step-000000004.ckpt"
    )
