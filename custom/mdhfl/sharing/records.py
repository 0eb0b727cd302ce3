"""What stands inside a message: what a site shares, and what it is taught. A new kind of either is one subclass.

A subclass names its kind (`class Prototypes(Shared, kind="prototypes")`); messages, state and results then carry it.
"""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from mdhfl.sharing.checks import MessageError, record, shown

Record = TypeVar("Record", bound="_Record")


class _Record(ABC):
    """A dataclass of plain values and numpy arrays, known on the wire by the name of its kind."""

    kind: ClassVar[str]
    not_sent: ClassVar[tuple[str, ...]] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return the fields as plain values and numpy arrays, without what the message itself says."""
        return {name: getattr(self, name) for name in self.sent()}

    @classmethod
    def from_wire(cls: type[Record], wire: Mapping[str, Any], **known: Any) -> Record:
        """Rebuild a record; `known` is what the message itself says. Raises MessageError."""
        return cls(**record(wire, what=cls.kind, fields=cls.sent()), **known)

    @classmethod
    def sent(cls) -> list[str]:
        """Return the names of the fields that travel."""
        return [field.name for field in fields(cls) if field.name not in cls.not_sent]  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Shared(_Record):
    """What a site shares in its answer.

    Attributes:
        site: who shares it; the answer's.
        round: after which round (0 is the warm-up); the answer's.
    """

    site: str
    round: int

    not_sent: ClassVar[tuple[str, ...]] = ("site", "round")
    kinds: ClassVar[dict[str, type["Shared"]]] = {}

    def __init_subclass__(cls, *, kind: str) -> None:
        cls.kind = kind
        cls.kinds[kind] = cls


@dataclass(frozen=True, kw_only=True)
class Lesson(_Record):
    """What a site is sent to learn from.

    Attributes:
        round: the round whose shares it was made of.
    """

    round: int

    kinds: ClassVar[dict[str, type["Lesson"]]] = {}

    def check(self, *, kind: str, shape: tuple[int, int]) -> None:
        """Refuse a lesson that no honest server sends, before anything is trained on it.

        Args:
            kind: "probabilities" or "logits", of the knowledge that the site itself shares.
            shape: (V * N, C), of that knowledge.

        Raises:
            MessageError: another shape, NaN, infinity, or numbers that nobody's answers can add up to.
        """

    def __init_subclass__(cls, *, kind: str) -> None:
        cls.kind = kind
        cls.kinds[kind] = cls


def tagged(part: Shared | Lesson | None) -> dict[str, Any] | None:
    """Return a record as it stands in a message: its kind and its fields."""
    return None if part is None else {"kind": part.kind, **part.to_wire()}


def untagged(wire: Any, *, kinds: Mapping[str, type[Record]], **known: Any) -> Record | None:
    """Rebuild a record of one of these kinds, None where there is none. Raises MessageError."""
    if wire is None:
        return None
    kind = wire.get("kind") if isinstance(wire, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise MessageError(f"message: expected something of kind {', '.join(sorted(kinds))}, got {shown(kind)}")
    return kinds[kind].from_wire({name: value for name, value in wire.items() if name != "kind"}, **known)
