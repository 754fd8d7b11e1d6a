"""How a field's networks are run: in which precision, compiled or not, and on how many points at a time."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vnp_core.errors import ConfigError
from vnp_nerf.radiance import PACK, Decoded, RadianceModel

Precision = Literal["float32", "bfloat16"]
_CPU_POINTS = 8 * PACK
"""Points, times draws, at a time: their features stay in a processor's cache."""
_GPU_POINTS = 256 * PACK
"""The same where thousands of cores want work: their features are some hundred MiB."""


@dataclass(frozen=True)
class Execution:
    """One way to run the networks. The plain one is the twin of all others.

    `bfloat16` rounds the factors of matrix products to 8 bits, and much of what is between them; densities,
    colours and the sums of rendering stay in float32. `compiled` lets torch.compile fuse the network's
    operations: the first call of a process takes a minute or so, and points come in blocks of one size.
    """

    precision: Precision = "float32"
    compiled: bool = False

    @classmethod
    def named(cls, name: str) -> "Execution":
        """What `name` says, the other way round. Raises `ConfigError` for a name that says no execution."""
        for way in EXECUTIONS:
            if way.name == name:
                return way
        raise ConfigError(f"no execution is called {name!r}: use one of {[way.name for way in EXECUTIONS]}")

    @property
    def name(self) -> str:
        """'float32', 'bfloat16', 'compiled-float32' or 'compiled-bfloat16'."""
        return f"compiled-{self.precision}" if self.compiled else self.precision

    def blocks(self, index: Int[Tensor, "N"], draws: int) -> list[tuple[Int[Tensor, "n"], Int[Tensor, "M"]]]:
        """Cuts numbers of points into blocks, plain and padded; compiled, all are padded to one size."""
        most = _CPU_POINTS if index.device.type == "cpu" else _GPU_POINTS
        size = max(PACK, most // draws // PACK * PACK)
        unit = size if self.compiled else PACK
        return [(part, F.pad(part, (0, -len(part) % unit))) for part in index.split(size) if len(part)]

    def ask(
        self,
        model: RadianceModel,
        decoded: Decoded,
        points: Float[Tensor, "B N 3"],
        directions: Float[Tensor, "B N 3"] | None,
    ) -> tuple[Float[Tensor, "K N"], Float[Tensor, "K N C"]]:
        """`RadianceModel.network_at`, run this way."""
        network_at: Any = _compiled() if self.compiled else RadianceModel.network_at
        with torch.autocast(points.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return network_at(model, decoded, points, directions)


EXECUTIONS = tuple(Execution(p, c) for c in (False, True) for p in ("float32", "bfloat16"))
"""All there are."""


@cache
def _compiled() -> Any:
    return torch.compile(RadianceModel.network_at, dynamic=False)
