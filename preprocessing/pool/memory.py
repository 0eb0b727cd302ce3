"""A bound on what a process may take, kept by the kernel: the last line against files that no check foresees."""

import sys
from pathlib import Path

STATM = Path("/proc/self/statm")  # its first number: pages that this process has mapped


def limit_memory(growth: int) -> None:
    """Let this process map at most `growth` bytes more than now; beyond, allocation fails. Linux only, else nothing."""
    if sys.platform != "linux" or not STATM.is_file():
        return
    import resource  # not on every system

    mapped = int(STATM.read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = mapped + growth
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
