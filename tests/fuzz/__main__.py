"""Run cases and print a table of what came of them; exit code 1 if anything came that must not."""

import argparse
import logging
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import torch


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="cases to run (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default %(default)s)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    torch.set_num_threads(1)

    from fuzz.cases import case

    for number in range(500):  # everything is loaded
        case(options.seed + 1, number)
    before, began = peak_megabytes(), time.monotonic()
    outcomes: dict[str, Counter[str]] = {}
    faults = 0
    number, end = options.first, options.first + options.count
    while number < end:
        try:
            kind, outcome = case(options.seed, number)
        except KeyboardInterrupt:
            break
        except Exception:
            kind, outcome = "all", "FAULT"
            faults += 1
            if faults <= 10:
                print(f"case {number} of seed {options.seed}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        outcomes.setdefault(kind, Counter())[outcome] += 1
        number += 1
        if (number - options.first) % 50_000 == 0:
            print(f"{number - options.first} cases, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(outcomes))
    after = peak_megabytes()
    print(
        f"\n{number - options.first} cases from {options.first}, seed {options.seed}: {faults} faults, "
        f"{time.monotonic() - began:.0f} s; peak memory {before} MB before, {after} MB after"
    )
    if number < end:
        print(f"stopped; go on with --seed {options.seed} --first {number} --count {end - number}")
    return int(faults > 0 or after > 2 * before or number < end)


def table(outcomes: dict[str, "Counter[str]"]) -> str:
    """Return the outcomes as a table in Markdown: a row a kind of message."""
    columns = sorted({outcome for counts in outcomes.values() for outcome in counts})
    lines = ["| method, message | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    total: Counter[str] = Counter()
    for kind, counts in sorted(outcomes.items()):
        total += counts
        lines.append(f"| {kind} | " + " | ".join(str(counts[column]) for column in columns) + " |")
    return "\n".join([*lines, "| all | " + " | ".join(str(total[column]) for column in columns) + " |"])


def peak_megabytes() -> int:
    """Return the most memory that this process has held so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


if __name__ == "__main__":
    sys.exit(main())
