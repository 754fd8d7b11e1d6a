"""Which views of a scene the model sees, where nobody says it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import ViewCountError
from vnp_nerf.scene import Scene

DEFAULT_CONTEXT = 3
BEGINNINGS = 32
"""Most second points from which a spread of points is sought."""
ROUNDING = 1e-6
"""Share by which one potential must lie below another to be the lower one."""


def choose_context(scene: Scene, indices: tuple[int, ...] | None, count: int | None) -> tuple[int, ...]:
    """The views that the model sees: those given, or `count` of the scene's train views, from all around it.

    The first of them is among those: views that are counted off by their number may all lie on one side.
    Raises `ViewCountError`.
    """
    if indices is not None:
        bad = [index for index in indices if not 0 <= index < len(scene)]
        if bad or not indices:
            raise ViewCountError(
                f"scene {scene.path} has views 0 to {len(scene) - 1}, but the context asks for "
                f"{list(indices)}; give numbers in that range"
            )
        return tuple(indices)
    candidates = scene.views_in("train")
    if count is None:
        count = min(DEFAULT_CONTEXT, len(candidates))
    if not 1 <= count <= len(candidates):
        raise ViewCountError(
            f"scene {scene.path} has {len(candidates)} views to choose a context from, but {count} were "
            f"asked for; ask for 1 to {len(candidates)}"
        )
    directions = F.normalize(scene.model_cameras().positions[list(candidates)].double(), dim=-1)
    return tuple(candidates[place] for place in spread_points(directions, count))


def spread_points(points: Float[Tensor, "N 3"], count: int) -> list[int]:
    """Places of `count` points that keep far from each other, in ascending order, the first point among them.

    They repel each other with a potential of 1 / distance^2. From several second points on, each further one
    is the farthest from those before; then points are exchanged, one at a time, as long as that lowers the
    potential. The best of what comes of all beginnings is taken.
    """
    squares = (points[:, None] - points[None]).square().sum(-1)
    repulsion = 1 / squares.clamp(min=1e-6)  # points that are one repel each other strongly, and no more
    repulsion.fill_diagonal_(0)
    best, lowest = [0], torch.inf
    total = len(points)
    beginnings = sorted({1 + start * (total - 1) // BEGINNINGS for start in range(BEGINNINGS)})
    for second in beginnings if count > 1 else ():
        taken = [0, second]
        while len(taken) < count:
            nearest = squares[:, taken].amin(1)
            nearest[taken] = -1.0  # even where several points are one
            taken.append(int(nearest.argmax()))
        while better := _exchange(repulsion, taken):
            taken = better
        potential = float(repulsion[taken][:, taken].sum())
        if potential < (1 - ROUNDING) * lowest:
            best, lowest = taken, potential
    return sorted(best)


def _exchange(repulsion: Float[Tensor, "N N"], taken: list[int]) -> list[int] | None:
    """The points after the first exchange found that lowers the potential; None where there is none."""
    for place in taken[1:]:
        others = [other for other in taken if other != place]
        forces = repulsion[:, others].sum(1)
        forces[others] = torch.inf
        found = int(forces.argmin())
        if forces[found] < (1 - ROUNDING) * forces[place]:
            return [*others, found]
    return None
