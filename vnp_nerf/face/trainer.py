"""The trainer: nerfstudio's, with one line of log now and then, absolute paths, and nothing half-written."""

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils import comms
from nerfstudio.utils.decorators import check_main_thread
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from vnp_core.errors import ConfigError, OutputExistsError, exit_on_error
from vnp_core.objectives import CollapseMonitor
from vnp_nerf.face.checkpoints import latest_checkpoint, read_checkpoint, scene_model_state
from vnp_nerf.face.datamanager import VNPDataManagerConfig
from vnp_nerf.face.dataparser import VNPSceneDataParserConfig
from vnp_nerf.face.schedulers import WarmupCosineConfig
from vnp_nerf.host_memory import keep_freed_memory
from vnp_nerf.views import Views


@dataclass
class VNPTrainerConfig(TrainerConfig):
    """A run of `vnp-nerf`."""

    _target: type = field(default_factory=lambda: VNPTrainer)
    run_dir: Path | None = None
    """Where the run is written; output_dir/experiment_name/method_name/timestamp if not given."""
    steps_per_line: int = 100
    """Steps between lines of the log."""

    def setup(self, **kwargs: Any) -> Any:
        """Builds the trainer; ends the program with one line on an error of ours."""
        with exit_on_error():
            return super().setup(**kwargs)

    def get_base_dir(self) -> Path:
        """The run's folder."""
        self.set_experiment_name()
        return self.run_dir if self.run_dir is not None else super().get_base_dir()

    def save_config(self) -> None:
        """Writes config.yml with absolute paths, so that tools find the run from any folder.

        Nothing is written when the data makes no sense, the checkpoint to go on from does not fit, or the
        folder already holds a run.
        """
        with exit_on_error():
            self._check_inputs()
            target = self.get_base_dir() / "config.yml"
            if target.exists():
                raise OutputExistsError(
                    f"{target.parent} already holds a run, and nothing is overwritten: give another "
                    "--output-dir, --experiment-name or --timestamp"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".yml.partial")
            partial.write_text(yaml.dump(self), encoding="utf-8")
            partial.replace(target)
        CONSOLE.log(f"Saving config to: {target}")

    def _check_inputs(self) -> None:
        """Makes all paths absolute, and opens what the run will open first. Raises a `VNPError`."""
        manager = self.pipeline.datamanager
        if not isinstance(manager, VNPDataManagerConfig) or not isinstance(
            manager.dataparser, VNPSceneDataParserConfig
        ):
            raise ConfigError(
                f"{self.method_name} reads scenes with its own dataparser, vnp-scene: leave "
                f"{type(manager.dataparser).__name__} out of the command; its folders are read as well"
            )
        self.set_experiment_name()
        data = self.data or manager.data or manager.dataparser.data
        self.data = manager.data = manager.dataparser.data = Path(data).absolute()
        self.output_dir = self.output_dir.absolute()
        self.run_dir = None if self.run_dir is None else self.run_dir.absolute()
        parser = manager.dataparser.setup()
        Views.from_scene(parser.scene, parser.context)
        if (path := checkpoint_to_load(self)) is not None:
            scene_model_state(read_checkpoint(path), self.pipeline.model.radiance, str(path))


class VNPTrainer(Trainer):
    """See `VNPTrainerConfig`."""

    config: VNPTrainerConfig

    def setup(self, test_mode: Any = "val") -> None:
        """Builds everything and loads what is to be resumed."""
        keep_freed_memory()
        super().setup(test_mode)
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        self._summed = 0
        self._seconds = 0.0
        self._monitor: CollapseMonitor | None = None
        self._collapsed: list[int] = []

    def train(self) -> None:
        """Trains; a picture that turns out unreadable ends the program with one line."""
        with exit_on_error():
            super().train()

    def train_iteration(self, step: int) -> Any:
        """One step of the optimiser, and a line of the log if it is due."""
        start = time.perf_counter()
        loss, losses, metrics = super().train_iteration(step)
        self._seconds += time.perf_counter() - start
        loss, losses, metrics = loss.detach(), _detached(losses), _detached(metrics)
        for name, value in {"loss": loss, **metrics}.items():
            self._sums[name] += value
        self._summed += 1
        self._watch_latents(metrics)
        last = step + 1 == self._start_step + self.config.max_num_iterations
        if comms.is_main_process() and ((step + 1) % self.config.steps_per_line == 0 or last):
            self._print_line(step + 1)
        return loss, losses, metrics

    def _watch_latents(self, metrics: dict[str, Tensor]) -> None:
        """Names the latent levels that have stopped carrying information, when their number changes."""
        levels = [value for name, value in sorted(metrics.items()) if name.startswith("kl_")]
        if not levels or not comms.is_main_process():
            return
        if self._monitor is None:
            self._monitor = CollapseMonitor(len(levels))
        self._monitor.update(torch.stack(levels)[None])
        if self._monitor.collapsed != self._collapsed:
            self._collapsed = self._monitor.collapsed
            CONSOLE.print(
                f"step {self.step + 1}: {self._monitor.message() or 'all latents are alive again.'}"
            )

    def _print_line(self, step: int) -> None:
        means = {name: float(value) / self._summed for name, value in self._sums.items()}
        if not torch.isfinite(torch.tensor(means["loss"])):
            CONSOLE.print(f"[bold red]step {step}: the loss is {means['loss']}; lower the learning rate")
        rate = self._summed / self._seconds
        left = (self._start_step + self.config.max_num_iterations - step) / rate
        shown = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        CONSOLE.print(f"step {step:>6}  {shown}  {rate:.2f} steps/s  {_duration(left)} left", highlight=False)
        self._sums.clear()
        self._summed, self._seconds = 0, 0.0

    def _load_checkpoint(self) -> None:
        """Resumes a run, or starts from weights alone, and aims the learning rate at the end of this run."""
        path = checkpoint_to_load(self.config)
        if path is None:
            CONSOLE.print("Training from scratch.")
        else:
            state = read_checkpoint(path)
            self.pipeline.load_pipeline(state["pipeline"], state["step"])
            if "optimizers" in state:
                self._start_step = state["step"] + 1
                self.optimizers.load_optimizers(state["optimizers"])
                if self.config.load_scheduler:
                    self.optimizers.load_schedulers(state["schedulers"])
                self.grad_scaler.load_state_dict(state["scalers"])
            CONSOLE.print(f"Loaded {path}; training goes on from step {self._start_step}.")
        for group in self.config.optimizers.values():
            scheduler = group["scheduler"]
            if isinstance(scheduler, WarmupCosineConfig) and scheduler.max_steps is None:
                scheduler.max_steps = self._start_step + self.config.max_num_iterations

    @check_main_thread
    def save_checkpoint(self, step: int) -> None:
        """Writes a checkpoint beside the others and puts it into its place when it is complete."""
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        target = self.checkpoint_dir / f"step-{step:09d}.ckpt"
        partial = self.base_dir / "checkpoint.partial"
        state = {
            "step": step,
            "pipeline": self.pipeline.state_dict(),
            "optimizers": {
                name: optimizer.state_dict() for name, optimizer in self.optimizers.optimizers.items()
            },
            "schedulers": {
                name: scheduler.state_dict() for name, scheduler in self.optimizers.schedulers.items()
            },
            "scalers": self.grad_scaler.state_dict(),
        }
        torch.save(state, partial)
        os.replace(partial, target)
        if self.config.save_only_latest_checkpoint:
            for old in self.checkpoint_dir.glob("*.ckpt"):
                if old != target:
                    old.unlink()


def _detached(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in values.items()}


def checkpoint_to_load(config: TrainerConfig) -> Path | None:
    """The file that `--load-checkpoint`, or `--load-dir` with or without `--load-step`, asks for."""
    if config.load_dir is None:
        return config.load_checkpoint
    return latest_checkpoint(config.load_dir, config.load_step)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
