"""Guards of a training: losses, gradients and weights that are not finite, and fields that show nothing."""

import math
from collections.abc import Mapping

import torch
import torch.distributed as dist
from nerfstudio.engine.optimizers import Optimizers
from torch import Tensor, nn

from vnp_core.errors import DivergenceError
from vnp_core.finiteness import listed, not_finite
from vnp_core.objectives import CollapseMonitor


def check_losses(losses: Mapping[str, Tensor]) -> None:
    """Raises `DivergenceError` where a term of the loss is NaN or infinite, before anything follows from it.

    All processes of a data-parallel training raise it together: one alone would leave the others waiting.
    """
    bad = (~torch.stack([loss.detach().float() for loss in losses.values()]).sum().isfinite()).float()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(bad, dist.ReduceOp.MAX)
    if bool(bad):
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        parts = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        raise DivergenceError(f"the loss is not finite: {', '.join(parts) or 'its sum, or elsewhere'}")


def check_weights(model: nn.Module) -> None:
    """Raises `DivergenceError` naming the weights that are NaN or infinite."""
    named = [(name, value) for name, value in model.state_dict().items() if value.is_floating_point()]
    if bad := not_finite(named):
        raise DivergenceError(f"weights are not finite: {listed(bad)}")


class GuardedOptimizers(Optimizers):
    """nerfstudio's, which make no step from gradients that are NaN or infinite."""

    def guard(self, model: nn.Module) -> None:
        """Says where the parameters' names come from, for the error's text."""
        self._model = model

    def optimizer_scaler_step_some(self, grad_scaler: torch.amp.GradScaler, param_groups: list[str]) -> None:
        """Steps those groups. Raises `DivergenceError`, and changes no weight of any group, instead.

        A scaler that is switched on finds such gradients itself, and expects some while it looks for its
        scale.
        """
        if not grad_scaler.is_enabled():
            gradients = [
                (name, parameter.grad)
                for name, parameter in self._model.named_parameters()
                if parameter.grad is not None
            ]
            if bad := not_finite(gradients):
                raise DivergenceError(f"gradients are not finite: {listed(bad)}")
        super().optimizer_scaler_step_some(grad_scaler, param_groups)


class FieldMonitor:
    """Tells of a field that stays empty, full or of one colour while the pictures are not.

    Running means over about 100 steps, of every `stride`-th; silent before `patience` steps. For models that
    do not put out alpha, an empty field is one whose rays all have the same colour.
    """

    def __init__(self, patience: int = 300, stride: int = 5, decay: float = 0.95) -> None:
        self.patience, self.stride, self.decay = patience, stride, decay
        self.seen = 0
        self._means: dict[str, float] = {}
        self._said: str | None = None

    @torch.no_grad()
    def update(self, outputs: Mapping[str, Tensor], rgba: Tensor) -> str | None:
        """Takes in one step; a sentence when what is wrong has changed, else None.

        outputs: the scene model's training outputs. rgba: [B, R, 4], the rays' true colours.
        """
        if "rgb" not in outputs:
            return None  # a step that renders nothing
        self.seen += 1
        if self.seen % self.stride:
            return None
        signs = {
            "object": float(rgba[..., 3].mean()),
            "colours": float(outputs["rgb"].flatten(0, -2).std(0).mean()),
        }
        if "alpha" in outputs:
            signs["alpha"] = float(outputs["alpha"].mean())
        for name, value in signs.items():
            self._means[name] = self.decay * self._means.get(name, value) + (1 - self.decay) * value
        wrong = self.verdict() if self.seen >= self.patience else None
        if wrong == self._said:
            return None
        self._said = wrong
        return wrong or "the field is no longer collapsed."

    def verdict(self) -> str | None:
        """What is wrong with the field by the running means, or None."""
        share, alpha = self._means["object"], self._means.get("alpha")
        remedy = "Lower the learning rate, or look at the scenes' masks, poses and background."
        if alpha is not None and alpha < 0.02 * share:
            return f"the field is empty: rays see {alpha:.2%} of an object that covers {share:.1%}. {remedy}"
        if alpha is not None and alpha > 0.98 and share < 0.9:
            return f"the field is full: rays see {alpha:.1%} where the object covers {share:.1%}. {remedy}"
        if self._means["colours"] < 0.005 and 0 < share < 1:
            return f"the field is of one colour: every ray looks like its background. {remedy}"
        return None


class LevelMonitor:
    """Tells of levels of the latents that change nothing that is seen, as a `CollapseMonitor` finds them.

    Running means of `vnp_nerf.radiance_training.level_spreads`; silent before `patience` updates.
    """

    def __init__(self, patience: int = 10, threshold: float = 0.02, decay: float = 0.8) -> None:
        self.patience, self.threshold, self.decay = patience, threshold, decay
        self._monitor: CollapseMonitor | None = None
        self._dead: list[int] = []

    def update(self, spreads: Tensor) -> str | None:
        """Takes in the levels' spreads [L]; a sentence when other levels are dead than before, else None."""
        if self._monitor is None:
            self._monitor = CollapseMonitor(len(spreads), self.threshold, self.decay, self.patience)
        self._monitor.update(spreads[None])
        if self._monitor.collapsed == self._dead:
            return None
        self._dead = self._monitor.collapsed
        if not self._dead:
            return "all levels of the latents are alive again."
        named = ", ".join(f"level {level} ({self._monitor.means[level]:.2g})" for level in self._dead)
        return (
            f"dead latents: {named}: draws that differ in it alone spread by less than {self.threshold:.0%} "
            "of the noise. Raise likelihood_weight or train_draws."
        )
