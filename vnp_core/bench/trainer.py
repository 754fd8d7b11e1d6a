"""The one training loop of the benchmarks, on one process or several, through Lightning Fabric.

A run stopped at any moment goes on as if it had never stopped: batches and noise are functions of the seed
and the step, and a state on disk holds all the rest (`training_state`).
"""

import atexit
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

from vnp_core.bench.extra import import_extra
from vnp_core.bench.progress import Log, progress, quiet
from vnp_core.bench.stop_signals import stop_signals
from vnp_core.bench.training_state import (
    HistoryRow,
    TrainingState,
    read_state,
    remove_states,
    write_state,
)
from vnp_core.bench.weight_average import WeightAverage
from vnp_core.checkpoints import load_into
from vnp_core.config import to_dict
from vnp_core.errors import ConfigError, DivergenceError, InterruptedRunError, OutputExistsError
from vnp_core.finiteness import listed, not_finite
from vnp_core.likelihoods import accumulator
from vnp_core.objectives import CollapseMonitor
from vnp_core.optimisers import OptimiserConfig, build_optimisers, set_rate
from vnp_core.process_objectives import LossTerms
from vnp_core.tasks.task import TaskBatch, TaskSource, step_generator

Start = Literal["new", "resume", "replace"]
"""What to do with a run that is there already: refuse to touch it, go on with it, or forget it."""

OnDivergence = Literal["stop", "skip"]
"""What to do at a loss or gradient that is NaN or infinite: stop, keeping the weights before it, or make no
step of it."""

NOISE_STREAM = 2
"""Training noise and training tasks of one step come from unrelated streams."""

_MOST_SKIPS = 10
"""Steps in a row that are skipped before the run stops all the same."""


@dataclass(frozen=True)
class TrainerConfig:
    """A budget, and how it is spent."""

    steps: int = 100_000
    """Steps of the optimiser."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    """How weights move."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the weights' moving average, which is what training returns."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of the forward pass; log-likelihoods are float64 in either."""
    devices: int = 1
    """Processes, each with batches of its own."""
    log_every: int = 100
    """Steps that a row of the history averages over."""

    def __post_init__(self) -> None:
        if min(self.steps, self.devices, self.log_every) < 1 or self.clip <= 0 or not 0 <= self.ema < 1:
            raise ConfigError(
                "steps, devices and log_every are 1 or more, clip is positive and ema lies in [0, 1); "
                f"given was {self}."
            )


class Loss(Protocol):
    """What to minimise."""

    def __call__(self, model: Any, batch: TaskBatch, step: int, generator: torch.Generator) -> LossTerms:
        """The loss of a batch at a step, with noise from the generator."""
        ...


@dataclass(frozen=True)
class Trained:
    """How a finished run went. The model itself holds the averaged weights."""

    steps: int
    seconds: float
    history: list[HistoryRow]
    collapse: str | None
    """What the collapse monitor says of the last part of training; None where every level lives."""
    skipped: int
    """Steps that moved no weight, since their numbers were not finite."""


def build_fabric(config: TrainerConfig, accelerator: str = "auto") -> Any:
    """A launched Fabric. With several devices on one machine it starts this program once for each."""
    fabric = import_extra("lightning_fabric")
    strategy: Any = "auto"
    if config.devices > 1:
        # Some parameters see no gradient, such as the pooling of a stack of no latents.
        strategy = import_extra("lightning_fabric.strategies").DDPStrategy(find_unused_parameters=True)
    built = fabric.Fabric(
        accelerator=accelerator, devices=config.devices, strategy=strategy, precision=config.precision
    )
    built.launch()
    if config.devices > 1:
        atexit.register(leave_process_group)
    return built


def leave_process_group() -> None:
    """Ends this process' part in the group of a run. Fabric leaves gloo's to the end of the interpreter,
    where a thread that still listens aborts the program in about one run of ten.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class Trainer:
    """Trains one model in a folder of its own."""

    def __init__(
        self,
        config: TrainerConfig,
        folder: Path,
        *,
        seed: int,
        described: Mapping[str, Any],
        fabric: Any = None,
        checkpoint_seconds: float = 60.0,
        on_divergence: OnDivergence = "stop",
        label: str = "",
        log: Log | None = None,
    ) -> None:
        """`described` says what is trained on what: a run goes on only under the same description. What is
        done `on_divergence` is no part of it, so that a run which stopped may go on without that step.

        `fabric` comes from `build_fabric`, by default for one process. Progress, under this `label`, goes to
        `log` where there is no terminal to show a bar on; without a log nothing is shown.
        """
        self.config, self.folder, self.seed = config, folder, seed
        self.description = {"trainer": to_dict(config), "seed": seed, **described}
        self.fabric: Any = build_fabric(config) if fabric is None else fabric
        self.checkpoint_seconds, self.on_divergence = checkpoint_seconds, on_divergence
        self.label = label or folder.name
        self.log = log if self.fabric.is_global_zero else None

    def fit(self, model: nn.Module, source: TaskSource, loss: Loss, start: Start) -> Trained:
        """Trains to the end and leaves the averaged weights in `model`, on the training device.

        A run that is in the folder already is refused by start `new` (`OutputExistsError`). Raises
        `DivergenceError` where the loss or a gradient is not finite, or ten in a row were not;
        `InterruptedRunError` after Ctrl-C or SIGTERM; either way a state of finite weights is on disk.
        """
        state = self._opening_state(start)
        learner = _Learner(model, loss)
        optimisers = build_optimisers(model, self.config.optimiser)
        wrapped, *steppers = self.fabric.setup(learner, *optimisers)
        average = WeightAverage(model, self.config.ema)
        if state.tensors:
            load_into(model, state.part("model."), str(self.folder))
            average.load(state.part("average."))
            for index, optimiser in enumerate(optimisers):
                _load_optimiser(optimiser, state.part(f"optimiser{index}."))
        run = _Run(self, state, model, average, optimisers)
        with stop_signals() as stopped, run.progress() as report:
            while state.step < self.config.steps:
                run.learn(wrapped, steppers, source)
                report(state.step, run.note())
                if self._any(stopped.is_set()):
                    run.save()
                    raise InterruptedRunError(
                        f"Stopped at step {state.step:,} of {self.config.steps:,}, which is saved in "
                        f"{self.folder}. Go on with --resume."
                    )
        if run.unsaved:
            run.save()
        load_into(model, average.tensors)
        collapse = collapse_message(state.history)
        return Trained(state.step, state.seconds, state.history, collapse, state.skipped)

    def _opening_state(self, start: str) -> TrainingState:
        if start == "replace":
            if self.fabric.is_global_zero:
                remove_states(self.folder)
            self.fabric.barrier()
        found = read_state(self.folder, self.description) if start != "replace" else None
        if found is not None and start == "new":
            raise OutputExistsError(
                f"{self.folder} has a run of {found.step:,} steps. Go on with it (--resume), or write "
                "elsewhere."
            )
        return TrainingState() if found is None else found

    def _any(self, flag: bool) -> bool:
        """Whether any process says so: all of them have to stop at the same step."""
        if self.config.devices == 1:
            return flag
        return bool(self.fabric.all_reduce(torch.tensor(float(flag)), reduce_op="sum") > 0)


class _Step:
    """What one call of the learner takes and gives. No collection, so that Fabric casts nothing in it."""

    def __init__(self, batch: TaskBatch, step: int, generator: torch.Generator) -> None:
        self.batch, self.step, self.generator = batch, step, generator
        self.terms: LossTerms | None = None


class _Learner(nn.Module):
    """The model with its loss as the forward pass, which is what processes synchronise gradients after."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, step: _Step) -> Tensor:
        step.terms = self.loss(self.model, step.batch, step.step, step.generator)
        return step.terms.loss


class _Run:
    """One sitting at a run: takes steps, keeps the books, saves."""

    def __init__(
        self,
        trainer: Trainer,
        state: TrainingState,
        model: nn.Module,
        average: WeightAverage,
        optimisers: list[torch.optim.Optimizer],
    ) -> None:
        self.trainer, self.config, self.fabric = trainer, trainer.config, trainer.fabric
        self.state, self.model, self.average, self.optimisers = state, model, average, optimisers
        self.collapse = collapse_message(state.history)
        self.clock = self.saved = time.monotonic()
        self.unsaved = False
        self.skips = 0

    def progress(self) -> Any:
        return progress(self.trainer.label, self.config.steps, self.trainer.log, self.state.step, "steps")

    def learn(self, learner: Any, steppers: list[Any], source: TaskSource) -> None:
        """One step."""
        state = self.state
        # Every process has batches of its own, and a step has the same ones in every sitting.
        index = state.step * self.fabric.world_size + self.fabric.global_rank
        rate = self.config.optimiser.rate(state.step, self.config.steps)
        set_rate(self.optimisers, rate)
        work = _Step(
            source.batch(index).to(self.fabric.device),
            state.step,
            step_generator(self.trainer.seed, index, NOISE_STREAM),
        )
        for stepper in steppers:
            stepper.zero_grad()
        loss = learner(work)
        self.fabric.backward(loss)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        loss = self.fabric.all_reduce(loss.detach(), reduce_op="mean")
        numbers, length = _read_numbers(loss, norm, cast(LossTerms, work.terms))
        if math.isfinite(numbers["loss"]) and math.isfinite(length):
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.config.clip, norm)
            for stepper in steppers:
                stepper.step()
            self.average.update(self.model, state.step)
            self.skips = 0
            for name, number in {"lr": rate, **numbers}.items():
                state.pending.setdefault(name, []).append(number)
        else:  # in every process: the loss is the mean over them, and the gradients are
            self._skip(self._what_diverged(numbers, length), rate)
        state.step += 1
        self.unsaved = True
        if state.step % self.config.log_every == 0 or state.step == self.config.steps:
            self._close_row()
        if time.monotonic() - self.saved >= self.trainer.checkpoint_seconds:
            self.save()

    def note(self) -> str:
        """A few words on how it goes."""
        row = self.state.history[-1] if self.state.history else None
        return f"loss {row.values['loss']:.3f}" if row else ""

    def save(self) -> None:
        """Writes the state; only the first process does. Raises `DivergenceError` for weights that are not
        finite.
        """
        weights = [item for item in self.model.state_dict().items() if item[1].is_floating_point()]
        if bad := not_finite(weights):
            raise DivergenceError(
                f"Training diverged by step {self.state.step:,}: weights are not finite: {listed(bad)}. "
                f"{self.trainer.folder} holds the state saved before, if there was one. Start anew with a "
                "lower learning rate or a tighter clip."
            )
        now = time.monotonic()
        self.state.seconds += now - self.clock
        self.clock = self.saved = now
        self.unsaved = False
        if not self.fabric.is_global_zero:
            return
        parts = {"model.": self.model.state_dict(), "average.": self.average.tensors}
        parts |= {f"optimiser{i}.": _moments(optimiser) for i, optimiser in enumerate(self.optimisers)}
        self.state.tensors = {
            prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()
        }
        write_state(self.trainer.folder, self.state, self.trainer.description)

    def _close_row(self) -> None:
        """Averages what was noted since the last row of the history; no row where all steps were skipped."""
        pending = self.state.pending
        if not pending:
            return
        means = {name: math.fsum(values) / len(values) for name, values in pending.items()}
        pending.clear()
        kl = [means.pop(name) for name in list(means) if name.removeprefix("kl").isdigit()]
        self.state.history.append(HistoryRow(self.state.step, means, kl))
        message = collapse_message(self.state.history)
        if message and not self.collapse:
            self._tell(message)
        self.collapse = message

    def _what_diverged(self, numbers: dict[str, float], norm: float) -> str:
        """Which parts of the loss, or else the gradients of which parameters, are NaN or infinite."""
        bad = {name: value for name, value in numbers.items() if not math.isfinite(value)}
        if bad:
            parts = {name: value for name, value in bad.items() if name != "loss"} or bad
            told = ", ".join(f"{name} is {value}" for name, value in parts.items())
            return f"the loss is not finite: {told}"
        gradients = [(name, p.grad) for name, p in self.model.named_parameters() if p.grad is not None]
        names = not_finite(gradients)
        return f"gradients are not finite: {listed(names)}" if names else f"the gradients' norm is {norm}"

    def _skip(self, problem: str, rate: float) -> None:
        """Makes no step, or raises `DivergenceError` with a state on disk and the average in the model."""
        self.skips += 1
        if self.trainer.on_divergence == "skip" and self.skips < _MOST_SKIPS:
            self.state.skipped += 1
            self._tell(f"{problem}. This step is skipped.")
            return
        self.save()
        load_into(self.model, self.average.tensors)
        advice = (
            "or go on without such steps: --resume --on-divergence skip"
            if self.trainer.on_divergence == "stop"
            else f"since {_MOST_SKIPS} steps in a row were so"
        )
        raise DivergenceError(
            f"Training diverged at step {self.state.step:,}: {problem}. The weights before that step are "
            f"kept in {self.trainer.folder}. Start anew with a lower learning rate (it was {rate:.2g}) or a "
            f"tighter clip ({self.config.clip:g}), {advice}."
        )

    def _tell(self, message: str) -> None:
        (self.trainer.log or quiet)(f"{self.trainer.label}, step {self.state.step:,}: {message}")


def _read_numbers(loss: Tensor, norm: Tensor, terms: LossTerms) -> tuple[dict[str, float], float]:
    """What is noted of a step, and the gradients' norm: one read of a GPU for all."""
    kind = accumulator(loss.device)
    levels = [] if terms.kl is None else list(terms.kl.detach().flatten(0, -2).mean(0))
    logged = {"loss": loss, **terms.log} | {f"kl{level}": value for level, value in enumerate(levels)}
    together = torch.stack([value.to(loss.device, kind) for value in (norm, *logged.values())])
    first, *values = cast("list[float]", cast(Any, together).tolist())
    return dict(zip(logged, values, strict=True)), first


def collapse_message(history: list[HistoryRow]) -> str | None:
    """What a `CollapseMonitor` that saw every row of the history says; None where every level lives."""
    rows = [row.kl for row in history if row.kl]
    if not rows:
        return None
    monitor = CollapseMonitor(len(rows[0]), decay=0.9, patience=20)
    for row in rows[-100:]:  # of what came before, the running mean remembers nothing
        monitor.update(torch.tensor([row]))
    return monitor.message()


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = cast("dict[int, dict[str, Tensor]]", optimiser.state_dict()["state"])
    return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
