"""A site's part in blind sums: its pledge, its masked numbers, its help to open a sum, and how it reads one.

All that it says follows from its key, its knowledge and the sum's roll, so that it says the same again after a
restart, and other knowledge is never masked alike. What it must not forget is on its disk: whose keys it knows, and
which sum of a round it has helped to open. It never helps with a second one: two sums that differ by one site would
show that site's numbers.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from mdhfl.files import read_json, write_json
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.masked import BlindTeaching, Masked, Opened, Opening
from mdhfl.sharing.masks import CHECK, SEALED, check_of, fixed, floating, key_of, sealed, stream, unsealed
from mdhfl.sharing.packing import wire_digest
from mdhfl.sharing.pledges import BlindRoll, Pledge
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.shamir import BYTES, element, split
from mdhfl.sharing.signatures import canonical
from mdhfl.swarm.keys import FILE, SigningKey, load_or_create_key

NOTES = "blind.json"  # in the site's folder of the experiment
UNSIGNED = "0" * 128


@dataclass(frozen=True, kw_only=True)
class Blinding:
    """One site in the blind sums of one experiment.

    Attributes:
        site: its name.
        experiment: the id.
        folder: the site's, of the experiment.
        minimum: how many sites a sum must have.
        partners: site -> its signing key, where the site's IT has listed them; empty: keys are trusted when first seen.
        note: writes into the site's log what is wrong with another site's part, though the sum goes on.
    """

    site: str
    experiment: str
    folder: Path
    minimum: int
    partners: Mapping[str, str]
    note: Callable[[Exception], object]

    @cached_property
    def key(self) -> SigningKey:
        """The site's signing key, the same for all experiments."""
        return load_or_create_key(self.folder.parent / FILE)

    def pledge(self, knowledge: Knowledge) -> Pledge:
        """Return what the site answers instead of its knowledge."""
        public = self._private(knowledge).public_key().public_bytes_raw().hex()
        unsigned = Pledge(
            key=public, identity=self.key.public, signature=UNSIGNED, site=self.site, round=knowledge.round
        )
        message = unsigned.signed(experiment=self.experiment, subject=knowledge.subject)
        return replace(unsigned, signature=self.key.sign(message))

    def masked(self, roll: BlindRoll, knowledge: Knowledge, *, numbers: NDArray[np.floating], largest: float) -> Masked:
        """Return the site's numbers, masked for a roll, with shares of what unmasks their sum.

        Args:
            roll: of the sum.
            knowledge: what the site has pledged.
            numbers: (rows, C), what it adds to the sum.
            largest: their size at most.

        Raises:
            Refusal: fewer sites than the site's IT asks for.
            ValueError: the roll is not what it must be, or names this site with another pledge.
        """
        self._check(roll, knowledge)
        self._note_identities(roll)
        private, members, name = self._private(knowledge), roll.members, self._digest(roll, knowledge)
        total = fixed(numbers, addends=len(members), largest=largest)
        secrets = [self._secret(private, roll, other, digest=name) for other in members]
        for other, secret in zip(members, secrets, strict=True):
            mask = stream(secret, total.shape)
            total = total + mask if other >= self.site else total - mask
        veil = self._drawn("veil", digest=name)
        total += stream(veil, total.shape)
        n = len(members)
        shares = [self._shares(secret, roll, place=j, digest=name) for j, secret in enumerate(secrets)]
        closed, checks = np.empty((n, n, SEALED), np.uint8), np.empty((n, n, CHECK), np.uint8)
        veils = np.empty((n, SEALED), np.uint8)
        for i, member in enumerate(members):
            key = self._seal_key(private, roll.pledges[member], dealer=self.site, member=member, digest=name)
            for j in range(n):
                closed[i, j] = _array(sealed(shares[j][i], key=key, place=j))
                checks[i, j] = _array(check_of(shares[j][i]))
            veils[i] = _array(sealed(veil, key=key, place=n))
        return Masked(
            pledge=roll.pledges[self.site],
            roll=name,
            values=total,
            sealed=closed,
            checks=checks,
            veils=veils,
            site=self.site,
            round=roll.round,
        )

    def opened(self, opening: Opening, knowledge: Knowledge) -> Opened:
        """Return the site's shares of what unmasks a sum, and note that it has helped to open it.

        A share that it cannot read, since it was not sealed for it, this place and this sum, is 0.

        Raises:
            Refusal: the sum is of fewer sites than the site's IT asks for.
            ValueError: it has helped to open another sum of this round, or its own numbers are not in it.
        """
        roll, sites = opening.roll, opening.sites
        self._check(roll, knowledge)
        self._check_enough(len(sites), number=roll.round)
        if self.site not in sites:
            raise ValueError(f"site {self.site!r}: its numbers are not in the sum that it is asked to open")
        if len(sites) < roll.threshold:
            raise ValueError(
                f"site {self.site!r}: expected a sum of at least {roll.threshold} of {len(roll.pledges)} sites, got "
                f"{len(sites)}"
            )
        private, name = self._private(knowledge), self._digest(roll, knowledge)
        members, own = roll.members, roll.members.index(self.site)
        absent = [members.index(site) for site in opening.absent]
        shares = np.zeros((len(sites), 1 + len(absent), BYTES), np.uint8)
        for i, dealer in enumerate(sites):
            key = self._seal_key(private, roll.pledges[dealer], dealer=dealer, member=self.site, digest=name)
            for j, place in enumerate((members.index(dealer), *absent)):
                try:
                    data = opening.sealed[i, own, j].tobytes()
                    shares[i, j] = _array(unsealed(data, key=key, place=place, whose=dealer))
                except MessageError as error:
                    self.note(error)
        self._note_opened(roll.round, hashlib.sha256(canonical([name, list(sites)])).hexdigest())
        return Opened(roll=name, shares=shares, site=self.site, round=roll.round)

    def read(self, teaching: BlindTeaching, knowledge: Knowledge | None, *, largest: float) -> NDArray[np.float64]:
        """Return a broadcast sum, (rows, C): its veils taken off.

        Args:
            teaching: the broadcast.
            knowledge: what the site shared last.
            largest: size of a site's numbers at most.

        Raises:
            ValueError: the site does not know any more what it has pledged, or the veils are not of this sum.
        """
        roll = teaching.roll
        if knowledge is None or knowledge.round != teaching.round:
            have = "nothing" if knowledge is None else f"its knowledge of round {knowledge.round}"
            raise ValueError(
                f"site {self.site!r}: the blind sum is of round {teaching.round}, but it has kept {have}; was its "
                "state folder restored from a backup? Leave the site out of this round: it is asked again next"
            )
        self._check(roll, knowledge)
        private, name = self._private(knowledge), self._digest(roll, knowledge)
        own, n = roll.members.index(self.site), len(roll.pledges)
        total = teaching.values
        for i, dealer in enumerate(teaching.sites):
            key = self._seal_key(private, roll.pledges[dealer], dealer=dealer, member=self.site, digest=name)
            veil = unsealed(teaching.veils[i, own].tobytes(), key=key, place=n, whose=dealer)
            total = total - stream(veil, total.shape)
        return floating(total, addends=n, largest=largest)

    # what follows from key, knowledge and roll

    def _private(self, knowledge: Knowledge) -> X25519PrivateKey:
        """Return the key of a pledge: another one for another round, and for other knowledge."""
        return X25519PrivateKey.from_private_bytes(
            self._hmac(of="pledge", round=knowledge.round, knowledge=wire_digest(knowledge.to_wire()))
        )

    def _secret(self, private: X25519PrivateKey, roll: BlindRoll, other: str, *, digest: str) -> bytes:
        """Return the seed of the mask that the site has in common with another, or of its own."""
        if other == self.site:
            return self._drawn("self", digest=digest)
        pair = sorted((self.site, other))
        return key_of(private, roll.pledges[other].key, of="mask", roll=digest, pair=pair)

    def _shares(self, secret: bytes, roll: BlindRoll, *, place: int, digest: str) -> list[bytes]:
        powers = range(1, roll.threshold)
        coefficients = [self._drawn("share", digest=digest, place=place, power=power) for power in powers]
        return split(secret, coefficients=coefficients, count=len(roll.pledges))

    def _seal_key(self, private: X25519PrivateKey, other: Pledge, *, dealer: str, member: str, digest: str) -> bytes:
        theirs = other.key
        return key_of(private, theirs, of="seal", roll=digest, dealer=dealer, member=member)

    def _drawn(self, of: str, *, digest: str, **what: Any) -> bytes:
        return element(self._hmac(of=of, roll=digest, **what))

    def _hmac(self, **what: Any) -> bytes:
        message = canonical({"blind": self.experiment, **what})
        return hmac.new(self.key.private, message, hashlib.sha256).digest()

    def _digest(self, roll: BlindRoll, knowledge: Knowledge) -> str:
        return roll.digest(experiment=self.experiment, subject=knowledge.subject)

    # what a site does not take part in

    def _check(self, roll: BlindRoll, knowledge: Knowledge) -> None:
        if knowledge.round != roll.round:
            raise ValueError(
                f"site {self.site!r}: expected a blind sum of round {knowledge.round}, which it has finished last, got "
                f"one of round {roll.round}"
            )
        self._check_enough(len(roll.pledges), number=roll.round)
        if roll.pledges.get(self.site) != self.pledge(knowledge):
            raise ValueError(
                f"site {self.site!r}: the blind sum of round {roll.round} names this site with another pledge than its "
                "own, or not at all; was its state folder restored from a backup?"
            )
        roll.check_signed(experiment=self.experiment, subject=knowledge.subject)
        known = self.partners or self._notes()["identities"]
        for site, pledge in roll.pledges.items():
            if site == self.site:
                continue
            if known.get(site, pledge.identity) != pledge.identity or (self.partners and site not in known):
                where = '"partners" in site.json' if self.partners else str(self.folder / NOTES)
                raise ValueError(
                    f"site {self.site!r}: site {site!r} has signing key {pledge.identity[:8]}, and {where} has "
                    f"{known.get(site, 'none')[:8]}; ask that site for its key by telephone before you change it there"
                )

    def _check_enough(self, sites: int, *, number: int) -> None:
        if sites < self.minimum:
            raise Refusal(
                "too_few_sites",
                f"site {self.site!r}: expected a blind sum of at least {self.minimum} sites (minimum_sites in "
                f"site.json) in round {number}, got {sites}: each of them could compute too much of the others'",
            )

    def _note_identities(self, roll: BlindRoll) -> None:
        notes = self._notes()
        known = {**notes["identities"], **{site: pledge.identity for site, pledge in roll.pledges.items()}}
        if known != notes["identities"]:
            write_json(self.folder / NOTES, {**notes, "identities": known})

    def _note_opened(self, number: int, digest: str) -> None:
        notes = self._notes()
        before = notes["opened"].get(str(number), digest)
        if before != digest:
            raise ValueError(
                f"site {self.site!r}: has helped to open another sum of round {number}; two sums of one round could "
                "show a site's own numbers"
            )
        write_json(self.folder / NOTES, {**notes, "opened": {**notes["opened"], str(number): digest}})

    def _notes(self) -> dict[str, dict[str, str]]:
        path = self.folder / NOTES
        if not path.exists():
            return {"identities": {}, "opened": {}}
        notes = read_json(path)
        if set(notes) != {"identities", "opened"} or not all(isinstance(part, dict) for part in notes.values()):
            raise ValueError(f"{path}: expected a site's notes on blind sums, got something else; restore it")
        return notes


def _array(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)
