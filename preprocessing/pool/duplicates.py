"""Exact duplicates: images with the same pixels."""

from collections.abc import Sequence

from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.raw.records import Skip


def remove_duplicates(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Skip]]:
    """Keep one of several images with the same pixels, the first; none where their classes contradict each other.

    Returns:
        What is kept, in order, and what is not with reasons.
    """
    twins: dict[str, list[Picture]] = {}
    for picture in pictures:
        twins.setdefault(picture.digest, []).append(picture)
    kept, skips = [], []
    for picture in pictures:
        same = twins[picture.digest]
        if len({other.label for other in same}) > 1:
            others = ", ".join(f"{other.record.key} ({other.record.code})" for other in same if other is not picture)
            reason = f"same pixels as {others}, but another class: which is right is unknown"
            skips.append(Skip(picture.record.key, reason))
        elif picture is same[0]:
            kept.append(picture)
        else:
            skips.append(Skip(picture.record.key, f"duplicate: same pixels as {same[0].record.key}"))
    return kept, skips


def without(pictures: Sequence[Picture], *, seen: Sequence[Picture]) -> tuple[list[Picture], list[Skip]]:
    """The pictures whose pixels are not among those seen, and the others with the reason."""
    owners = {picture.digest: picture.record.key for picture in seen}
    kept = [picture for picture in pictures if picture.digest not in owners]
    skips = [
        Skip(picture.record.key, f"duplicate: same pixels as {owners[picture.digest]}")
        for picture in pictures
        if picture.digest in owners
    ]
    return kept, skips
