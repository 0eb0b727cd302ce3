"""What a swarm's leader and members have in common: identity, ledger, the check of a merge turn, the way to peers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.sharing.messages import Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.sharing.turns import MergeTurn
from mdhfl.sharing.weights import Weights
from mdhfl.swarm import openings
from mdhfl.swarm.keys import FILE, load_or_create_key
from mdhfl.swarm.ledger import Ledger
from mdhfl.swarm.peers import Peers
from mdhfl.swarm.shares import Share
from mdhfl.timing import timed

if TYPE_CHECKING:
    from mdhfl.swarm.ckks import PublicContext

LEAST_PLAIN, LEAST_ENCRYPTED = 2, 3  # a leader without the key, one who makes it, and another to hide among


class Membership:
    """One site in one experiment's swarm.

    Attributes:
        key: the site's signing key.
        least: how many sites a merge needs at least; more than half of all in any case.
        refused: members whose commitment this site does not accept.
        peer_bytes: "up" and "down", exchanged with peers since the last answer.
        seconds: by phase, since the last answer.
    """

    def __init__(self, *, site: str, experiment: str, folder: Path, peers: Peers, encrypted: bool) -> None:
        self.site, self.experiment, self.peers, self.encrypted = site, experiment, peers, encrypted
        self.least = LEAST_ENCRYPTED if encrypted else LEAST_PLAIN
        self.ledger_path, self.openings_path = folder / "ledger.jsonl", folder / "draws.json"
        self.kept_path = folder / "merge.npz"
        self.key = load_or_create_key(folder.parent / FILE)
        self.refused: set[str] = set()
        self._read: tuple[int, bytes, Ledger] | None = None
        self.peer_bytes = {"up": 0, "down": 0}
        self.seconds: dict[str, float] = {}

    def ledger(self, own: Weights) -> Ledger:
        """Read this site's copy; verify what was changed since. Raises LedgerError if it was tampered with."""
        newest = own.round - 1  # the merge of a round is entered when the next one is done
        data = self.ledger_path.read_bytes() if self.ledger_path.is_file() else b""
        if self._read is None or self._read[:2] != (newest, data):
            ledger = Ledger.load(self.ledger_path, experiment=self.experiment, newest=newest)
            self._read = newest, data, ledger
        return self._read[2]

    def checked_turn(self, request: Request, own: Weights) -> MergeTurn:
        """Return a request's turn.

        Raises:
            ValueError: it was not drawn, not with this site's number, or is about another model or round.
        """
        turn = request.lesson
        if not isinstance(turn, MergeTurn):
            raise ValueError(f"site {self.site!r}: expected a turn to merge in, got {getattr(turn, 'kind', 'nothing')}")
        member = turn.commitments.get(self.site)
        if member is None:
            raise ValueError(f"site {self.site!r}: is no member of this merge of round {turn.round}")
        if own.round not in (turn.round, turn.round + 1):
            raise ValueError(f"site {self.site!r}: expected its model of round {turn.round}, it has {own.round}'s")
        if (member.layout, member.images) != (own.layout, own.images):
            raise ValueError(f"site {self.site!r}: the turn describes another model or data than this site's")
        if not openings.is_allowed(turn, path=self.openings_path):
            raise ValueError(
                f"site {self.site!r}: has not taken part in this draw of round {turn.round}; a server must not choose "
                "the leader"
            )
        self.ledger(own).check_turn(turn)
        return turn

    def own_share(self, turn: MergeTurn, own: Weights, public: "PublicContext | None") -> Share:
        """Return what this site gives to a merge: encrypted, weighted by its images, if there is a context."""
        if turn.is_alone(self.site):
            return Share()
        if public is None:
            return Share(weights=own)
        group = turn.group(own.layout)
        total = sum(turn.commitments[site].images for site in group)
        with timed(self.seconds, "encrypt"):
            cipher = public.encrypt(own.values * np.float32(own.images / total), addends=len(group))
        return Share(cipher=cipher)

    def send(self, site: str, request: Request, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a peer a message with the server's request in it, and return the reply. Raises PeerError."""
        whole = {**message, "request": request.to_wire()}
        self.peer_bytes["up"] += payload_bytes(whole)
        reply = self.peers.send(site, whole)
        self.peer_bytes["down"] += payload_bytes(reply)
        return reply
