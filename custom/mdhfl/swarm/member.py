"""A site's part in a swarm: it shares with the elected leader, leads when it is elected, and keeps the ledger.

A merge in four steps: the leader asks every member for its share, merges within each layout, appends the merge to the
ledger, and sends everybody the merged model with the ledger's new entries (`swarm_leader.py`). A member keeps what it
got aside, takes it over only when the next round begins with this leader, and writes its ledger when that round's state
is saved: a leader that dies half-way leaves nothing behind. A member that no merge reached goes on with its own model,
says so, and is merged again next round. With encryption there is a key for each merge, made by the leader's runner-up
(the key holder) and given to all but the leader.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.sharing.accounts import Cost
from mdhfl.sharing.messages import Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.sharing.turns import MergeTurn, key_holder_of
from mdhfl.sharing.weights import Merged, Weights
from mdhfl.swarm.leader import Pending, lead
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
        self._pending: Pending | None = None
        self._taken: Ledger | None = None
        self._share: Share | None = None
        self._secrets: dict[tuple[int, int], SecretContext] = {}
        self.merged_by = ""

    def take(self, turn: MergeTurn) -> Merged | None:
        """Return the merged model of a turn; None if there is none for this site. `commit` follows when it is used."""
        pending, self._pending, self._taken = self._pending, None, None
        self._secrets.clear()
        self.merged_by = ""
        if pending is None or pending.turn != turn:
            return None
        self._taken = pending.ledger
        self.merged_by = turn.leader
        return pending.merged

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
        """Merge the models of a turn that this site leads, and keep its own result aside; see `swarm_leader.lead`."""
        self._pending = lead(self, request, own)

    def receive(self, sender: str, message: Mapping[str, Any], request: Request, own: Weights) -> dict[str, Any]:
        """Answer a peer.

        Raises:
            ValueError: the sender has no right to ask this, or what it sent cannot be accepted.
        """
        self.peer_bytes["down"] += payload_bytes(message)
        turn = self.checked_turn(request, own)
        key_holder, ask = key_holder_of(turn, experiment=self.experiment), message["ask"]
        entitled = key_holder if ask == "take key" else turn.leader
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

    def _answer_share(self, turn: MergeTurn, message: Mapping[str, Any], own: Weights) -> dict[str, Any]:
        if own.round > turn.round:
            return {"ahead": True}
        ledger, length = self.ledger(), int(message["length"])
        public = None
        if self.encrypted:
            from mdhfl.swarm.ckks import PublicContext

            public = PublicContext.from_bytes(message["public"])
            if public.digest != self._secret(turn).digest:
                raise ValueError(
                    f"site {self.site!r}: the leader's context is not the key holder's; nothing was encrypted"
                )
        self._share = self.own_share(turn, own, public)
        return {
            "application": self.application(own).to_json(),
            "length": min(len(ledger.entries), length),
            "entries": [entry.to_json() for entry in ledger.entries[length:]],
            **({} if self._share.is_empty else {"result": self._share.to_plain()}),
        }

    def _answer_adopt(self, turn: MergeTurn, message: Mapping[str, Any], own: Weights) -> dict[str, Any]:
        ledger = self.ledger()
        new = [Entry.from_json(entry) for entry in message["entries"]]
        ledger = ledger.extend([entry for entry in new if entry.index >= len(ledger.entries)])
        last = _merge_of(ledger, turn)
        if last is None:
            raise ValueError(f"site {self.site!r}: expected the ledger to end with this merge, it does not")
        merged = None
        if self._share is not None and not self._share.is_empty:
            if last["shares"].get(self.site) != self._share.digest:
                raise ValueError(f"site {self.site!r}: the ledger names another share than the one it sent")
            merged = self._open(turn, message["result"], last, layout=own.layout)
        self._pending = Pending(turn=turn, ledger=ledger, merged=merged)
        if "for_leader" not in message:
            return {}
        leaders = turn.members[turn.leader].layout
        return {"values": self._open(turn, message["for_leader"], last, layout=leaders).values}

    def _open(self, turn: MergeTurn, result: Any, entry: Mapping[str, Any], *, layout: str) -> Merged:
        """Check a merged model against the ledger, decrypt it if it is encrypted, and scale it to the mean."""
        received: Any = ciphertext_from(result) if self.encrypted else np.asarray(result)
        if entry["merged"].get(layout) != digest_of(received):
            raise ValueError(f"site {self.site!r}: the merged model is not the one that the ledger names")
        if not self.encrypted:
            return Merged(values=received, layout=layout, round=turn.round)
        with timed(self.seconds, "decrypt"):
            values = self._secret(turn).decrypt(received, who=f"leader {turn.leader!r}")
        group = turn.group(layout)
        there = sum(turn.members[site].images for site in group if site in entry["shares"])
        scale = sum(turn.members[site].images for site in group) / there
        return Merged(values=(values * scale).astype(np.float32), layout=layout, round=turn.round)

    def _make_keys(self, request: Request, turn: MergeTurn) -> dict[str, Any]:
        from mdhfl.swarm.ckks import SecretContext

        with timed(self.seconds, "encrypt"):
            secret = SecretContext.create()
        self._secrets = {(turn.round, turn.attempt): secret}
        for member in sorted(set(turn.members) - {self.site, turn.leader}):
            try:
                self.send(member, request, {"ask": "take key", "secret": secret.to_bytes()})
            except PeerError:
                continue  # it cannot share, and the leader will leave it out
        return {"public": secret.public.to_bytes()}

    def _take_key(self, turn: MergeTurn, message: Mapping[str, Any]) -> dict[str, Any]:
        from mdhfl.swarm.ckks import SecretContext

        self._secrets = {(turn.round, turn.attempt): SecretContext.from_bytes(message["secret"])}
        return {}

    def _secret(self, turn: MergeTurn) -> "SecretContext":
        try:
            return self._secrets[turn.round, turn.attempt]
        except KeyError:
            raise ValueError(f"site {self.site!r}: has no key for the merge of round {turn.round}") from None


def _merge_of(ledger: Ledger, turn: MergeTurn) -> Mapping[str, Any] | None:
    """Return the content of a ledger's last entry if it is the merge of a turn."""
    last = ledger.entries[-1] if ledger.entries else None
    if last is None or last.kind != "merge" or last.site != turn.leader:
        return None
    return last.content if (last.content["round"], last.content["attempt"]) == (turn.round, turn.attempt) else None
