"""The two messages by which a public set travels: a site asks for a range of bytes, the server answers with a piece.

The site chooses what it asks for and where it puts it: the server's answer holds bytes, and no name of anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mdhfl.hosting.offer import LARGEST_OFFER, hexadecimal
from mdhfl.sharing.checks import LARGEST_COUNT, MessageError, choice, count
from mdhfl.sharing.protocol import fields_of, stamped

LARGEST_PIECE = 2**20  # bytes: what server and site hold in memory of a set
ABOUT = ("offer", "images")
REFUSALS = ("", "other_set", "unreadable")  # why the server has no piece


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a site asks for.

    Attributes:
        about: "offer", or "images": all files, one behind the other, in the offer's order.
        public_digest: of the public set.
        start: first byte.
        stop: the byte behind the last one that is wanted; the piece may end before it.
    """

    about: str
    public_digest: str
    start: int
    stop: int

    def to_wire(self) -> dict[str, Any]:
        """Return plain values."""
        return stamped({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def from_wire(cls, wire: Any) -> "Question":
        """Rebuild a question. Raises MessageError."""
        values = fields_of(wire, what="question", fields=cls.__dataclass_fields__)
        start = count(values["start"], what="question's start")
        return cls(
            about=choice(values["about"], what="question's about", among=ABOUT),
            public_digest=hexadecimal(values["public_digest"], what="question's public digest", length=64),
            start=start,
            stop=count(values["stop"], what="question's stop", low=start + 1),
        )


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What the server answers.

    Attributes:
        bytes: of the range that was asked for, from its start, at most LARGEST_PIECE.
        total: length of all that the question was about.
        refusal: why there are none: one of REFUSALS.
    """

    bytes: bytes = b""
    total: int = 0
    refusal: str = ""

    def to_wire(self) -> dict[str, Any]:
        """Return plain values and bytes."""
        return stamped({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def from_wire(cls, wire: Any, *, question: Question) -> "Piece":
        """Rebuild the answer to a question. Raises MessageError: among others, more or fewer bytes than asked for."""
        values: Mapping[str, Any] = fields_of(wire, what="piece", fields=cls.__dataclass_fields__)
        refusal = choice(values["refusal"], what="piece's refusal", among=REFUSALS)
        if refusal:
            return cls(refusal=refusal)
        highest = LARGEST_OFFER if question.about == "offer" else LARGEST_COUNT
        total = count(values["total"], what="piece's total", low=question.start + 1, high=highest)
        length = min(question.stop, total, question.start + LARGEST_PIECE) - question.start
        if type(values["bytes"]) is not bytes or len(values["bytes"]) != length:
            raise MessageError(f"piece: expected {length} bytes, got something else")
        return cls(bytes=values["bytes"], total=total)
