"""The leader's side of a swarm's merge: ask every member for its share, merge, record, send the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.sharing.checks import MessageError, array, count, record
from mdhfl.sharing.messages import Request
from mdhfl.sharing.turns import MergeTurn
from mdhfl.sharing.weights import Merged, Weights, check_length, check_weights
from mdhfl.swarm.kept import Kept
from mdhfl.swarm.ledger import Entry, Ledger
from mdhfl.swarm.membership import Membership
from mdhfl.swarm.peers import PeerError
from mdhfl.swarm.shares import Share, ciphertext_from, digest_of, merge_shares, to_plain
from mdhfl.timing import timed

if TYPE_CHECKING:
    from mdhfl.swarm.ckks import Ciphertext, PublicContext


class Ahead(RuntimeError):
    """A member is a round ahead: this merge was decided before."""


def lead(swarm: Membership, request: Request, own: Weights) -> Kept:
    """Merge the models of a turn that a site leads.

    Args:
        swarm: the leader's part in the swarm.
        request: the server's, with the turn.
        own: the leader's model.

    Returns:
        What the leader itself keeps.

    Raises:
        ValueError: this site was not drawn, or too few members sent what can be merged.
        PeerError: the key holder could not be reached.
        RuntimeError: a merge of this round was decided before: a member has learned from it.
    """
    turn = swarm.checked_turn(request, own)
    if turn.leader != swarm.site:
        raise ValueError(f"site {swarm.site!r} was asked to merge in the turn of {turn.leader!r}")
    if own.round > turn.round:
        raise Ahead(f"site {swarm.site!r} has already finished round {own.round}")
    return _Merge(swarm=swarm, request=request, turn=turn, own=own).make()


@dataclass(frozen=True, kw_only=True)
class _Merge:
    """One merge, as its leader makes it."""

    swarm: Membership
    request: Request
    turn: MergeTurn
    own: Weights

    def make(self) -> Kept:
        swarm = self.swarm
        public = self._public_context() if swarm.encrypted else None
        ledger, shares, lengths = self._collect(public)
        with timed(swarm.seconds, "merge"):
            merged = merge_shares(self.turn, shares, public=public)
        ledger = ledger.merge(
            self.turn,
            shares={site: share.digest for site, share in sorted(shares.items()) if not share.is_empty},
            merged={layout: digest_of(result) for layout, result in sorted(merged.items())},
            key=swarm.key,
        )
        return Kept(turn=self.turn, ledger=ledger, merged=self._spread(ledger, lengths=lengths, merged=merged))

    def _public_context(self) -> "PublicContext":
        from mdhfl.swarm.ckks import PublicContext

        holder = self.turn.key_holder
        reply = self.swarm.send(holder, self.request, {"ask": "make keys"})
        return PublicContext.from_bytes(record(reply, what=f"key of {holder!r}", fields=["public"])["public"])

    def _collect(self, public: "PublicContext | None") -> tuple[Ledger, dict[str, Share], dict[str, int]]:
        """Ask every member: the longest ledger among them, the shares that can be merged, the lengths of ledgers."""
        turn, site, ledger = self.turn, self.swarm.site, self.swarm.ledger(self.own)
        shares, lengths, reasons = {site: self.swarm.own_share(turn, self.own, public)}, {}, []
        for member in sorted(set(turn.commitments) - {site}):
            try:
                got = self._share_of(member, public, ledger=ledger, shares=shares)
            except Ahead:
                raise
            except Exception as error:  # whatever comes of what another machine replied: the others go on without it
                reasons.append(f"{member}: {error if isinstance(error, PeerError | ValueError) else repr(error)}")
            else:
                ledger, shares[member], lengths[member] = got
        needed = len(turn.roll.roster) // 2 + 1
        if len(shares) < needed:
            raise ValueError(
                f"site {site!r}: expected models of at least {needed} sites, got {len(shares)} ({'; '.join(reasons)})"
            )
        return ledger, shares, lengths

    def _share_of(
        self, member: str, public: "PublicContext | None", *, ledger: Ledger, shares: Mapping[str, Share]
    ) -> tuple[Ledger, Share, int]:
        """Ask one member for its share.

        Args:
            member: whom.
            public: the context of encrypted shares, None for plain ones.
            ledger: the longest so far.
            shares: of the others so far.

        Returns:
            The longest ledger, the member's share, and how many entries it shares with the ledger so far.

        Raises:
            Ahead: this merge was decided before.
            Exception: whatever comes of a reply that cannot be used.
        """
        turn, length = self.turn, len(ledger.entries)
        reply = self.swarm.send(member, self.request, {"ask": "share", "length": length, **_bytes_of(public)})
        if reply.get("ahead"):
            raise Ahead(f"site {member!r} has already learned from a merge of round {turn.round}")
        group = turn.group(turn.commitments[member].layout)
        like = next((shares[other] for other in group if other in shares), None)
        share = _received_share(turn, member, reply, public=public, like=like)
        entries = [entry for entry in map(Entry.from_json, _list(reply, member)) if entry.index >= length]
        known = count(reply["length"], what=f"length of the ledger of site {member!r}")
        return ledger.extend(entries, newest=turn.round - 1), share, min(length, known)

    def _spread(
        self, ledger: Ledger, *, lengths: Mapping[str, int], merged: Mapping[str, "Merged | Ciphertext"]
    ) -> Merged | None:
        """Send everybody what was merged; return this site's own merged model, which one of them decrypts."""
        members, layout = self.turn.commitments, self.turn.commitments[self.swarm.site].layout
        own = merged.get(layout)
        mean = own if isinstance(own, Merged) else None
        for member, length in lengths.items():
            message = {"ask": "adopt", "entries": [entry.to_json() for entry in ledger.entries[max(0, length) :]]}
            result = merged.get(members[member].layout)
            message |= {} if result is None else {"result": to_plain(result)}
            wanted = own is not None and mean is None
            message |= {"for_leader": to_plain(own)} if wanted else {}
            try:
                answer = self.swarm.send(member, self.request, message)
                if wanted:
                    mean = Merged(values=self._decrypted(answer), layout=layout, round=self.turn.round)
            except Exception:  # whatever comes of what another machine replied
                continue  # it will say itself that it received nothing; another decrypts
        if own is not None and mean is None:
            raise PeerError(f"none of {', '.join(lengths)} decrypted the sum for its leader {self.swarm.site!r}")
        return mean

    def _decrypted(self, answer: Mapping[str, Any]) -> Any:
        """Check what a member has decrypted. Raises MessageError."""
        values = array(
            answer.get("values"), what="the decrypted mean", dtypes=(np.float32,), shape=(self.own.values.size,)
        )
        if not np.isfinite(values).all():
            raise MessageError("the decrypted mean: expected finite numbers, got others")
        return values


def _received_share(
    turn: MergeTurn, member: str, reply: Mapping[str, Any], *, public: "PublicContext | None", like: Share | None
) -> Share:
    """Check a member's share, against another one of its layout if there is one.

    Raises:
        ValueError: naming the member: NaN, another length, another key, or nothing that can be merged.
    """
    if turn.is_alone(member):
        return Share()
    if public is not None:
        cipher = ciphertext_from(reply["result"])
        _check_addends(cipher, needed=len(turn.group(turn.commitments[member].layout)), member=member)
        public.read(cipher, who=repr(member), like=None if like is None else like.cipher)
        return Share(cipher=cipher)
    expected = turn.commitments[member]
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


def _check_addends(cipher: "Ciphertext", *, needed: int, member: str) -> None:
    """Refuse one ciphertext where the sum of all would be refused because of it. Raises MessageError."""
    if cipher.addends < needed:
        raise MessageError(
            f"ciphertext from site {member!r}: expected one that {needed} can be added of, got one for at most "
            f"{cipher.addends}: the sum could wrap around"
        )


def _list(reply: Mapping[str, Any], member: str) -> list[Any]:
    entries = reply["entries"]
    if not isinstance(entries, list | tuple):
        raise MessageError(f"ledger of site {member!r}: expected a list of entries, got {type(entries).__name__}")
    return list(entries)


def _bytes_of(public: "PublicContext | None") -> dict[str, bytes]:
    return {} if public is None else {"public": public.to_bytes()}
