"""The proof that no image lies on two sides: the same pixels, the same group, or nearly identical pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhfl.preprocessing.pool.likeness import near_pairs
from mdhfl.preprocessing.raw.records import PARTS

MOST = 20  # problems of a kind that are listed one by one

Side = tuple[str, str]  # a folder below the federation's, and a part
Sides = Mapping[Side, Sequence[Mapping[str, Any]]]  # items as in datalists


def sides_of(home: str, datalist: Mapping[str, Any]) -> dict[Side, Sequence[Mapping[str, Any]]]:
    """The sides that a datalist holds: `public`, or parts."""
    return {(home, part): datalist[part] for part in ("public", *PARTS) if part in datalist}


def not_apart(sides: Sides, *, likeness: Mapping[Path, bytes], folder: Path, within: int) -> list[str]:
    """Images that lie on two sides.

    Args:
        sides: every side of a federation, or of a site.
        likeness: hashes by the image's path; nothing where pixels were not read.
        folder: that the sides' folders are below.
        within: bits in which nearly identical pictures differ at most; 0: only equal digests and groups are looked for.
    """
    items = [(side, item) for side, mine in sides.items() for item in mine]
    found = []
    for what, key in (("pixels", "digest"), ("group", "group")):
        first: dict[str, tuple[Side, Mapping[str, Any]]] = {}
        for side, item in items:
            if key not in item:
                continue
            other, known = first.setdefault(item[key], (side, item))
            if known is not item and (other != side or key == "digest"):
                found.append(_problem(f"the same {what}", (other, known), (side, item), folder=folder))
    hashed = [(side, item) for side, item in items if folder / side[0] / item["image"] in likeness]
    if within and hashed:
        likenesses = [likeness[folder / side[0] / item["image"]] for side, item in hashed]
        for left, right in near_pairs(likenesses, within=within).tolist():
            if hashed[left][0] != hashed[right][0] and hashed[left][1]["digest"] != hashed[right][1]["digest"]:
                found.append(_problem("nearly identical pixels", hashed[left], hashed[right], folder=folder))
    return found if len(found) <= MOST else [*found[:MOST], f"{folder}: and {len(found) - MOST} more of this kind"]


def _problem(
    what: str, one: tuple[Side, Mapping[str, Any]], other: tuple[Side, Mapping[str, Any]], *, folder: Path
) -> str:
    (home, part), item = one
    (other_home, other_part), twin = other
    return (
        f"{folder / home / item['image']} ({part}): expected to lie on one side only, but {other_home}/{twin['image']} "
        f"({other_part}) has {what}"
    )
