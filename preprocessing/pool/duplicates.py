"""Exact duplicates: pictures with the same pixels, or files with the same bytes."""

from collections.abc import Mapping, Sequence

from mdhfl.preprocessing.pool.candidates import Candidate

NAMED = 4  # pictures in a reason


def duplicate_reasons(candidates: Sequence[Candidate], digests: Mapping[int, str]) -> dict[int, str]:
    """Why some of the candidates are left out: of those with one digest the first is kept.

    Where their classes contradict each other, none is kept.

    Args:
        candidates: in the order that decides which is the first.
        digests: by the candidate's place; those without are not looked at.

    Returns:
        Reason by the candidate's place, ascending.
    """
    twins: dict[str, list[int]] = {}
    for index in sorted(digests):
        twins.setdefault(digests[index], []).append(index)
    reasons = {}
    for same in twins.values():
        if len(same) > 1:
            contradiction = _contradiction([candidates[index] for index in same])
            double = f"duplicate: same pixels as {candidates[same[0]].record.key}"
            left_out = same if contradiction else same[1:]
            reasons.update(dict.fromkeys(left_out, contradiction or double))
    return dict(sorted(reasons.items()))


def _contradiction(same: Sequence[Candidate]) -> str | None:
    """What is said of the same pictures whose classes differ; a few of many are named. Public ones have no class."""
    labelled = [candidate for candidate in same if candidate.label is not None]
    if len({candidate.label for candidate in labelled}) < 2:
        return None
    named = ", ".join(f"{one.record.key} ({one.record.code})" for one in labelled[:NAMED])
    more = f" and {len(labelled) - NAMED} more" if len(labelled) > NAMED else ""
    return f"the same pixels in several classes, which is right is unknown: {named}{more}"
