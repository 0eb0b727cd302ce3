"""What a site says in the draw of a swarm's leader."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mdhfl.sharing.checks import MessageError, names, record
from mdhfl.sharing.records import Shared
from mdhfl.sharing.signatures import HASH_DIGITS, hexadecimal
from mdhfl.sharing.turns import Commitment, MergeTurn


@dataclass(frozen=True, kw_only=True)
class Lot(Shared, kind="lot"):
    """What a site says in a draw.

    Attributes:
        commitment: asked to commit, what it commits to; None if it is past this round.
        nonce: asked to reveal, its secret number; empty if it does not accept somebody's commitment, see `against`.
        against: members whose commitment it does not accept: another key than the ledger's.
        held: the turn of a merge of this round that it keeps on its disk.
        taken: whether it has learned from that merge: then the merge is decided.
    """

    commitment: Commitment | None = None
    nonce: str = ""
    against: tuple[str, ...] = ()
    held: MergeTurn | None = None
    taken: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "commitment": None if self.commitment is None else asdict(self.commitment),
            "nonce": self.nonce,
            "against": list(self.against),
            "held": None if self.held is None else self.held.to_wire(),
            "taken": self.taken,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Lot":
        """Rebuild a lot. Raises MessageError."""
        values = record(wire, what="lot", fields=cls.sent())
        if not isinstance(values["taken"], bool):
            raise MessageError("lot's taken: expected true or false, got something else")
        commitment, held, nonce = values["commitment"], values["held"], values["nonce"]
        return cls(
            commitment=None if commitment is None else Commitment.from_wire(commitment),
            nonce="" if nonce == "" else hexadecimal(nonce, what="lot's number", digits=HASH_DIGITS),
            against=names(values["against"], what="lot's against"),
            held=None if held is None else MergeTurn.from_wire(held),
            taken=values["taken"],
            **known,
        )
