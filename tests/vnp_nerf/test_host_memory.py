"""Freed memory stays with the process."""

import platform
import resource
import subprocess
import sys

import pytest

_FAULTS = """
import ctypes, resource, sys
from vnp_nerf.host_memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 64 * 2**20
def once():
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(how: str) -> int:
    command = [sys.executable, "-c", _FAULTS, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set")
def test_a_buffer_that_was_freed_serves_again_without_a_page_fault():
    pages = 64 * 2**20 // resource.getpagesize()
    assert _page_faults("leave") >= pages  # the default: every round faults anew
    assert _page_faults("keep") < pages / 100
