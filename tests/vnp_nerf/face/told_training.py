"""Trains as CONFIG says and keeps the last step that was done in DONE; see test_killed_training.py."""

from typing import Any

from nerfstudio.scripts.train import train_loop

from vnp_nerf.face.trainer import VNPTrainer, VNPTrainerConfig

CONFIG: VNPTrainerConfig
DONE: Any


class ToldTrainer(VNPTrainer):
    def train_iteration(self, step: int) -> Any:
        found = super().train_iteration(step)
        DONE.value = step
        return found


CONFIG._target = ToldTrainer
train_loop(0, 1, CONFIG)
