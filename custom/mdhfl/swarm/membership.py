"""What a swarm's leader and members have in common: identity, ledger, the check of a merge turn, the way to peers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.sharing.messages import Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.sharing.turns import MergeTurn, check_turn
from mdhfl.sharing.weights import Weights
from mdhfl.swarm.ledger import Application, Ledger, apply_for_membership, load_or_create_key
from mdhfl.swarm.peers import Peers
from mdhfl.swarm.shares import Share
from mdhfl.timing import timed

if TYPE_CHECKING:
    from mdhfl.swarm.ckks import PublicContext


class Membership:
    """One site in one experiment's swarm.

    Attributes:
        key: the site's signing key.
        peer_bytes: "up" and "down", exchanged with peers since the last answer.
        seconds: by phase, since the last answer.
    """

    def __init__(self, *, site: str, experiment: str, folder: Path, peers: Peers, encrypted: bool) -> None:
        self.site, self.experiment, self.peers, self.encrypted = site, experiment, peers, encrypted
        self.ledger_path = folder / "ledger.jsonl"
        self.key = load_or_create_key(folder.parent / "ledger.key")
        self.peer_bytes = {"up": 0, "down": 0}
        self.seconds: dict[str, float] = {}

    def ledger(self) -> Ledger:
        """Read this site's copy. Raises LedgerError if it was tampered with."""
        return Ledger.load(self.ledger_path, experiment=self.experiment)

    def checked_turn(self, request: Request, own: Weights) -> MergeTurn:
        """Return a request's turn. Raises ValueError: another leader than the elected one, another model or round."""
        turn = request.lesson
        if not isinstance(turn, MergeTurn):
            raise ValueError(f"site {self.site!r}: expected a turn to merge in, got {type(turn).__name__}")
        check_turn(turn, experiment=self.experiment, site=self.site)
        member = turn.members.get(self.site)
        if member is not None and (member.layout, member.images) != (own.layout, own.images):
            raise ValueError(f"site {self.site!r}: the turn describes another model or data than this site's")
        if own.round not in (turn.round, turn.round + 1):
            raise ValueError(f"site {self.site!r}: expected its model of round {turn.round}, it has {own.round}'s")
        return turn

    def own_share(self, turn: MergeTurn, own: Weights, public: "PublicContext | None") -> Share:
        """Return what this site gives to a merge: encrypted, weighted by its images, if there is a context."""
        if turn.is_alone(self.site):
            return Share()
        if public is None:
            return Share(weights=own)
        group = turn.group(own.layout)
        total = sum(turn.members[site].images for site in group)
        with timed(self.seconds, "encrypt"):
            cipher = public.encrypt(own.values * np.float32(own.images / total), addends=len(group))
        return Share(cipher=cipher)

    def application(self, own: Weights) -> Application:
        """Return this site's signed wish to be admitted."""
        return apply_for_membership(
            experiment=self.experiment, site=self.site, layout=own.layout, architecture=own.bundle, key=self.key
        )

    def send(self, site: str, request: Request, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a peer a message with the server's request in it, and return the reply. Raises PeerError."""
        whole = {**message, "request": request.to_wire()}
        self.peer_bytes["up"] += payload_bytes(whole)
        reply = self.peers.send(site, whole)
        self.peer_bytes["down"] += payload_bytes(reply)
        return reply
