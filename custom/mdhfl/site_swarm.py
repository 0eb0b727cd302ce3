"""A site's part in a swarm: it shares with the elected leader, leads when it is elected, and keeps the ledger.

A merge in four steps: the leader asks every member for its share, merges within each layout, appends the merge to the
ledger, and sends everybody the merged model with the ledger's new entries. A member keeps what it got aside, and
commits it (model and ledger) only when the next round begins with this leader: a leader that dies half-way leaves
nothing behind. A member that no merge reached goes on with its own model, says so, and is merged again next round. With
encryption there is a key for each merge, made by the leader's runner-up (the keeper) and given to
all but the leader.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.election import Turn, check_turn, elect
from mdhfl.ledger import Application, Entry, Ledger, apply_for_membership, load_or_create_key
from mdhfl.messages import Request, payload_bytes
from mdhfl.peers import PeerError, Peers
from mdhfl.weights import Merged, Weights, check_weights, mean_of

if TYPE_CHECKING:
    from mdhfl.ckks import Ciphertext, PublicContext, SecretContext


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What a member sent its leader: its weights, or their ciphertext; neither if it is alone in its layout."""

    weights: Weights | None
    cipher: "Ciphertext | None"

    @property
    def digest(self) -> str:
        return self.cipher.digest if self.cipher else _digest_of(_values(self.weights))


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """A merge that was received and checked, and is not yet committed."""

    turn: Turn
    ledger: Ledger
    merged: Merged | None


class _Ahead(RuntimeError):
    """A member is a round ahead: the server was restarted after it had learned."""


class Swarm:
    """One site in one experiment's swarm.

    Attributes:
        peer_bytes: "up" and "down", exchanged with peers since the last answer.
        seconds: by phase, since the last answer.
        merged_by: who led the merge that this site's last round began with; empty if none reached it.
    """

    def __init__(self, *, site: str, experiment: str, folder: Path, peers: Peers, encrypted: bool) -> None:
        self.site, self.experiment, self.peers, self.encrypted = site, experiment, peers, encrypted
        self._ledger_path = folder / "ledger.jsonl"
        self._key = load_or_create_key(folder.parent / "ledger.key")
        self._pending: _Pending | None = None
        self._share: _Share | None = None
        self._secrets: dict[tuple[int, int], SecretContext] = {}
        self.peer_bytes = {"up": 0, "down": 0}
        self.seconds: dict[str, float] = {}
        self.merged_by = ""

    def ledger(self) -> Ledger:
        """Read this site's copy. Raises LedgerError if it was tampered with."""
        return Ledger.load(self._ledger_path, experiment=self.experiment)

    def take(self, turn: Turn) -> Merged | None:
        """Commit the merge of a turn and return the merged model; None if there is none for this site."""
        pending, self._pending = self._pending, None
        self._secrets.clear()
        self.merged_by = ""
        if pending is None or pending.turn != turn:
            return None
        pending.ledger.save(self._ledger_path)
        self.merged_by = turn.leader
        return pending.merged

    # The leader's side

    def lead(self, request: Request, own: Weights) -> None:
        """Merge the models of a turn that this site leads.

        Raises:
            ValueError: this site was not elected, or too few members sent what can be merged.
            PeerError: the keeper of the key could not be reached.
            RuntimeError: the merge was done before, and a member has learned from it.
        """
        turn = self._checked_turn(request, own)
        if turn.leader != self.site:
            raise ValueError(f"site {self.site!r} was asked to merge in the turn of {turn.leader!r}")
        if own.round > turn.round:
            return  # the server was restarted: this merge is done, and this site has learned from it
        public = self._public_context(request, turn) if self.encrypted else None
        ledger = self.ledger()
        shares, replies, reasons = {self.site: self._own_share(turn, own, public)}, {}, []
        for member in sorted(set(turn.members) - {self.site}):
            try:
                message = {"ask": "share", "length": len(ledger.entries), "head": ledger.head}
                reply = self._send(member, request, {**message, **_public_bytes(public)})
                if reply.get("ahead"):
                    raise _Ahead(f"site {member!r} has already learned from the merge of round {turn.round}")
                replies[member] = reply
                shares[member] = self._received_share(turn, member, reply, public)
                ledger = _longer(ledger, reply["entries"])
            except (PeerError, ValueError, KeyError, TypeError) as error:
                reasons.append(f"{member}: {error}")
        if len(shares) < 2:
            raise ValueError(f"site {self.site!r}: expected models of at least 2 sites, got 1 ({'; '.join(reasons)})")
        with self._timed("merge"):
            merged = _merge(turn, shares, public)
        ledger = self._record(ledger, turn, own, replies=replies, shares=shares, merged=merged)
        mean = self._spread(request, turn, ledger, replies=replies, merged=merged)
        self._pending = _Pending(turn=turn, ledger=ledger, merged=mean)

    def _record(
        self,
        ledger: Ledger,
        turn: Turn,
        own: Weights,
        *,
        replies: Mapping[str, Mapping[str, Any]],
        shares: Mapping[str, _Share],
        merged: Mapping[str, Any],
    ) -> Ledger:
        """Admit who is new, and append this merge."""
        applications = {member: Application.from_json(replies[member]["application"]) for member in replies}
        for site, application in sorted({**applications, self.site: self._application(own)}.items()):
            if site in shares and site not in ledger.keys:
                ledger = ledger.admit(application)
        return ledger.merge(
            site=self.site,
            round_=turn.round,
            attempt=turn.attempt,
            shares={site: share.digest for site, share in sorted(shares.items()) if not _is_empty(share)},
            merged={layout: _digest_of(result) for layout, result in sorted(merged.items())},
            key=self._key,
        )

    def _spread(
        self,
        request: Request,
        turn: Turn,
        ledger: Ledger,
        *,
        replies: Mapping[str, Mapping[str, Any]],
        merged: Mapping[str, Any],
    ) -> Merged | None:
        """Send everybody what was merged; return this site's own merged model, which the keeper has decrypted."""
        layout = turn.members[self.site].layout
        own = merged.get(layout)
        mean = own if isinstance(own, Merged) else None
        for member, reply in replies.items():
            message = {"ask": "adopt", "entries": [e.to_json() for e in ledger.entries[int(reply["length"]) :]]}
            result = merged.get(turn.members[member].layout)
            message |= {} if result is None else {"result": _to_plain(result)}
            wanted = self.encrypted and own is not None and member == _keeper(turn, self.experiment)
            message |= {"for_leader": _to_plain(own)} if wanted else {}
            try:
                answer = self._send(member, request, message)
            except PeerError:
                continue  # it will say itself that it received nothing
            if wanted:
                mean = Merged(values=np.asarray(answer["values"]), layout=layout, round=turn.round)
        if own is not None and mean is None:
            raise PeerError(f"site {_keeper(turn, self.experiment)!r} did not decrypt the sum for its leader")
        return mean

    def _public_context(self, request: Request, turn: Turn) -> "PublicContext":
        from mdhfl.ckks import PublicContext

        reply = self._send(_keeper(turn, self.experiment), request, {"ask": "make keys"})
        return PublicContext.from_bytes(reply["public"])

    def _received_share(
        self, turn: Turn, member: str, reply: Mapping[str, Any], public: "PublicContext | None"
    ) -> _Share:
        if _is_alone(turn, member):
            return _Share(weights=None, cipher=None)
        if public is not None:
            return _Share(weights=None, cipher=_ciphertext(reply["result"]))
        expected = turn.members[member]
        weights = Weights(
            values=reply["result"], layout=expected.layout, bundle="", images=expected.images, site=member,
            round=turn.round,
        )  # fmt: skip
        check_weights(weights, round_=turn.round)
        return _Share(weights=weights, cipher=None)

    # A member's side

    def receive(self, sender: str, message: Mapping[str, Any], request: Request, own: Weights) -> dict[str, Any]:
        """Answer a peer.

        Raises:
            ValueError: the sender has no right to ask this, or what it sent cannot be accepted.
        """
        self.peer_bytes["down"] += payload_bytes(message)
        turn = self._checked_turn(request, own)
        keeper, ask = _keeper(turn, self.experiment), message["ask"]
        entitled = keeper if ask == "take key" else turn.leader
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

    def _answer_share(self, turn: Turn, message: Mapping[str, Any], own: Weights) -> dict[str, Any]:
        if own.round > turn.round:
            return {"ahead": True}
        ledger, length = self.ledger(), int(message["length"])
        public = None
        if self.encrypted:
            from mdhfl.ckks import PublicContext

            public = PublicContext.from_bytes(message["public"])
            if public.digest != self._secret(turn).digest:
                raise ValueError(f"site {self.site!r}: the leader's context is not the keeper's; nothing was encrypted")
        self._share = self._own_share(turn, own, public)
        return {
            "application": self._application(own).to_json(),
            "length": min(len(ledger.entries), length),
            "entries": [entry.to_json() for entry in ledger.entries[length:]],
            **({} if _is_empty(self._share) else {"result": _to_plain(self._share.cipher or self._share.weights)}),
        }

    def _answer_adopt(self, turn: Turn, message: Mapping[str, Any], own: Weights) -> dict[str, Any]:
        ledger = self.ledger()
        new = [Entry.from_json(entry) for entry in message["entries"]]
        ledger = ledger.extend([entry for entry in new if entry.index >= len(ledger.entries)])
        last = ledger.entries[-1].content if ledger.entries else {}
        if (last.get("round"), last.get("attempt"), ledger.entries[-1].site) != (turn.round, turn.attempt, turn.leader):
            raise ValueError(f"site {self.site!r}: expected the ledger to end with this merge, it does not")
        merged = None
        if self._share is not None and not _is_empty(self._share):
            if last["shares"].get(self.site) != self._share.digest:
                raise ValueError(f"site {self.site!r}: the ledger names another share than the one it sent")
            merged = self._open(turn, message["result"], last, layout=own.layout)
        self._pending = _Pending(turn=turn, ledger=ledger, merged=merged)
        if "for_leader" not in message:
            return {}
        leaders = turn.members[turn.leader].layout
        return {"values": self._open(turn, message["for_leader"], last, layout=leaders).values}

    def _open(self, turn: Turn, result: Any, entry: Mapping[str, Any], *, layout: str) -> Merged:
        """Check a merged model against the ledger, decrypt it if it is encrypted, and scale it to the mean."""
        received: Any = _ciphertext(result) if self.encrypted else np.asarray(result)
        if entry["merged"].get(layout) != _digest_of(received):
            raise ValueError(f"site {self.site!r}: the merged model is not the one that the ledger names")
        if not self.encrypted:
            return Merged(values=received, layout=layout, round=turn.round)
        with self._timed("decrypt"):
            values = self._secret(turn).decrypt(received, who=f"leader {turn.leader!r}")
        group = _group(turn, layout)
        there = sum(turn.members[site].images for site in group if site in entry["shares"])
        scale = sum(turn.members[site].images for site in group) / there
        return Merged(values=(values * scale).astype(np.float32), layout=layout, round=turn.round)

    def _make_keys(self, request: Request, turn: Turn) -> dict[str, Any]:
        from mdhfl.ckks import SecretContext

        with self._timed("encrypt"):
            secret = SecretContext.create()
        self._secrets = {(turn.round, turn.attempt): secret}
        for member in sorted(set(turn.members) - {self.site, turn.leader}):
            try:
                self._send(member, request, {"ask": "take key", "secret": secret.to_bytes()})
            except PeerError:
                continue  # it cannot share, and the leader will leave it out
        return {"public": secret.public.to_bytes()}

    def _take_key(self, turn: Turn, message: Mapping[str, Any]) -> dict[str, Any]:
        from mdhfl.ckks import SecretContext

        self._secrets = {(turn.round, turn.attempt): SecretContext.from_bytes(message["secret"])}
        return {}

    def _secret(self, turn: Turn) -> "SecretContext":
        try:
            return self._secrets[turn.round, turn.attempt]
        except KeyError:
            raise ValueError(f"site {self.site!r}: has no key for the merge of round {turn.round}") from None

    # Both sides

    def _checked_turn(self, request: Request, own: Weights) -> Turn:
        turn = request.lesson
        if not isinstance(turn, Turn):
            raise ValueError(f"site {self.site!r}: expected a turn to merge in, got {type(turn).__name__}")
        check_turn(turn, experiment=self.experiment, site=self.site)
        member = turn.members.get(self.site)
        if member is not None and (member.layout, member.images) != (own.layout, own.images):
            raise ValueError(f"site {self.site!r}: the turn describes another model or data than this site's")
        if own.round not in (turn.round, turn.round + 1):
            raise ValueError(f"site {self.site!r}: expected its model of round {turn.round}, it has {own.round}'s")
        return turn

    def _own_share(self, turn: Turn, own: Weights, public: "PublicContext | None") -> _Share:
        if _is_alone(turn, self.site):
            return _Share(weights=None, cipher=None)
        if public is None:
            return _Share(weights=own, cipher=None)
        total = sum(turn.members[site].images for site in _group(turn, own.layout))
        with self._timed("encrypt"):
            cipher = public.encrypt(own.values * np.float32(own.images / total))
        return _Share(weights=None, cipher=cipher)

    def _application(self, own: Weights) -> Application:
        return apply_for_membership(
            experiment=self.experiment, site=self.site, layout=own.layout, architecture=own.bundle, key=self._key
        )

    def _send(self, site: str, request: Request, message: Mapping[str, Any]) -> Mapping[str, Any]:
        whole = {**message, "request": request.to_wire()}
        self.peer_bytes["up"] += payload_bytes(whole)
        reply = self.peers.send(site, whole)
        self.peer_bytes["down"] += payload_bytes(reply)
        return reply

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start


def _merge(turn: Turn, shares: Mapping[str, _Share], public: "PublicContext | None") -> dict[str, Any]:
    """Merge within each layout: layout -> Merged, or the sum's ciphertext."""
    results: dict[str, Any] = {}
    for layout in sorted({turn.members[site].layout for site in shares}):
        group = [site for site in _group(turn, layout) if site in shares and not _is_empty(shares[site])]
        if not group:
            continue
        if public is None:
            results[layout] = mean_of({site: shares[site].weights for site in group})  # type: ignore[misc]
        else:
            results[layout] = public.add({site: shares[site].cipher for site in group})  # type: ignore[misc]
    return results


def _group(turn: Turn, layout: str) -> list[str]:
    return sorted(site for site, member in turn.members.items() if member.layout == layout)


def _is_alone(turn: Turn, site: str) -> bool:
    return len(_group(turn, turn.members[site].layout)) == 1


def _is_empty(share: _Share) -> bool:
    return share.weights is None and share.cipher is None


def _keeper(turn: Turn, experiment: str) -> str:
    """Return who makes the key: the next in the order of the election after the leader."""
    order = elect(turn.members, experiment=experiment, round_=turn.round)
    return order[(turn.attempt + 1) % len(order)]


def _longer(ledger: Ledger, entries: list[dict[str, Any]]) -> Ledger:
    """Catch up with a member that knows more."""
    return ledger.extend([e for e in map(Entry.from_json, entries) if e.index >= len(ledger.entries)])


def _values(weights: Weights | None) -> NDArray[np.float32]:
    return np.zeros(0, dtype=np.float32) if weights is None else weights.values


def _digest_of(result: Any) -> str:
    """Return the digest of a merged vector, or of its ciphertext."""
    if not isinstance(result, Merged | np.ndarray):
        return str(result.digest)
    values = result.values if isinstance(result, Merged) else result
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _to_plain(result: Any) -> Any:
    """Return what travels: the vector, or the ciphertext's fields."""
    return result.values if isinstance(result, Merged | Weights) else asdict(result)


def _ciphertext(values: Mapping[str, Any]) -> "Ciphertext":
    from mdhfl.ckks import Ciphertext

    return Ciphertext(**values)


def _public_bytes(public: "PublicContext | None") -> dict[str, bytes]:
    return {} if public is None else {"public": public.to_bytes()}
