"""What the operator has decided about sites that stand out: a small file in the folder of an experiment's results.

The server reads it before every lesson, so that a decision holds from the next round on, and after a restart.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from mdhfl.sharing.watch import DECISIONS
from mdhfl.store.sealed import Damaged, exists, read_sealed_json, write_sealed_json

FILE = "decisions.json"


def read_decisions(folder: Path) -> dict[str, str]:
    """Return site -> "trusted" or "aside"; nothing where nothing was decided. Raises Damaged."""
    path = folder / FILE
    if not exists(path):
        return {}
    found = read_sealed_json(path).get("decisions")
    if not isinstance(found, Mapping) or not all(decision in DECISIONS for decision in found.values()):
        raise Damaged(f"{path}: expected decisions among {', '.join(DECISIONS)}, got others; decide again: mdhfl watch")
    return {str(site): str(decision) for site, decision in found.items()}


def decide(
    folder: Path, *, sites: Collection[str], trusted: Collection[str] = (), aside: Collection[str] = ()
) -> dict[str, str]:
    """Add decisions to those that there are, and return all of them.

    Args:
        folder: with the experiment's results.
        sites: the experiment's.
        trusted: sites that count in full again, whatever the watch finds.
        aside: sites whose answers teach nobody.

    Raises:
        ValueError: there is no such site, one is in both, or fewer than two sites would be left to teach.
        StateError: the disk does not take it.
    """
    if unknown := sorted({*trusted, *aside} - set(sites)):
        raise ValueError(f"no site {', '.join(unknown)} in this experiment; there are: {', '.join(sorted(sites))}")
    if both := sorted(set(trusted) & set(aside)):
        raise ValueError(f"{', '.join(both)}: expected one decision a site, got both")
    before = read_decisions(folder)
    now = {**before, **dict.fromkeys(trusted, "trusted"), **dict.fromkeys(aside, "aside")}
    left = len(sites) - sum(decision == "aside" for decision in now.values())
    if left < 2 and aside:
        raise ValueError(f"--aside: expected at least 2 sites that teach, got {left}")
    write_sealed_json(folder / FILE, {"version": 1, "decisions": now})
    return now
