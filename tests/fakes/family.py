"""What a command and all processes below it take together."""

import subprocess
import sys
import time
from pathlib import Path

CODE = "import sys; from mdhfl.commands.prepare import prepare_command; prepare_command(sys.argv[1:])"


def peak_of_family(raw: Path, out: Path, *, workers: int, source: str = "medmnist", seconds: float = 300) -> int:
    """Prepare a federation in a process of its own.

    Returns:
        MB that all its processes take together at most, what they share counted once.
    """
    arguments = [source, "--raw", raw, "--out", out, "--sites", "2", "--minimum", "2", "--image-size", "16"]
    command = [sys.executable, "-c", CODE, *map(str, arguments), "--workers", str(workers)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"OMP_NUM_THREADS": "1"}
    ) as process:
        peak, end = 0, time.monotonic() + seconds
        while process.poll() is None:
            peak = max(peak, sum(_taken(pid) for pid in _family(process.pid)))
            if time.monotonic() > end:
                process.kill()
            time.sleep(0.02)
        said = process.stdout.read().decode() if process.stdout else ""
    assert process.returncode == 0, said
    return peak >> 10


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _taken(pid: int) -> int:
    """KB of a process; what several share is divided among them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
