"""What a source understood of the data it was given, for people: shown before anything is written, and in the cards.

A source says what it took its data to be by `understood()` after listing, and may say more of a picture by `traits`,
after reading it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that was understood, for example "columns" and "file = image_id, class = dx"."""

    what: str
    found: str


@runtime_checkable
class TellsTraits(Protocol):
    """An opened source that says what the picture was that it read last.

    Attributes:
        traits: kind of trait to its value, for example "file" to "TIFF, 16 bits grey". Values are counted over all
            pictures, so there should be few.
    """

    traits: Mapping[str, str]


def traits_of(source: object) -> dict[str, str]:
    """What an opened source says of the picture that it read last; nothing where it says nothing."""
    return dict(source.traits) if isinstance(source, TellsTraits) else {}
