"""Whether a device is quick at matrix products in bfloat16."""

from functools import cache
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
_IN_HARDWARE = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls it, the last on ARM."""


def quick_in_bfloat16(device: torch.device | str) -> bool:
    """Whether the device multiplies in bfloat16. Where it is emulated, products take up to 20 times as long
    as in float32.

    Systems that do not say what their processor can do count as those that can't.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(_IN_HARDWARE & (processor_flags(CPUINFO) or frozenset()))


@cache
def processor_flags(cpuinfo: Path) -> frozenset[str] | None:
    """What the first processor says that it can do; None on systems without such a file."""
    if not cpuinfo.is_file():
        return None
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()
