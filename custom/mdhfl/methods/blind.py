"""The server's part in a blind sum: it collects masked numbers, has their sum unmasked, and sends it to everybody.

It adds and subtracts, and sees no site's numbers, nor their sum: that stays under the veils of its sites
(`sharing/masked.py`). A site that dies before it has pledged is not in the roll; one that dies afterwards is not in the
sum, and the others' shares take its masks off; one that dies when its numbers have arrived is in the sum.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from mdhfl.methods.parties import Server
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Subject
from mdhfl.sharing.masked import BlindTeaching, Masked, Opened, Opening, absent_of
from mdhfl.sharing.masks import Bytes, Masks, check_of, stream
from mdhfl.sharing.messages import Action, Answer
from mdhfl.sharing.pledges import LEAST, BlindRoll, Pledge
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.shamir import joined, weights_at_zero

LATE = "no answer before the deadline"
Kind = TypeVar("Kind", Masked, Opened)
Check = Callable[[Kind], None]


class NoSum(RuntimeError):
    """Too few sites took part in a blind sum. Everything before this round is recorded."""


def masked_round(last: Round, server: Server, *, subject: Subject, shape: tuple[int, int]) -> Round:
    """Return a round in which the sites' numbers have arrived, masked; those that did not send any keep their pledge.

    Args:
        last: the round, in which each good answer holds a pledge.
        server: asks the sites.
        subject: of the experiment's knowledge.
        shape: (rows, C), of what each site adds.

    Raises:
        NoSum: too few sites sent numbers, with everybody's reasons.
    """
    pledges = {site: said for site, said in last.shared.items() if isinstance(said, Pledge)}
    roll = BlindRoll(round=last.number, pledges=pledges)
    if len(pledges) < LEAST:
        raise _no_sum(roll, got=len(pledges), reasons={s: a.refusal for s, a in last.answers.items() if a.refusal})
    digest = roll.digest(experiment=server.experiment, subject=subject)

    def check(masked: Masked) -> None:
        masked.check(pledge=pledges[masked.site], roll=digest, members=len(pledges), shape=shape)

    arrived, reasons = _asked(server, roll.members, "commit", roll, kind=Masked, check=check)
    if len(arrived) < roll.threshold:
        raise _no_sum(roll, got=len(arrived), reasons=reasons)
    answers = {
        site: replace(answer, shared=arrived[site]) if site in arrived else answer
        for site, answer in last.answers.items()
    }
    shared: dict[str, Shared] = {**last.shared, **arrived}
    return replace(last, answers=answers, shared=shared)


def opened_sum(last: Round, server: Server, *, subject: Subject) -> Mapping[str, Lesson]:
    """Return the sum of the masked numbers of a round, for each site of its roll.

    Nothing where a site has sealed what it should not have, so that its masks cannot be taken off: the others train a
    round alone, and their logs name that site.

    Raises:
        NoSum: too few sites help to open it, with everybody's reasons.
    """
    arrived = {site: said for site, said in sorted(last.shared.items()) if isinstance(said, Masked)}
    pledges = {site: said for site, said in last.shared.items() if isinstance(said, Pledge)}
    roll = BlindRoll(round=last.number, pledges={**pledges, **{site: m.pledge for site, m in arrived.items()}})
    if not arrived:
        return {}
    sites, digest = tuple(arrived), roll.digest(experiment=server.experiment, subject=subject)
    absent = absent_of(roll, sites)
    places = {site: [roll.members.index(other) for other in (site, *absent)] for site in sites}
    sealed = np.stack([arrived[site].sealed[:, places[site]] for site in sites])
    opening = Opening(round=last.number, roll=roll, sites=sites, sealed=sealed)

    def check(opened: Opened) -> None:
        opened.check(roll=digest, sites=len(sites), absent=len(absent))

    helping, reasons = _asked(server, sites, "reveal", opening, kind=Opened, check=check)
    if len(helping) < roll.threshold:
        raise _no_sum(roll, got=len(helping), reasons=reasons)
    values = _unmasked(roll, arrived, helping)
    if values is None:
        return {}
    veils = np.stack([arrived[site].veils for site in sites])
    lesson = BlindTeaching(round=last.number, roll=roll, sites=sites, values=values, veils=veils)
    return dict.fromkeys(roll.members, lesson)


def _unmasked(roll: BlindRoll, arrived: Mapping[str, Masked], helping: Mapping[str, Opened]) -> Masks | None:
    """Add up what has arrived, and take off the masks that do not cancel; None if that cannot be done."""
    absent = absent_of(roll, tuple(arrived))
    total = np.zeros_like(next(iter(arrived.values())).values)
    for i, (site, masked) in enumerate(arrived.items()):
        total = total + masked.values
        for j, other in enumerate((site, *absent)):
            checks = masked.checks[:, roll.members.index(other)]
            secret = _secret(roll, {helper: said.shares[i, j].tobytes() for helper, said in helping.items()}, checks)
            if secret is None:
                return None
            mask = stream(secret, total.shape)
            total = total - mask if other >= site else total + mask
    return total


def _secret(roll: BlindRoll, shares: Mapping[str, bytes], checks: Bytes) -> bytes | None:
    """Return a secret from as many shares as it takes, of those that its dealer gave; None if there are too few."""
    places = {site: roll.members.index(site) for site in sorted(shares)}
    real = [site for site, place in places.items() if check_of(shares[site]) == checks[place].tobytes()]
    if len(real) < roll.threshold:
        return None
    taken = {places[site] + 1: shares[site] for site in real[: roll.threshold]}
    return joined(taken, weights=weights_at_zero(list(taken)))


def _asked(
    server: Server, sites: Sequence[str], action: Action, lesson: Lesson, *, kind: type[Kind], check: Check[Kind]
) -> tuple[dict[str, Kind], dict[str, str]]:
    """Ask sites between two rounds; return what they said, checked, and why the others said nothing that counts."""
    found, reasons = {}, {}
    answers = server.ask(sites, action, lesson)
    for site in sites:
        try:
            found[site] = _said(answers.get(site), kind=kind, site=site, number=lesson.round)
            check(found[site])
        except MessageError as reason:
            reasons[site] = str(reason)
            found.pop(site, None)
    return found, reasons


def _said(answer: Answer | None, *, kind: type[Kind], site: str, number: int) -> Kind:
    if answer is None:
        raise MessageError(LATE)
    if answer.refusal:
        raise MessageError(answer.refusal)
    said = answer.shared
    if not isinstance(said, kind) or (said.site, said.round) != (site, number):
        raise MessageError(f"expected {kind.kind} of site {site!r} for round {number}, got something else")
    return said


def _no_sum(roll: BlindRoll, *, got: int, reasons: Mapping[str, str]) -> NoSum:
    why = "; ".join(f"{site}: {reason}" for site, reason in sorted(reasons.items()))
    return NoSum(
        f"round {roll.round}: expected at least {max(LEAST, roll.threshold)} of {len(roll.pledges)} sites to take part "
        f"in a blind sum, got {got} ({why}). Fix the sites, then resume: nothing recorded is lost"
    )
