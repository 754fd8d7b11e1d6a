"""How the C library keeps memory that torch has freed, on the CPU."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h
_PAD_BYTES = 256 * 2**20


def keep_freed_memory() -> bool:
    """Lets this process keep freed buffers for its next ones; says whether that could be arranged.

    By default glibc hands large buffers back to the system at every free and gets fresh, zeroed pages at the
    next step, which takes a good part of a training step. The process' memory stays at its peak
    instead. A GPU's memory is not concerned; other C libraries than glibc are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _PAD_BYTES))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)
