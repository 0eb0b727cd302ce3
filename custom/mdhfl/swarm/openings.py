"""Which draws a site has revealed its number in: one for each set of members, and not many in a round.

Kept on disk, so that nobody can try again and again, with other members or another commitment, until the draw falls on
whom he wants.
"""

import json
from pathlib import Path

from mdhfl.files import read_json, write_json
from mdhfl.sharing.turns import MergeTurn


def allow(turn: MergeTurn, *, path: Path) -> None:
    """Note that a site reveals its number in a draw.

    Args:
        turn: the draw, before or after the numbers are revealed.
        path: the site's own file.

    Raises:
        ValueError: it has revealed its number in another draw of these members, or in too many.
    """
    openings = _openings(path, number=turn.round)
    known = openings.get(_members(turn))
    if known == turn.opening:
        return
    if known is not None:
        raise ValueError(
            f"round {turn.round}: these members have drawn before, with other commitments; there is one draw for a set "
            f"of members. If a site's key or ledger was restored, delete {path} at every site"
        )
    most = len(turn.roll.roster)
    if len(openings) >= most:
        raise ValueError(
            f"round {turn.round}: {most} draws have failed, and there are no more for one round. Mend the sites, "
            f"delete {path} at every site, then resume"
        )
    write_json(path, {"round": turn.round, "openings": {**openings, _members(turn): turn.opening}})


def is_allowed(turn: MergeTurn, *, path: Path) -> bool:
    """Return whether a site has revealed its number in this very draw."""
    return _openings(path, number=turn.round).get(_members(turn)) == turn.opening


def _members(turn: MergeTurn) -> str:
    return json.dumps(turn.roll.sites)


def _openings(path: Path, *, number: int) -> dict[str, str]:
    if not path.exists():
        return {}
    values = read_json(path)
    if not isinstance(values.get("openings"), dict):
        raise ValueError(f"{path}: expected the draws of a round, got something else; delete it")
    return dict(values["openings"]) if values.get("round") == number else {}
