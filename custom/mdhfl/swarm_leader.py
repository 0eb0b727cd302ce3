"""The leader's side of a swarm's merge: ask every member for its share, merge, record, send the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.election import Turn, keeper_of
from mdhfl.ledger import Application, Entry, Ledger
from mdhfl.messages import Request
from mdhfl.peers import PeerError
from mdhfl.swarm_shares import Share, ciphertext_from, digest_of, merge_shares, to_plain
from mdhfl.timing import timed
from mdhfl.weights import Merged, Weights, check_length, check_weights

if TYPE_CHECKING:
    from mdhfl.ckks import PublicContext
    from mdhfl.site_swarm import Swarm


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A merge that was made or received and checked, and is not yet committed."""

    turn: Turn
    ledger: Ledger
    merged: Merged | None


class Ahead(RuntimeError):
    """A member is a round ahead: the server was restarted after it had learned."""


def lead(swarm: "Swarm", request: Request, own: Weights) -> Pending | None:
    """Merge the models of a turn that a site leads.

    Args:
        swarm: the leader's part in the swarm.
        request: the server's, with the turn.
        own: the leader's model.

    Returns:
        What the leader itself keeps aside; None if the server was restarted after this merge was done.

    Raises:
        ValueError: this site was not elected, or too few members sent what can be merged.
        PeerError: the keeper of the key could not be reached.
        RuntimeError: the merge was done before, and a member has learned from it.
    """
    turn = swarm.checked_turn(request, own)
    if turn.leader != swarm.site:
        raise ValueError(f"site {swarm.site!r} was asked to merge in the turn of {turn.leader!r}")
    if own.round > turn.round:
        return None  # the server was restarted: this merge is done, and this site has learned from it
    public = _public_context(swarm, request, turn) if swarm.encrypted else None
    ledger = swarm.ledger()
    shares, replies, reasons = {swarm.site: swarm.own_share(turn, own, public)}, {}, []
    for member in sorted(set(turn.members) - {swarm.site}):
        try:
            asked = {"ask": "share", "length": len(ledger.entries), **_public_bytes(public)}
            reply = swarm.send(member, request, asked)
            if reply.get("ahead"):
                raise Ahead(f"site {member!r} has already learned from the merge of round {turn.round}")
            like = next((shares[site] for site in turn.group(turn.members[member].layout) if site in shares), None)
            share = _received_share(turn, member, reply, public=public, like=like)
            ledger = _longer(ledger, reply["entries"])
            replies[member], shares[member] = reply, share
        except (PeerError, ValueError, KeyError, TypeError) as error:
            reasons.append(f"{member}: {error}")
    if len(shares) < 2:
        raise ValueError(f"site {swarm.site!r}: expected models of at least 2 sites, got 1 ({'; '.join(reasons)})")
    with timed(swarm.seconds, "merge"):
        merged = merge_shares(turn, shares, public=public)
    ledger = _record(swarm, ledger, turn, own, replies=replies, shares=shares, merged=merged)
    mean = _spread(swarm, request, turn, ledger, replies=replies, merged=merged)
    return Pending(turn=turn, ledger=ledger, merged=mean)


def _record(
    swarm: "Swarm",
    ledger: Ledger,
    turn: Turn,
    own: Weights,
    *,
    replies: Mapping[str, Mapping[str, Any]],
    shares: Mapping[str, Share],
    merged: Mapping[str, Any],
) -> Ledger:
    """Admit who is new, and append this merge."""
    applications = {member: Application.from_json(replies[member]["application"]) for member in replies}
    for site, application in sorted({**applications, swarm.site: swarm.application(own)}.items()):
        if site in shares and site not in ledger.keys:
            ledger = ledger.admit(application)
    return ledger.merge(
        site=swarm.site,
        round_=turn.round,
        attempt=turn.attempt,
        shares={site: share.digest for site, share in sorted(shares.items()) if not share.is_empty},
        merged={layout: digest_of(result) for layout, result in sorted(merged.items())},
        key=swarm.key,
    )


def _spread(
    swarm: "Swarm",
    request: Request,
    turn: Turn,
    ledger: Ledger,
    *,
    replies: Mapping[str, Mapping[str, Any]],
    merged: Mapping[str, Any],
) -> Merged | None:
    """Send everybody what was merged; return this site's own merged model, which the keeper has decrypted."""
    layout = turn.members[swarm.site].layout
    own = merged.get(layout)
    mean = own if isinstance(own, Merged) else None
    for member, reply in replies.items():
        message = {"ask": "adopt", "entries": [e.to_json() for e in ledger.entries[int(reply["length"]) :]]}
        result = merged.get(turn.members[member].layout)
        message |= {} if result is None else {"result": to_plain(result)}
        wanted = swarm.encrypted and own is not None and member == keeper_of(turn, experiment=swarm.experiment)
        message |= {"for_leader": to_plain(own)} if wanted else {}
        try:
            answer = swarm.send(member, request, message)
        except PeerError:
            continue  # it will say itself that it received nothing
        if wanted:
            mean = Merged(values=np.asarray(answer["values"]), layout=layout, round=turn.round)
    if own is not None and mean is None:
        raise PeerError(f"site {keeper_of(turn, experiment=swarm.experiment)!r} did not decrypt the sum for its leader")
    return mean


def _public_context(swarm: "Swarm", request: Request, turn: Turn) -> "PublicContext":
    from mdhfl.ckks import PublicContext

    reply = swarm.send(keeper_of(turn, experiment=swarm.experiment), request, {"ask": "make keys"})
    return PublicContext.from_bytes(reply["public"])


def _received_share(
    turn: Turn, member: str, reply: Mapping[str, Any], *, public: "PublicContext | None", like: Share | None
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
    check_weights(weights, round_=turn.round)
    if like is not None and like.weights is not None:
        check_length(weights, like=like.weights)
    return Share(weights=weights)


def _longer(ledger: Ledger, entries: list[dict[str, Any]]) -> Ledger:
    """Catch up with a member that knows more."""
    return ledger.extend([e for e in map(Entry.from_json, entries) if e.index >= len(ledger.entries)])


def _public_bytes(public: "PublicContext | None") -> dict[str, bytes]:
    return {} if public is None else {"public": public.to_bytes()}
