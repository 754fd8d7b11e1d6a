"""Muon over matrices of one shape at a time, which saves most of its many small products and their launches.

The steps are those of `torch.optim.Muon`, which stays the slow twin, and so is what is kept between them:
states of either go on under the other.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import ConfigError
from vnp_core.precision import quick_in_bfloat16

# Exists in every version, but is not declared to type checkers.
_torch = cast(Any, torch)

_RULE = "match_rms_adamw"


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` with all hidden matrices of one shape in one batch of products.

    Takes its arguments, a few aside. Learning rates follow `match_rms_adamw`: .2 sqrt(longer side) times
    `lr`; raises `ConfigError` where another rule is asked for.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        eps: float = 1e-7,
        adjust_lr_fn: str = _RULE,
    ) -> None:
        if adjust_lr_fn != _RULE:
            raise ConfigError(f"StackedMuon's rates follow {_RULE}; given was {adjust_lr_fn!r}.")
        super().__init__(
            params, lr, weight_decay=weight_decay, momentum=momentum, eps=eps, adjust_lr_fn=adjust_lr_fn
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every matrix that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            shapes: defaultdict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for matrix in cast("list[Tensor]", group["params"]):
                if matrix.grad is not None:
                    shapes[tuple(matrix.shape)].append(matrix)
            for matrices in shapes.values():
                self._step_alike(matrices, group)
        return loss

    def _step_alike(self, matrices: list[Tensor], group: Mapping[str, Any]) -> None:
        """One step of matrices of one shape."""
        gradients = [cast(Tensor, matrix.grad) for matrix in matrices]
        momenta = [self._momentum(matrix) for matrix in matrices]
        _torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = _torch._foreach_lerp(gradients, momenta, group["momentum"]) if group["nesterov"] else momenta
        directions = orthogonal_directions(
            torch.stack(list(ahead)), group["ns_coefficients"], group["ns_steps"], group["eps"]
        )
        _torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        rate = 0.2 * max(matrices[0].shape) ** 0.5 * group["lr"]
        _torch._foreach_add_(matrices, directions.to(matrices[0].dtype).unbind(), alpha=-rate)

    def _momentum(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        return state["momentum_buffer"]


def orthogonal_directions(
    matrices: Float[Tensor, "P out in"], coefficients: tuple[float, float, float], steps: int, eps: float
) -> Float[Tensor, "P out in"]:
    """The matrices with their singular values driven to about 1, by Newton and Schulz's iteration.

    In bfloat16 where the device is quick at it, otherwise in float32.
    Each of the `steps` maps a singular value s to a s + b s^3 + c s^5; lengths under `eps` count as `eps`.
    """
    a, b, c = coefficients
    x = matrices.to(torch.bfloat16 if quick_in_bfloat16(matrices.device) else torch.float32)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x  # the smaller of both products
    x = x / x.square().sum((1, 2), keepdim=True, dtype=torch.float32).sqrt().clamp(min=eps).to(x.dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
