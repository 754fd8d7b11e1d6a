"""The machine: processor, graphics card, threads, memory and disk."""

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vnp_nerf.doctor.findings import Finding

_GIB = 2**30
_LEAST_MEMORY = 1.5 * _GIB
"""Inference with the shipped weights takes about one GiB, most of it torch itself."""
_LEAST_DISK = 2 * _GIB
"""A run of training with its checkpoints fits."""


def device() -> Iterator[Finding]:
    """Where torch computes, and that it does."""
    import torch

    if torch.cuda.is_available():
        ones = torch.ones(64, 64, device="cuda")
        right = float((ones @ ones).sum()) == 64**3
        free, total = torch.cuda.mem_get_info()
        found = f"{torch.cuda.get_device_name()}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
        if right:
            yield Finding("device", "ok", found)
        else:
            yield Finding("device", "wrong", f"{found}; it adds wrongly", "export CUDA_VISIBLE_DEVICES=")
    elif Path("/dev/nvidia0").exists():
        yield Finding(
            "device",
            "note",
            f"CPU; an NVIDIA card is there, and torch {torch.__version__} does not see it",
            "see whether nvidia-smi runs; if it does, install a torch built for its CUDA version",
        )
    else:
        yield Finding("device", "ok", "CPU, no GPU: inference takes seconds, training hours")


def bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> Iterator[Finding]:
    """Whether the processor multiplies in bfloat16, and in tiles (AMX)."""
    import torch

    from vnp_core.precision import processor_flags, quick_in_bfloat16

    flags = processor_flags(cpuinfo)
    if torch.cuda.is_available():
        if quick_in_bfloat16("cuda"):
            yield Finding("bf16 and AMX", "ok", "bfloat16 in the GPU's hardware")
            return
        flags = frozenset()
    elif flags is None:
        yield Finding("bf16 and AMX", "note", "this system does not say what its processor can do")
        return
    if {"amx_tile", "amx_bf16"} <= flags:
        yield Finding("bf16 and AMX", "ok", "bfloat16 in hardware, AMX tiles")
    elif flags & {"avx512_bf16", "bf16"}:
        yield Finding("bf16 and AMX", "ok", "bfloat16 in hardware, no AMX")
    else:
        yield Finding("bf16 and AMX", "note", "no bfloat16 in hardware: training computes in float32")


def threads(cgroup: Path = Path("/sys/fs/cgroup"), load: float | None = None) -> Iterator[Finding]:
    """How many threads torch takes, beside the cores that this process may use.

    load: how many programs wanted a core in the last minute, in place of asking.
    """
    import torch

    load = os.getloadavg()[0] if load is None else load
    passive = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    cores, taken = usable_cores(cgroup), torch.get_num_threads()
    found = f"torch takes {taken}, of {cores} core{'s' * (cores > 1)} that may be used"
    if taken > cores:
        found = f"{found}: they wait for each other"
        yield Finding("threads", "note", found, f"export OMP_NUM_THREADS={cores}")
    elif taken > 1 and not passive and load > cores:
        found = f"{found}; other programs keep them busy (load {load:.1f}), and threads wait for each other"
        yield Finding("threads", "note", found, "export OMP_WAIT_POLICY=PASSIVE")
    else:
        yield Finding("threads", "ok", found)


def usable_cores(cgroup: Path) -> int:
    """Cores that the system and the container's quota (cgroup 2) leave to this process, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or a quota of "max"
        return cores


def memory(free: int | None = None) -> Iterator[Finding]:
    """Main memory that can still be had. free: bytes, in place of asking."""
    if free is None:
        import torch

        from vnp_nerf.memory_budget import free_bytes

        free = free_bytes(torch.device("cpu"))
    found = f"{free / _GIB:.1f} GiB free"
    if free < _LEAST_MEMORY:
        yield Finding(
            "memory",
            "wrong",
            f"{found}; inference takes about {_LEAST_MEMORY / _GIB:g}",
            "close other programs, or give the container more",
        )
    else:
        yield Finding("memory", "ok", found)


def disk(folder: Path | None = None, free: int | None = None) -> Iterator[Finding]:
    """Room where outputs go, beside the folder that one is in. free: bytes, in place of asking."""
    folder = Path.cwd() if folder is None else folder
    free = shutil.disk_usage(folder).free if free is None else free
    found = f"{free / _GIB:.1f} GiB free in {folder}"
    if not os.access(folder, os.W_OK):
        yield Finding("disk", "note", f"{folder} cannot be written to", "cd to a folder of yours")
    elif free < _LEAST_DISK:
        yield Finding(
            "disk",
            "wrong",
            f"{found}; a run takes up to {_LEAST_DISK / _GIB:g}",
            "make room, or write elsewhere with --output-dir",
        )
    else:
        yield Finding("disk", "ok", found)
