"""How many rays are rendered at a time: as many as a share of the free memory holds."""

import os
from pathlib import Path

import torch

STEP = 1024
"""Rays come in multiples of this many; the paper's model pools its latents over so many."""
MOST = 64 * STEP
"""More rays at a time than this bring nothing."""
_SHARE = 4
"""A fourth of what is free: results, pictures and other programs need room too."""
_UNKNOWN = 2**20
"""Bytes a ray of a field that does not say."""
_CONTAINER = Path("/sys/fs/cgroup")


def rays_at_once(field: object, device: torch.device, most: int = MOST) -> int:
    """A multiple of 1,024, at least 1,024; or `most`, if that is less."""
    affordable = free_bytes(device) // _SHARE // getattr(field, "ray_bytes", _UNKNOWN)
    return min(most, max(STEP, affordable // STEP * STEP))


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had: of a GPU, or of the machine and of the container that this runs in."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_machine_bytes(), _container_bytes(_CONTAINER))


def _machine_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    # Elsewhere half of what there is: what is free of it cannot be told in one way.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _container_bytes(folder: Path) -> int:
    """What the limit of a container (cgroup 2) leaves; without one, more than there is."""
    try:
        limit = int((folder / "memory.max").read_text())
        return max(0, limit - int((folder / "memory.current").read_text()))
    except (OSError, ValueError):  # no such files, or a limit of "max"
        return 2**62
