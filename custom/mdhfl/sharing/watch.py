"""The watch: whose answers stand out from the others', round by round, and how far each is trusted. Pure.

It judges by ranks (`agreement.py`), so that a site with other classes than the rest does not stand out. Three rules:

* too far: the site agrees less with the others than they do among themselves. What it falls short by is summed over
  the rounds, less a slack, and never below 0 (CUSUM: Page, "Continuous Inspection Schemes", Biometrika 1954), so that
  a jump shows at once and a slow drift in the end;
* renamed: it agrees less than the others do, and other names for its classes would fit them better than its own; what
  they would gain is summed alike. Or two classes would both fit better under each other's name;
* nothing: it says the same of every image, or no class as any other site says it.

And a copy: two sites say the same, which only tells that one of them copies. The two count as one when others are
judged. Before their second lesson honest networks may differ as if they had renamed their classes: nobody is named for
it then, but where the watch acts, who seems to have is left out of the next lesson.

The numbers were chosen on honest federations and attacks on them; those that test them have other seeds:
docs/results.md, "Poison".
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from mdhfl.sharing.agreement import (
    Matrix,
    correlations,
    distance,
    fits_of,
    is_flat,
    log_ratios,
    nearest,
    ranked,
    renamed,
    swapped,
    upper_median,
)
from mdhfl.sharing.knowledge import Knowledge

Mode = Literal["off", "tell", "weigh", "put_aside"]
MODES: tuple[str, ...] = get_args(Mode)
TELL: Mode = "tell"  # costs an honest federation nothing: no number changes
ACTING: tuple[Mode, ...] = ("weigh", "put_aside")  # change what a site counts
Decision = Literal["trusted", "aside"]
DECISIONS: tuple[str, ...] = get_args(Decision)

FEWEST = 3  # sites: of two that differ, nobody can tell which one is wrong
SLACK = 0.15  # of agreement that an honest site may fall short by in every round
LIMIT = 0.6  # of what it falls short by beyond that, summed over the rounds
BEHIND = 0.05  # of agreement that a site falls short by where other names would help
RENAMED_SLACK = 0.1  # of correlation that an honest site's classes may gain by other names in every round, their mean
RENAMED_LIMIT = 0.4  # of what they gain beyond that, summed over the rounds
NAMED_FROM = 2  # round: who has had fewer lessons than two is not named for that, but left out of a lesson
AGREED = 0.6  # typical agreement from which two swapped classes can be told
SWAPPED = 0.25  # gain in correlation of both of two classes by each other's name, where sites agree so far
NOTHING = 0.33  # highest correlation with anybody in any class, below which a site says nothing that anybody says
ENOUGH = 100  # public images from which chance does not reach that
COPIED = 0.02  # distance between two sites' answers, below which one is a copy of the other
MOST_COMPARED = 20  # other sites whose median says what a class looks like: a median of more is no better, and slow
DOUBTED = 0.1  # weight of a site that stands out
HALVED = 0.5  # weight of each of two sites that say the same


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the watch makes of one site, as far as the rounds have gone.

    Attributes:
        agreement: with the others in this round, the upper median over them, in [-1, 1]; None where there is nothing to
            compare.
        typical: the upper median of all sites' agreements.
        renamed: what other names for its classes would gain, mean over the classes, at least 0.
        swapped: what two classes would both gain by each other's name, the pair that gains most.
        nearest: the highest correlation with any other site in any class.
        short: what it has fallen short by, beyond the slack, summed over the rounds.
        gained: what other names would have gained, beyond the slack, summed over the rounds; from
            round 1 on anew, and again whenever it agrees with the others.
        reasons: what is wrong with its answers in this round; empty if nothing is.
        copies: the sites that say the same: one of them is a copy, and nobody can tell which.
        first: the round in which it stood out first; None if it never has.
        aside: whether its answers are put aside until the operator decides.
        trust: what its weight is multiplied by in the next lesson, from 0 to 1.
    """

    agreement: float | None = None
    typical: float | None = None
    renamed: float | None = None
    swapped: float | None = None
    nearest: float | None = None
    short: float = 0.0
    gained: float = 0.0
    reasons: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    first: int | None = None
    aside: bool = False
    trust: float = 1.0

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, for a row of results."""
        return {**asdict(self), "reasons": list(self.reasons), "copies": list(self.copies)}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Look":
        """Rebuild it, to the last bit."""
        return cls(**{**values, "reasons": tuple(values["reasons"]), "copies": tuple(values["copies"])})

    @property
    def stands_out(self) -> bool:
        """Whether the operator should hear of it."""
        return bool(self.reasons or self.copies)

    @property
    def text(self) -> str:
        """Why it stands out, in one line; empty if it does not."""
        same = [f"says the same as {', '.join(self.copies)}"] if self.copies else []
        return "; ".join([*self.reasons, *same])

    @property
    def told(self) -> list[str]:
        """What the operator's log says of the site, a line each; nothing if all is well."""
        lines = [f"stands out: {self.text}"] if self.stands_out else []
        if self.aside:
            return [*lines, "is put aside: it teaches nobody"]
        return lines if self.trust == 1 else [*lines, f"has {self.trust:g} of its weight in the next lesson"]


Looks = Mapping[str, Look]
NOBODY: Looks = MappingProxyType({})


def watched(shared: Mapping[str, Any], *, before: Looks, sites: tuple[str, ...], number: int, mode: str) -> Looks:
    """Look at what was shared in a round.

    Args:
        shared: site name -> what it shared, checked; anything but knowledge is not looked at.
        before: what the watch made of the sites in the round before.
        sites: all of the experiment's; one that was not heard keeps what was known of it.
        number: of the round.
        mode: one of MODES.

    Returns:
        A look for every site; nothing if the watch is off or there is nothing to look at.
    """
    knowledge = {site: said for site, said in sorted(shared.items()) if isinstance(said, Knowledge)}
    if mode == "off" or not (knowledge or before):
        return NOBODY
    known = {site: before.get(site, Look()) for site in sites}
    voters = [site for site in knowledge if not known[site].aside]
    if len(voters) < FEWEST:
        looks = {site: _not_looked_at(look) for site, look in known.items()}
    else:
        seen = _seen(knowledge, voters=voters)
        looks = {
            site: _judged(seen[site], look, number=number) if site in seen else _not_looked_at(look)
            for site, look in known.items()
        }
    early = {site for site, look in looks.items() if number < NAMED_FROM and look.gained > RENAMED_LIMIT}
    return _acted(looks, heard=set(knowledge), mode=mode, early=early)


def decided(looks: Looks, decisions: Mapping[str, str]) -> Looks:
    """Return the looks with the operator's decisions: "trusted" gives a site its weight, "aside" takes it."""
    trusted: dict[str, dict[str, Any]] = {
        "trusted": {"aside": False, "trust": 1.0},
        "aside": {"aside": True, "trust": 0.0},
    }
    return {
        site: replace(look, **trusted[decisions[site]]) if site in decisions else look for site, look in looks.items()
    }


def _not_looked_at(look: Look) -> Look:
    nothing: dict[str, Any] = dict.fromkeys(("agreement", "typical", "renamed", "swapped", "nearest"))
    return replace(look, **nothing, reasons=(), copies=())


@dataclass(frozen=True, kw_only=True)
class _Seen:
    agreement: float
    typical: float
    renamed: float
    swapped: float
    nearest: float
    flat: bool
    images: int
    copies: tuple[str, ...]


def _seen(knowledge: Mapping[str, Knowledge], *, voters: list[str]) -> dict[str, _Seen]:
    """Compare each site with the voters, those that are not put aside; of voters that say the same, with one."""
    scores = {site: log_ratios(said) for site, said in knowledge.items()}
    ranks: dict[str, Matrix] = {site: ranked(score) for site, score in scores.items()}
    pairs = correlations(ranks)
    copies = {
        site: [other for other in voters if other != site and distance(said, knowledge[other]) < COPIED]
        for site, said in knowledge.items()
    }
    voices = _one_of_each(voters, copies)
    compared = {
        site: [other for other in voices if other not in (site, *copies[site])]
        or [other for other in voters if other != site]
        for site in knowledge
    }
    agreement = {site: upper_median([pairs[site][other] for other in compared[site]]) for site in knowledge}
    typical = upper_median([agreement[site] for site in voices])
    found = {}
    for site in knowledge:
        others = compared[site]
        some = others[:: -(-len(others) // MOST_COMPARED)]  # evenly, in the order of their names
        fits = fits_of(ranks[site], [ranks[other] for other in some])
        found[site] = _Seen(
            agreement=agreement[site],
            typical=typical,
            renamed=renamed(fits),
            swapped=swapped(fits),
            nearest=nearest(ranks[site], [ranks[other] for other in others]),
            flat=is_flat(scores[site]),
            images=knowledge[site].subject.public_count,
            copies=tuple(copies[site]),
        )
    return found


def _one_of_each(voters: list[str], copies: Mapping[str, list[str]]) -> list[str]:
    """Return the voters without those that say the same as an earlier one; all where too few would be left."""
    voices: list[str] = []
    for site in voters:
        if not set(copies[site]) & set(voices):
            voices.append(site)
    return voices if len(voices) >= FEWEST else voters


def _judged(seen: _Seen, before: Look, *, number: int) -> Look:
    behind = seen.typical - seen.agreement
    short = max(0.0, before.short + behind - SLACK)
    sum_before = before.gained if number > 1 else 0.0  # before the first lesson honest networks gain by chance
    gained = max(0.0, sum_before + seen.renamed - RENAMED_SLACK) if behind > BEHIND else 0.0
    reasons = []
    if short > LIMIT:
        reasons.append(f"agrees {seen.agreement:.2f} with the others, who agree {seen.typical:.2f} among themselves")
    if number >= NAMED_FROM and gained > RENAMED_LIMIT:
        reasons.append(f"other names for its classes would fit better by {seen.renamed:.2f}")
    elif number and seen.typical >= AGREED and seen.swapped > SWAPPED:
        reasons.append(f"two of its classes would fit better by {seen.swapped:.2f} under each other's name")
    if seen.flat:
        reasons.append("says the same of every image")
    elif seen.images >= ENOUGH and seen.nearest < NOTHING:
        reasons.append(f"says no class as any other site says it ({seen.nearest:.2f} at best)")
    return replace(
        before,
        agreement=seen.agreement,
        typical=seen.typical,
        renamed=seen.renamed,
        swapped=seen.swapped,
        nearest=seen.nearest,
        short=short,
        gained=gained,
        reasons=tuple(reasons),
        copies=seen.copies,
        first=number if (reasons or seen.copies) and before.first is None else before.first,
    )


def _acted(looks: Looks, *, heard: set[str], mode: str, early: set[str]) -> Looks:
    """Return how far each site is trusted. Where half of those heard would be doubted, nobody is.

    Those that it is too early to name are doubted in this lesson alone.
    """
    doubted = {site for site, look in looks.items() if look.reasons}
    gone = {site for site, look in looks.items() if look.aside}
    too_many = 2 * len((doubted | early | gone) & heard) >= len(heard)
    found = {}
    for site, look in looks.items():
        aside = look.aside or (mode == "put_aside" and site in doubted and not too_many)
        trust = 0.0 if aside else 1.0
        if not aside and mode in ACTING:
            trust = HALVED if look.copies else 1.0
            if site in doubted | early and not too_many:
                trust = 0.0 if mode == "put_aside" else DOUBTED
        found[site] = replace(look, aside=aside, trust=trust)
    return found
