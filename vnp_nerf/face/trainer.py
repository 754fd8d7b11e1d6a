"""The trainer: nerfstudio's, with one line of log now and then, absolute paths, and nothing half-written."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils import comms
from nerfstudio.utils.decorators import check_main_thread
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.optim import Optimizer

from vnp_core.errors import (
    ConfigError,
    DivergenceError,
    OutputExistsError,
    SceneNotFoundError,
    VNPError,
    exit_on_error,
)
from vnp_core.finiteness import listed
from vnp_core.objectives import CollapseMonitor
from vnp_core.results import hardware_name
from vnp_core.whole_files import write_whole
from vnp_nerf.batches import worker_died
from vnp_nerf.face.checkpoints import (
    read_checkpoint,
    read_latest_checkpoint,
    scene_model_state,
    write_checkpoint,
)
from vnp_nerf.face.datamanager import VNPDataManagerConfig
from vnp_nerf.face.dataparser import VNPSceneDataParserConfig
from vnp_nerf.face.guards import GuardedOptimizers, check_weights
from vnp_nerf.face.schedulers import WarmupCosineConfig
from vnp_nerf.host_memory import keep_freed_memory
from vnp_nerf.readers import Collection
from vnp_nerf.views import Views

_MOST_SKIPS = 10
"""Steps in a row that `on_divergence='skip'` leaves out before the run stops."""


@dataclass
class VNPTrainerConfig(TrainerConfig):
    """A run of `vnp-nerf`."""

    _target: type = field(default_factory=lambda: VNPTrainer)
    run_dir: Path | None = None
    """Where the run is written; output_dir/experiment_name/method_name/timestamp if not given."""
    steps_per_line: int = 100
    """Steps between lines of the log."""
    on_divergence: Literal["stop", "skip"] = "stop"
    """What to do at a loss or gradient that is NaN or infinite: `stop`, keeping the weights before it, or
    `skip` that step; ten in a row stop the run.
    """

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
            write_whole(target, yaml.dump(self).encode())
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
        self._check_evaluation(parser.collection)
        if (loaded := read_checkpoint_to_load(self)) is not None:
            path, state = loaded
            scene_model_state(state, self.pipeline.model.radiance, str(path))

    def _check_evaluation(self, collection: Collection) -> None:
        """Raises `SceneNotFoundError` where a step is going to evaluate scenes that are not there."""
        resumed = self.load_dir is not None or self.load_checkpoint is not None
        due = [
            f"--{name.replace('_', '-')} {every}"
            for name in ("steps_per_eval_batch", "steps_per_eval_all_images")
            if (every := getattr(self, name)) and (resumed or every < self.max_num_iterations)
        ]
        try:
            if due:
                collection.split("val")
        except SceneNotFoundError as error:
            raise SceneNotFoundError(
                f"{error} {' and '.join(due)} evaluate such scenes during training: hold some out, or set "
                "what asks for them to 0"
            ) from error


class VNPTrainer(Trainer):
    """See `VNPTrainerConfig`."""

    config: VNPTrainerConfig

    def setup(self, test_mode: Any = "val") -> None:
        """Builds everything and loads what is to be resumed."""
        keep_freed_memory()
        super().setup(test_mode)
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        self._counts: dict[str, int] = defaultdict(int)
        self._summed = 0
        self._seconds = 0.0
        self._monitor: CollapseMonitor | None = None
        self._collapsed: list[int] = []
        self._skipped = 0

    def setup_optimizers(self) -> GuardedOptimizers:
        """nerfstudio's optimisers, which refuse gradients that are not finite."""
        optimizers = GuardedOptimizers(self.config.optimizers.copy(), self.pipeline.get_param_groups())
        optimizers.guard(self.pipeline.model)
        return optimizers

    def train(self) -> None:
        """Trains; an error of ours, such as an unreadable picture, ends the program with one line."""
        with exit_on_error():
            try:
                super().train()
            except DivergenceError as error:
                advice = "Lower the learning rate, or leave those scenes out."
                raise DivergenceError(f"{error} {advice} {self._keep_good_weights()}") from error
            except VNPError as error:
                raise type(error)(f"{error} {self._keep_good_weights()}") from error
            except RuntimeError as error:
                if "DataLoader worker (pid" not in str(error):
                    raise
                raise worker_died(error) from error

    def _keep_good_weights(self) -> str:
        """Saves the weights as they were before the step that failed; says what became of them."""
        if getattr(self, "step", self._start_step) == self._start_step:
            return "No step was made."
        try:
            self.save_checkpoint(self.step - 1)
        except VNPError:
            return f"The checkpoints in {self.checkpoint_dir} are from before."
        return (
            f"The weights before this step are kept: go on from them with --load-dir {self.checkpoint_dir}."
        )

    def train_iteration(self, step: int) -> Any:
        """One step of the optimiser, and a line of the log if it is due."""
        start = time.perf_counter()
        try:
            loss, losses, metrics = super().train_iteration(step)
        except DivergenceError as cause:
            self._skipped += 1
            scenes = listed(self.pipeline.scenes_in_step)
            error = DivergenceError(f"step {step}: {cause}. The batch's scenes: {scenes}.")
            if self.config.on_divergence == "stop" or self._skipped >= _MOST_SKIPS:
                raise error from cause
            CONSOLE.print(f"{error} This step is skipped.", style="bold red")
            return torch.tensor(float("nan")), {}, {}
        self._skipped = 0
        self._seconds += time.perf_counter() - start
        loss, losses, metrics = loss.detach(), _detached(losses), _detached(metrics)
        for name, value in {"loss": loss, **metrics}.items():
            self._sums[name] += value
            self._counts[name] += 1
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
        means = {name: float(value) / self._counts[name] for name, value in self._sums.items()}
        rate = self._summed / self._seconds
        left = (self._start_step + self.config.max_num_iterations - step) / rate
        shown = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        CONSOLE.print(f"step {step:>6}  {shown}  {rate:.2f} steps/s  {_duration(left)} left", highlight=False)
        self._sums.clear()
        self._counts.clear()
        self._summed, self._seconds = 0, 0.0

    def _load_checkpoint(self) -> None:
        """Resumes a run, or starts from weights alone, and aims the learning rate at the end of this run."""
        self._seconds_before, self._begun = 0.0, time.perf_counter()
        loaded = read_checkpoint_to_load(self.config)
        if loaded is None:
            CONSOLE.print("Training from scratch.")
        else:
            path, state = loaded
            self.pipeline.load_pipeline(state["pipeline"], state["step"])
            if "optimizers" in state:
                self._start_step = state["step"] + 1
                self._seconds_before = state.get("spent", {}).get("seconds", 0.0)
                self._load_optimizers(state)
                self.grad_scaler.load_state_dict(state["scalers"])
            CONSOLE.print(f"Loaded {path}; training goes on from step {self._start_step}.")
        for group in self.config.optimizers.values():
            scheduler = group["scheduler"]
            if isinstance(scheduler, WarmupCosineConfig) and scheduler.max_steps is None:
                scheduler.max_steps = self._start_step + self.config.max_num_iterations

    def _load_optimizers(self, state: dict[str, Any]) -> None:
        """What a checkpoint knows of momenta and of how far the schedule is. Rates, weight decay and the like
        are this run's own: torch would load those of the run before.
        """
        own = {name: _settings(made) for name, made in self.optimizers.optimizers.items()}
        self.optimizers.load_optimizers(state["optimizers"])
        if self.config.load_scheduler:
            self.optimizers.load_schedulers(state["schedulers"])
        for name, made in self.optimizers.optimizers.items():
            for group, settings in zip(made.param_groups, own[name], strict=True):
                peak = settings.get("initial_lr", settings["lr"])
                share = group["lr"] / group.get("initial_lr", group["lr"])  # of the peak, at this step
                group.update({**settings, "lr": share * peak})
            if name in self.optimizers.schedulers:
                peaks = [group["initial_lr"] for group in made.param_groups]
                self.optimizers.schedulers[name].base_lrs = peaks

    @check_main_thread
    def save_checkpoint(self, step: int) -> None:
        """Writes a checkpoint, whole or not at all; the one before it is kept, should this one be damaged.

        Raises `DivergenceError` for weights that are not finite, and `CheckpointError` where it cannot be
        written.
        """
        check_weights(self.pipeline.model)
        target = self.checkpoint_dir / f"step-{step:09d}.ckpt"
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
            "spent": {
                "seconds": self._seconds_before + time.perf_counter() - self._begun,
                "hardware": f"{hardware_name(torch.device(self.device))}, {_threads()}",
            },
        }
        write_checkpoint(target, state, workspace=self.base_dir)
        if self.config.save_only_latest_checkpoint:
            for old in sorted(self.checkpoint_dir.glob("*.ckpt"))[:-2]:
                old.unlink()


def _detached(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in values.items()}


def read_checkpoint_to_load(config: TrainerConfig) -> tuple[Path, dict[str, Any]] | None:
    """The file that `--load-checkpoint`, or `--load-dir` with or without `--load-step`, asks for, and what it
    holds. Raises `CheckpointError`.
    """
    if config.load_dir is not None:
        return read_latest_checkpoint(config.load_dir, config.load_step)
    if config.load_checkpoint is not None:
        return config.load_checkpoint, read_checkpoint(config.load_checkpoint)
    return None


def _threads() -> str:
    count = torch.get_num_threads()
    return f"{count} thread{'s' if count > 1 else ''}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Rate, weight decay and the like of each group of parameters."""
    return [
        {key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups
    ]
