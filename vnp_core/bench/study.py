"""A benchmark's work on disk: systems trained or loaded, then scored block by block; any part can go on."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from vnp_core.autoregressive import autoregressive_score
from vnp_core.bench.ceilings import ceiling_scores
from vnp_core.bench.families import Family, HeldOut
from vnp_core.bench.progress import Log
from vnp_core.bench.score_store import blockwise
from vnp_core.bench.scoring import TaskScores, score_tasks
from vnp_core.bench.systems import System, describe, load_system, save_system
from vnp_core.bench.trainer import OnDivergence, Start, Trainer, TrainerConfig
from vnp_core.bench.training_state import HistoryRow
from vnp_core.checkpoints import checkpoint_paths, load_into
from vnp_core.errors import CheckpointError
from vnp_core.model import Process
from vnp_core.observations import PointSet
from vnp_core.process_objectives import LossTerms, process_loss
from vnp_core.results import hardware_name
from vnp_core.tasks.gaussian_processes import GaussianProcessBatch
from vnp_core.tasks.task import TaskBatch, as_grids, step_generator

BLOCK = 50
"""Batches that are scored together, and kept on disk together."""

CONTEXT_BLOCKS = 8
"""Blocks of each test whose contexts are scored too, which more than doubles the work."""


@dataclass(frozen=True)
class Entry:
    """A trained system."""

    system: System
    family: str
    """What it was trained on."""
    model: nn.Module
    sha256: str
    """Of its weights."""
    metadata: dict[str, Any]
    """Its card."""
    history: list[HistoryRow]
    """How training went, as its card tells; empty where it tells nothing."""

    @property
    def process(self) -> Process:
        """The model as what predicts."""
        return cast(Process, self.model)

    def with_draws(self, draws: int) -> "Entry":
        """The same, scored with so many draws where it has latents."""
        if self.system.draws == 1:
            return self
        return replace(self, system=replace(self.system, draws=draws))


class Study:
    """Trains, loads and scores systems; everything it makes lies under `folder`."""

    def __init__(
        self,
        folder: Path,
        trainer: TrainerConfig,
        fabric: Any,
        *,
        seed: int,
        start: Start,
        initial: Path | None = None,
        half: bool = False,
        on_divergence: OnDivergence = "stop",
        log: Log | None = None,
    ) -> None:
        """Training begins from the weights in the folder `initial`, where one is given. `half` rounds weights
        to bfloat16 before they are scored, so that small files score alike.
        """
        self.folder, self.trainer, self.fabric = folder, trainer, fabric
        self.initial = initial
        self.seed, self.half, self.log = seed, half, log
        self.start: Start = start
        self.on_divergence: OnDivergence = on_divergence
        self.device: torch.device = fabric.device
        self._scored: dict[str, TaskScores] = {}

    def train(self, system: System, family: Family) -> Entry:
        """Trains a system, or goes on where it stopped. What is scored is what its file of weights holds."""
        system = system.sized(family.train.x_dim, family.train.y_dim)
        model = system.build(self.seed)
        name = weights_name(system.name, family.name)
        began = {} if self.initial is None else {"began_from": self._begin_from(self.initial / name, model)}

        def loss(model: Any, batch: TaskBatch, step: int, generator: torch.Generator) -> LossTerms:
            return process_loss(model, batch, system.objective, step, generator)

        trainer = Trainer(
            replace(self.trainer, optimiser=system.optimiser),
            self.folder / "runs" / name,
            seed=self.seed,
            described={"system": describe(system), "tasks": family.described, **began},
            fabric=self.fabric,
            on_divergence=self.on_divergence,
            log=self.log,
        )
        source = as_grids(family.train) if system.reads_grids else family.train
        trained = trainer.fit(model, source, loss, self.start)
        card = {
            "trained_on": family.name,
            "tasks": family.described,
            "steps": trained.steps,
            **began,
            "hours": round(trained.seconds / 3600, 3),
            "hardware": hardware_name(self.device),
            "torch": str(torch.__version__),
            "seed": self.seed,
            "collapse": trained.collapse,
            "skipped": trained.skipped,
            "history": [row.brief() for row in trained.history],
        }
        path = self.folder / "weights" / name
        if self.fabric.is_global_zero:
            save_system(path, system, model, card, half=self.half)
        self.fabric.barrier()
        return self.load(path)

    def _begin_from(self, path: Path, model: nn.Module) -> dict[str, Any]:
        """Gives the model the weights of a file; what a card says of them. Raises `CheckpointError`."""
        entry = self.load(path)
        load_into(model, entry.model.state_dict(), str(path))
        kept = ("trained_on", "steps", "hours", "hardware", "began_from")
        before = {key: entry.metadata[key] for key in kept if key in entry.metadata}
        return {"sha256": entry.sha256, "sigma_floor": entry.system.sigma_floor, **before}

    def load(self, path: Path) -> Entry:
        """A system from its file of weights."""
        system, model, metadata = load_system(path)
        if "trained_on" not in metadata:
            raise CheckpointError(f"{path} does not say what it was trained on: no weights of a benchmark.")
        digest = hashlib.sha256(checkpoint_paths(path)[0].read_bytes()).hexdigest()
        try:
            history = [HistoryRow(*row) for row in metadata.get("history", [])]
        except TypeError as error:
            raise CheckpointError(f"The history in the card of {path} is none: {error}.") from error
        return Entry(system, metadata["trained_on"], model.to(self.device), digest, metadata, history)

    def scores(self, entry: Entry, test: HeldOut, draws: int) -> TaskScores:
        """Every score of every task of a test."""

        def compute(batches: Sequence[TaskBatch], block: int) -> TaskScores:
            seed = int(step_generator(self.seed, block, draws).initial_seed())
            with_context = block < CONTEXT_BLOCKS
            return score_tasks(entry.process, batches, draws, seed, context=with_context, step=test.step)

        described = {"weights": entry.sha256, "draws": draws, "seed": self.seed}
        if entry.system.reads_grids:
            test = replace(test, source=as_grids(test.source))
        return self.by_blocks(f"{entry.system.name}-on-{test.task}", test, described, compute)

    def autoregressive(self, entry: Entry, test: HeldOut, draws: int) -> TaskScores:
        """`ll_joint` of every task of a test, one target after another."""

        def compute(batches: Sequence[TaskBatch], block: int) -> TaskScores:
            generator = step_generator(self.seed, block, draws)
            with torch.inference_mode():
                found = [
                    autoregressive_score(
                        entry.process, cast(PointSet, batch.context), batch.targets, draws, generator
                    )
                    for batch in batches
                ]
            return {"ll_joint": torch.cat(found).cpu()}

        described = {"weights": entry.sha256, "draws": draws, "seed": self.seed}
        name = f"{entry.system.name}-autoregressive-on-{test.task}"
        return self.by_blocks(name, test, described, compute, size=8)

    def ceiling(self, name: str, test: HeldOut) -> TaskScores:
        """The scores of an exact Gaussian process on a test of one."""
        process = test.process
        assert process is not None, f"{test.task} comes from no Gaussian process"

        def compute(batches: Sequence[TaskBatch], _block: int) -> TaskScores:
            return ceiling_scores(name, cast("Sequence[GaussianProcessBatch]", batches), process)

        return self.by_blocks(f"{name}-on-{test.task}", test, {}, compute)

    def by_blocks(
        self,
        name: str,
        test: HeldOut,
        described: Mapping[str, Any],
        compute: Callable[[Sequence[TaskBatch], int], TaskScores],
        size: int = BLOCK,
    ) -> dict[str, Tensor]:
        """What `compute` finds of every task of a test, so many batches at once; kept on disk under `name`.

        `described` says what else the numbers depend on. Batches come on the study's device.
        """
        told = {"seed": self.seed, "tasks": test.described, "task": test.task, "batches": test.batches}
        described = {**described, **told}

        def block(index: int) -> TaskScores:
            steps = range(index * size, min((index + 1) * size, test.batches))
            return compute([test.source.batch(step).to(self.device) for step in steps], index)

        digest = hashlib.sha256(json.dumps([name, described], sort_keys=True).encode()).hexdigest()[:12]
        if digest not in self._scored:  # families share tests
            self._scored[digest] = blockwise(
                block,
                -(-test.batches // size),
                self.folder / "scores" / f"{name}-{digest}",
                described,
                resume=self.start == "resume",
                label=name,
                log=self.log,
            )
        return self._scored[digest]


def weights_name(system: str, family: str) -> str:
    """What the weights of a system that was trained on a family are called."""
    return f"{system}-{family}"
