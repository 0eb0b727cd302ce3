"""Counts of images that leave as they are, and bytes by field. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.audit.labels import Distribution, from_confusion, total_variation
from mdhfl.site.left import sums_of

MATRICES = ("confusion", "control.confusion")
BY_CLASS, MISSING, ROUGHLY, IN_ALL = (
    "test images by class",
    "classes that the site lacks",
    "images by class, roughly",
    "training images in all",
)


@dataclass(frozen=True, kw_only=True)
class CountsAudit:
    """What left as a count.

    Attributes:
        told: what of it, in words.
        by_class: whether the number of test images of each class left.
        error: total variation between the shares of those numbers and the training labels', None without them.
        bytes: field -> bytes to the server over all messages, the largest first; without left.jsonl nothing.
        total: bytes in all, to whomever.
    """

    told: tuple[str, ...]
    by_class: bool
    error: float | None
    bytes: Mapping[str, int]
    total: int


def audit_counts(
    rows: Sequence[Mapping[str, Any]], left: Sequence[Mapping[str, Any]], *, truth: Distribution
) -> CountsAudit:
    """List the counts that left a site.

    Args:
        rows: of its rounds, as in results.jsonl.
        left: lines of its left.jsonl; where there are any, they decide what left.
        truth: (C,) shares of the training labels.
    """
    sums = sums_of(left)
    arrays = {each.path for each in sums if each.kind == "array"}
    matrices = bool(arrays & set(MATRICES)) if left else any(_matrix(row) is not None for row in rows)
    about = [row.get("about") or {} for row in rows]
    told = [BY_CLASS] if matrices else []
    told += [MISSING] if any(each.get("missing_classes") for each in about) else []
    told += [ROUGHLY] if "shared.competences" in arrays else []
    told += [IN_ALL] if any(each.get("training_images") for each in about) else []
    known = [counts for row in rows if matrices and (counts := _matrix(row)) is not None]
    shares = from_confusion(known[-1]) if known else None
    return CountsAudit(
        told=tuple(told),
        by_class=matrices,
        error=None if shares is None else total_variation(shares, truth),
        bytes={each.path: each.bytes for each in sums if each.to == "server"},
        total=sum(int(line["bytes"]) for line in left)
        or sum(int((row.get("bytes") or {}).get("up", 0)) for row in rows),
    )


def _matrix(row: Mapping[str, Any]) -> NDArray[np.int64] | None:
    counts = (row.get("test") or {}).get("confusion")
    return None if counts is None else np.asarray(counts, dtype=np.int64)
