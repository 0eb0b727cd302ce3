"""A site's part in a swarm: it draws lots with the others, shares with the leader, leads when drawn, keeps the ledger.

A merge in five steps: the sites commit to secret numbers, and reveal them (`draw.py`); the leader that follows asks
every member for its share, merges within each layout, and sends everybody the merged model with the ledger's new
entries (`leader.py`). Each site keeps what it got on its disk (`kept.py`), takes it over when the next round begins
with this merge, and writes its ledger when that round's state is saved: whoever dies half-way leaves nothing behind
that counts. A member that no merge reached goes on with its own model, says so, and is merged again next round. With
encryption there is a key for each merge, made by the second of the draw (the key holder) and given to all but the
leader.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.sharing.accounts import Cost
from mdhfl.sharing.checks import MessageError, array, count
from mdhfl.sharing.lots import Lot
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.sharing.turns import MergeTurn, Roll
from mdhfl.sharing.weights import Merged, Weights
from mdhfl.swarm.draw import commit, reveal
from mdhfl.swarm.kept import Kept, load_kept, save_kept
from mdhfl.swarm.leader import lead
from mdhfl.swarm.ledger import Entry, Ledger
from mdhfl.swarm.membership import Membership
from mdhfl.swarm.peers import PeerError, Peers
from mdhfl.swarm.shares import Share, ciphertext_from, digest_of
from mdhfl.timing import timed

if TYPE_CHECKING:
    from mdhfl.swarm.ckks import SecretContext


class Swarm(Membership):
    """One site's part in the merges of an experiment's swarm.

    Attributes:
        merged_by: who led the merge that this site's last round began with; empty if none reached it.
    """

    def __init__(self, *, site: str, experiment: str, folder: Path, peers: Peers, encrypted: bool) -> None:
        super().__init__(site=site, experiment=experiment, folder=folder, peers=peers, encrypted=encrypted)
        self._kept = load_kept(self.kept_path, experiment=experiment)
        self._taken: Ledger | None = None
        self._share: Share | None = None
        self._secret: tuple[str, SecretContext] | None = None  # the turn's digest, and its key
        self._out_of = -1  # the round whose merge this site could not lead, or not take part in
        self.merged_by = ""

    def draw(self, request: Request, own: Weights, *, last: Answer | None) -> Lot:
        """Commit to a secret number, or reveal it; say what is decided already.

        Raises:
            ValueError: this draw must not be, see `draw.commit` and `draw.reveal`.
        """
        if request.action == "reveal":
            try:
                return reveal(self, request, own)
            except OSError:  # a full disk: this site is out of the merge, and says so to its peers
                self._out_of = request.round
                raise
        if own.round > request.round:
            return self._past(request.round, last)
        held = self._kept.turn if self._kept is not None and self._kept.turn.round == request.round else None
        return Lot(commitment=commit(self, request, own), held=held, site=self.site, round=request.round)

    def take(self, turn: MergeTurn) -> Merged | None:
        """Return the merged model of a turn; None if there is none for this site. `commit` follows when it is used."""
        self._secret = self._share = self._taken = None
        self.merged_by = ""
        if self._kept is None or self._kept.turn != turn:
            return None
        self._taken = self._kept.ledger
        self.merged_by = turn.leader
        return self._kept.merged

    def commit(self) -> None:
        """Write the ledger of the merge that was taken, once the state that came of it is safe.

        Before, a crash would leave a ledger with a merge that this site has not used, and that must be made again.
        """
        if self._taken is not None:
            self._taken.save(self.ledger_path)
            self._taken = None

    def spent(self, cost: Cost) -> Cost:
        """Return a round's cost with what the merges before it cost, and begin to count anew."""
        seconds = {phase: round(value, 3) for phase, value in self.seconds.items()}
        spent = Cost(
            seconds={**cost.seconds, **seconds},
            peers_up=cost.peers_up + self.peer_bytes["up"],
            peers_down=cost.peers_down + self.peer_bytes["down"],
        )
        self.peer_bytes, self.seconds = {"up": 0, "down": 0}, {}
        return spent

    def lead(self, request: Request, own: Weights) -> None:
        """Merge the models of a turn that this site leads, and keep its own result; see `leader.lead`."""
        self._out_of = request.round
        self._keep(lead(self, request, own))
        self._out_of = -1

    def receive(self, sender: str, message: Mapping[str, Any], request: Request, own: Weights) -> dict[str, Any]:
        """Answer a peer.

        Raises:
            ValueError: the sender has no right to ask this, or what it sent cannot be accepted.
        """
        self.peer_bytes["down"] += payload_bytes(message)
        ask = message["ask"]
        if ask == "present":
            return self._answer_present(request, own)
        turn = self.checked_turn(request, own)
        entitled = turn.key_holder if ask == "take key" else turn.leader
        if sender != entitled:
            raise ValueError(f"site {self.site!r}: expected {ask!r} from {entitled!r}, got it from {sender!r}")
        answers = {
            "share": lambda: self._answer_share(turn, message, own),
            "adopt": lambda: self._answer_adopt(turn, message, own),
            "make keys": lambda: self._make_keys(request, turn),
            "take key": lambda: self._take_key(turn, message),
        }
        if ask not in answers:
            raise ValueError(f"site {self.site!r}: expected one of {', '.join(answers)}, got {ask!r}")
        reply: dict[str, Any] = answers[ask]()
        self.peer_bytes["up"] += payload_bytes(reply)
        return reply

    def _keep(self, kept: Kept) -> None:
        save_kept(self.kept_path, kept)
        self._kept = kept

    def _past(self, number: int, last: Answer | None) -> Lot:
        """Say from which merge of a round this site has learned, if from any."""
        kept, merged_by = self._kept, last.about.merged_by if last is not None and last.about is not None else ""
        if kept is None or kept.turn.round != number or kept.turn.leader != merged_by:
            return Lot(site=self.site, round=number)
        kept.ledger.save(self.ledger_path)  # in case that this site was interrupted before it could
        return Lot(held=kept.turn, taken=True, site=self.site, round=number)

    def _answer_present(self, request: Request, own: Weights) -> dict[str, Any]:
        """Say whether this site could take part in a merge from which the server has left it out."""
        if not isinstance(request.lesson, Roll):
            raise MessageError(f"site {self.site!r}: expected a roll, got something else")
        self.ledger(own)
        number = request.lesson.round
        return {"present": own.round == number and self._out_of != number}

    def _answer_share(self, turn: MergeTurn, message: Mapping[str, Any], own: Weights) -> dict[str, Any]:
        if own.round > turn.round:
            return {"ahead": True}
        ledger, length = self.ledger(own), count(message["length"], what="the leader's ledger's length")
        public = None
        if self.encrypted:
            public = self._secret_of(turn).public
            if public.to_bytes() != message["public"]:
                raise ValueError(
                    f"site {self.site!r}: the leader's context is not the key holder's; nothing was encrypted"
                )
        self._share = self.own_share(turn, own, public)
        return {
            "length": min(len(ledger.entries), length),
            "entries": [entry.to_json() for entry in ledger.entries[length:]],
            **({} if self._share.is_empty else {"result": self._share.to_plain()}),
        }

    def _answer_adopt(self, turn: MergeTurn, message: Mapping[str, Any], own: Weights) -> dict[str, Any]:
        if own.round > turn.round:
            raise ValueError(f"site {self.site!r}: has already finished round {own.round}")
        ledger = self.ledger(own)
        new = [Entry.from_json(entry) for entry in message["entries"]]
        ledger = ledger.extend([entry for entry in new if entry.index >= len(ledger.entries)], newest=turn.round)
        last = ledger.entries[-1] if ledger.entries else None
        if last is None or last.turn != turn:
            raise ValueError(f"site {self.site!r}: expected the ledger to end with this merge, it does not")
        merged = None
        if self._share is not None and not self._share.is_empty:
            if last.shares.get(self.site) != self._share.digest:
                raise ValueError(f"site {self.site!r}: the ledger names another share than the one it sent")
            merged = self._open(message["result"], last, layout=own.layout, own=own)
        reply = {}
        if "for_leader" in message:
            layout = turn.commitments[turn.leader].layout
            reply = {"values": self._open(message["for_leader"], last, layout=layout, own=None).values}
        self._keep(Kept(turn=turn, ledger=ledger, merged=merged))
        return reply

    def _open(self, result: Any, entry: Entry, *, layout: str, own: Weights | None) -> Merged:
        """Check a merged model against the ledger, decrypt it if it is encrypted, and scale it to the mean."""
        turn = entry.turn
        shape = (None,) if own is None else (own.values.size,)
        received: Any = (
            ciphertext_from(result)
            if self.encrypted
            else array(result, what="the merged model", dtypes=(np.float32,), shape=shape)
        )
        if entry.merged.get(layout) != digest_of(received):
            raise ValueError(f"site {self.site!r}: the merged model is not the one that the ledger names")
        if not self.encrypted:
            if not np.isfinite(received).all():
                raise MessageError(f"site {self.site!r}: NaN or infinity in the merged model of {turn.leader!r}")
            return Merged(values=received, layout=layout, round=turn.round)
        if own is not None and received.length != own.values.size:
            raise MessageError(f"site {self.site!r}: expected a sum of {own.values.size} numbers, got another length")
        with timed(self.seconds, "decrypt"):
            values = self._secret_of(turn).decrypt(received, who=f"leader {turn.leader!r}")
        group = turn.group(layout)
        there = sum(turn.commitments[site].images for site in group if site in entry.shares)
        scale = sum(turn.commitments[site].images for site in group) / there
        return Merged(values=(values * scale).astype(np.float32), layout=layout, round=turn.round)

    def _make_keys(self, request: Request, turn: MergeTurn) -> dict[str, Any]:
        from mdhfl.swarm.ckks import SecretContext

        with timed(self.seconds, "encrypt"):
            secret = SecretContext.create()
        self._secret = turn.digest, secret
        for member in sorted(set(turn.commitments) - {self.site, turn.leader}):
            try:
                self.send(member, request, {"ask": "take key", "secret": secret.to_bytes()})
            except PeerError:
                continue  # it cannot share, and the leader will leave it out
        return {"public": secret.public.to_bytes()}

    def _take_key(self, turn: MergeTurn, message: Mapping[str, Any]) -> dict[str, Any]:
        from mdhfl.swarm.ckks import SecretContext

        if self.site == turn.leader:
            raise ValueError(f"site {self.site!r}: leads this merge, and must not have its key")
        self._secret = turn.digest, SecretContext.from_bytes(message["secret"])
        return {}

    def _secret_of(self, turn: MergeTurn) -> "SecretContext":
        if self._secret is None or self._secret[0] != turn.digest:
            raise ValueError(f"site {self.site!r}: has no key for the merge of round {turn.round}")
        return self._secret[1]
