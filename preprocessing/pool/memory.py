"""A bound on what a process may take, kept by the kernel: the last line against files that no check foresees."""

import sys
from pathlib import Path

STATM = Path("/proc/self/statm")  # its sixth number: pages that this process may write to


def limit_memory(growth: int) -> None:
    """Let this process take at most `growth` bytes more than now; beyond, allocation fails. Linux only, else nothing.

    What counts is memory that it alone may write to, as RLIMIT_DATA does since Linux 4.7.
    """
    if sys.platform != "linux" or not STATM.is_file():
        return
    import resource  # not on every system

    taken = int(STATM.read_text().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = taken + growth
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
