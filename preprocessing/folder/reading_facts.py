"""How samples became 0..255, and what else reading did to pictures: for the cards, and for whoever should know."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from mdhfl.preprocessing.pool.gather import Listed
from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.raw.scaling import DEPTH, OWN_RANGE, RULE


def reading_facts(inputs: Sequence[Listed], pictures: Collection[Picture]) -> dict[str, dict[str, Any]]:
    """Return per input how its samples became 0..255, and what else reading did, with the number of pictures read."""
    facts = {}
    for one in sorted(inputs, key=lambda one: one.raw_input.origin):
        origin, scaling = one.raw_input.origin, one.raw_input.options.scaling
        facts[origin] = {
            "rule": RULE,
            "window": None if scaling.window is None else list(scaling.window),
            "nan": scaling.nan,
            "read_as": read_as(picture for picture in pictures if picture.candidate.input == origin),
        }
    return facts


def reading_notes(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what a reader should know about an input's depths: several, or none that its files tell."""
    notes = []
    for origin, found in facts.items():
        depths = {said: count for said, count in found["read_as"].items() if said.startswith(DEPTH)}
        if len(depths) > 1:
            listed = ", ".join(f"{said.removeprefix(DEPTH)} {count}" for said, count in depths.items())
            notes.append(
                f"{origin}: pictures of different depths, each scaled by its own ({listed}); if one device took them "
                "all, give its range with --window, for example 0,4095"
            )
        if OWN_RANGE in found["read_as"]:
            notes.append(f"{origin}: {found['read_as'][OWN_RANGE]} pictures of {OWN_RANGE}; give one with --window")
    return notes


def read_as(pictures: Iterable[Picture]) -> dict[str, int]:
    """Count what reading did to pictures."""
    return dict(sorted(Counter(note for picture in pictures for note in picture.notes).items()))
