"""Exact duplicates: images with the same pixels."""

from collections.abc import Sequence

from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.raw.records import Skip

NAMED = 4  # pictures in a reason


def remove_duplicates(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Skip]]:
    """Keep one of several images with the same pixels, the first; none where their classes contradict each other.

    Returns:
        What is kept, in order, and what is not with reasons.
    """
    twins: dict[str, list[Picture]] = {}
    for picture in pictures:
        twins.setdefault(picture.digest, []).append(picture)
    reasons = {digest: _contradiction(same) for digest, same in twins.items()}
    kept, skips = [], []
    for picture in pictures:
        first, reason = twins[picture.digest][0], reasons[picture.digest]
        if reason is not None:
            skips.append(Skip(picture.record.key, reason))
        elif picture is first:
            kept.append(picture)
        else:
            skips.append(Skip(picture.record.key, f"duplicate: same pixels as {first.record.key}"))
    return kept, skips


def _contradiction(same: Sequence[Picture]) -> str | None:
    """What is said of pictures with the same pixels whose classes differ; a few of many are named."""
    if len({picture.label for picture in same}) == 1:
        return None
    named = ", ".join(f"{picture.record.key} ({picture.record.code})" for picture in same[:NAMED])
    more = f" and {len(same) - NAMED} more" if len(same) > NAMED else ""
    return f"the same pixels in several classes, which is right is unknown: {named}{more}"


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
