"""The leader's side of a swarm's merge: ask every member for its share, merge, record, send the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.sharing.messages import Request
from mdhfl.sharing.turns import MergeTurn, key_holder_of
from mdhfl.sharing.weights import Merged, Weights, check_length, check_weights
from mdhfl.swarm.ledger import Application, Entry, Ledger
from mdhfl.swarm.membership import Membership
from mdhfl.swarm.peers import PeerError
from mdhfl.swarm.shares import Share, ciphertext_from, digest_of, merge_shares, to_plain
from mdhfl.timing import timed

if TYPE_CHECKING:
    from mdhfl.swarm.ckks import Ciphertext, PublicContext

Reply = Mapping[str, Any]  # a member's answer to "share"


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A merge that was made or received and checked, and is not yet committed."""

    turn: MergeTurn
    ledger: Ledger
    merged: Merged | None


class Ahead(RuntimeError):
    """A member is a round ahead: the server was restarted after it had learned."""


def lead(swarm: Membership, request: Request, own: Weights) -> Pending | None:
    """Merge the models of a turn that a site leads.

    Args:
        swarm: the leader's part in the swarm.
        request: the server's, with the turn.
        own: the leader's model.

    Returns:
        What the leader itself keeps aside; None if the server was restarted after this merge was done.

    Raises:
        ValueError: this site was not elected, or too few members sent what can be merged.
        PeerError: the key holder could not be reached.
        RuntimeError: the merge was done before, and a member has learned from it.
    """
    turn = swarm.checked_turn(request, own)
    if turn.leader != swarm.site:
        raise ValueError(f"site {swarm.site!r} was asked to merge in the turn of {turn.leader!r}")
    if own.round > turn.round:
        return None  # the server was restarted: this merge is done, and this site has learned from it
    return _Merge(swarm=swarm, request=request, turn=turn, own=own).make()


@dataclass(frozen=True, kw_only=True)
class _Merge:
    """One merge, as its leader makes it."""

    swarm: Membership
    request: Request
    turn: MergeTurn
    own: Weights

    def make(self) -> Pending:
        swarm = self.swarm
        public = self._public_context() if swarm.encrypted else None
        ledger, shares, replies = self._collect(public)
        with timed(swarm.seconds, "merge"):
            merged = merge_shares(self.turn, shares, public=public)
        ledger = self._record(ledger, shares=shares, replies=replies, merged=merged)
        return Pending(turn=self.turn, ledger=ledger, merged=self._spread(ledger, replies=replies, merged=merged))

    @property
    def _key_holder(self) -> str:
        return key_holder_of(self.turn, experiment=self.swarm.experiment)

    def _public_context(self) -> "PublicContext":
        from mdhfl.swarm.ckks import PublicContext

        return PublicContext.from_bytes(self.swarm.send(self._key_holder, self.request, {"ask": "make keys"})["public"])

    def _collect(self, public: "PublicContext | None") -> tuple[Ledger, dict[str, Share], dict[str, Reply]]:
        """Ask every member: the longest ledger among them, the shares that can be merged, and their whole replies."""
        turn, site, ledger = self.turn, self.swarm.site, self.swarm.ledger()
        shares, replies, reasons = {site: self.swarm.own_share(turn, self.own, public)}, {}, []
        for member in sorted(set(turn.members) - {site}):
            try:
                asked = {"ask": "share", "length": len(ledger.entries), **_public_bytes(public)}
                reply = self.swarm.send(member, self.request, asked)
                if reply.get("ahead"):
                    raise Ahead(f"site {member!r} has already learned from the merge of round {turn.round}")
                like = next(
                    (shares[other] for other in turn.group(turn.members[member].layout) if other in shares), None
                )
                share = _received_share(turn, member, reply, public=public, like=like)
                ledger = _longer(ledger, reply["entries"])
                replies[member], shares[member] = reply, share
            except (PeerError, ValueError, KeyError, TypeError) as error:
                reasons.append(f"{member}: {error}")
        if len(shares) < 2:
            raise ValueError(f"site {site!r}: expected models of at least 2 sites, got 1 ({'; '.join(reasons)})")
        return ledger, shares, replies

    def _record(
        self,
        ledger: Ledger,
        *,
        shares: Mapping[str, Share],
        replies: Mapping[str, Reply],
        merged: Mapping[str, "Merged | Ciphertext"],
    ) -> Ledger:
        """Admit who is new, and append this merge."""
        swarm = self.swarm
        applications = {member: Application.from_json(reply["application"]) for member, reply in replies.items()}
        for site, application in sorted({**applications, swarm.site: swarm.application(self.own)}.items()):
            if site not in ledger.keys:
                ledger = ledger.admit(application)
        return ledger.merge(
            site=swarm.site,
            number=self.turn.round,
            attempt=self.turn.attempt,
            shares={site: share.digest for site, share in sorted(shares.items()) if not share.is_empty},
            merged={layout: digest_of(result) for layout, result in sorted(merged.items())},
            key=swarm.key,
        )

    def _spread(
        self, ledger: Ledger, *, replies: Mapping[str, Reply], merged: Mapping[str, "Merged | Ciphertext"]
    ) -> Merged | None:
        """Send everybody what was merged; return this site's own merged model, which the key holder has decrypted."""
        members, layout = self.turn.members, self.turn.members[self.swarm.site].layout
        own = merged.get(layout)
        mean = own if isinstance(own, Merged) else None
        for member, reply in replies.items():
            message = {"ask": "adopt", "entries": [e.to_json() for e in ledger.entries[int(reply["length"]) :]]}
            result = merged.get(members[member].layout)
            message |= {} if result is None else {"result": to_plain(result)}
            wanted = self.swarm.encrypted and own is not None and member == self._key_holder
            message |= {"for_leader": to_plain(own)} if wanted else {}
            try:
                answer = self.swarm.send(member, self.request, message)
            except PeerError:
                continue  # it will say itself that it received nothing
            if wanted:
                mean = Merged(values=np.asarray(answer["values"]), layout=layout, round=self.turn.round)
        if own is not None and mean is None:
            raise PeerError(f"site {self._key_holder!r} did not decrypt the sum for its leader")
        return mean


def _received_share(
    turn: MergeTurn, member: str, reply: Reply, *, public: "PublicContext | None", like: Share | None
) -> Share:
    """Check a member's share, against another one of its layout if there is one.

    Raises:
        ValueError: naming the member: NaN, another length, another key, or nothing that can be merged.
    """
    if turn.is_alone(member):
        return Share()
    if public is not None:
        cipher = ciphertext_from(reply["result"])
        public.check(cipher, who=repr(member), like=None if like is None else like.cipher)
        return Share(cipher=cipher)
    expected = turn.members[member]
    weights = Weights(
        values=reply["result"],
        layout=expected.layout,
        bundle="",
        images=expected.images,
        site=member,
        round=turn.round,
    )
    check_weights(weights, number=turn.round)
    if like is not None and like.weights is not None:
        check_length(weights, like=like.weights)
    return Share(weights=weights)


def _longer(ledger: Ledger, entries: list[dict[str, Any]]) -> Ledger:
    """Catch up with a member that knows more."""
    return ledger.extend([e for e in map(Entry.from_json, entries) if e.index >= len(ledger.entries)])


def _public_bytes(public: "PublicContext | None") -> dict[str, bytes]:
    return {} if public is None else {"public": public.to_bytes()}
