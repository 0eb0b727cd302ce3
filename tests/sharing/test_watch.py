"""The watch: who stands out, who does not, what follows, and what it remembers."""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes.watched import CLASSES, IMAGES, SITES, honest

from experiments.attacks import ATTACKS
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.watch import (
    BEHIND,
    DOUBTED,
    HALVED,
    LIMIT,
    NOBODY,
    RENAMED_LIMIT,
    RENAMED_SLACK,
    SLACK,
    Look,
    Looks,
    decided,
    watched,
)

SUBJECT = Subject(
    kind="probabilities", public_digest="0" * 64, public_count=IMAGES, classes=tuple(f"c{c}" for c in range(CLASSES))
)
FOUR = SITES


def knowledge(site: str, values: Any, number: int) -> Knowledge:
    return Knowledge(values=np.asarray(values, np.float32), subject=SUBJECT, site=site, round=number)


def rounds_of(
    attack: str | None,
    *,
    mode: str = "tell",
    sites: tuple[str, ...] = FOUR,
    bad: tuple[str, ...] = ("d",),
    last: int = 6,
) -> list[Looks]:
    """Return the looks of rounds 0, 1, ... in which some sites attack."""
    looks, found = NOBODY, []
    for number in range(last + 1):
        rows = {site: honest(site, number) for site in sites}
        others = {site: values for site, values in rows.items() if site not in bad}
        for site in bad if attack else ():
            random = np.random.default_rng([number, ord(site)])
            rows[site] = ATTACKS[attack or ""](rows[site], number, others, random)
        shared = {site: knowledge(site, values, number) for site, values in rows.items()}
        looks = watched(shared, before=looks, sites=sites, number=number, mode=mode)
        found.append(looks)
    return found


def test_honest_sites_with_very_different_classes_do_not_stand_out() -> None:
    for looks in rounds_of(None):
        assert not any(look.stands_out for look in looks.values())
        assert all(look.trust == 1 for look in looks.values())


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name not in ("copy", "slow drift")])
def test_who_poisons_is_named_within_two_rounds_and_nobody_else(attack: str) -> None:
    found = rounds_of(attack)
    assert any(looks["d"].reasons for looks in found[:3])
    assert not any(looks[site].stands_out for looks in found for site in "abc")


def test_a_slow_drift_adds_up() -> None:
    found = rounds_of("slow drift")
    first = found[-1]["d"].first
    assert first is not None
    assert 1 <= first <= 4
    shorts = [looks["d"].short for looks in found]
    for looks, before, now in zip(found[1:], shorts, shorts[1:], strict=False):
        look = looks["d"]
        assert look.typical is not None
        assert look.agreement is not None
        assert now == pytest.approx(max(0.0, before + look.typical - look.agreement - SLACK))
    assert shorts[-1] > LIMIT


def test_what_other_names_would_gain_adds_up_from_the_first_lesson_on() -> None:
    found = [looks["d"] for looks in rounds_of("slow drift")]
    for number, (before, look) in enumerate(itertools.pairwise(found), start=1):
        assert look.renamed is not None
        assert look.typical is not None
        assert look.agreement is not None
        sum_now = (before.gained if number > 1 else 0.0) + look.renamed - RENAMED_SLACK
        assert look.gained == pytest.approx(max(0.0, sum_now) if look.typical - look.agreement > BEHIND else 0.0)
        assert any("other names" in reason for reason in look.reasons) == (number > 1 and look.gained > RENAMED_LIMIT)
    assert found[-1].gained > RENAMED_LIMIT


def test_of_two_that_say_the_same_nobody_can_tell_the_copy() -> None:
    for mode, trust in (("tell", 1.0), ("weigh", HALVED), ("put_aside", HALVED)):
        looks = rounds_of("copy", mode=mode)[2]
        assert looks["a"].copies == ("d",)
        assert looks["d"].copies == ("a",)
        assert {site: look.trust for site, look in looks.items()} == {"a": trust, "b": 1.0, "c": 1.0, "d": trust}
        assert not looks["d"].aside


def test_two_that_say_the_same_count_as_one_when_others_are_judged() -> None:
    """A copy would else speak for the site that it copies against all who differ from that one."""
    without = rounds_of(None, sites=("a", "b", "c"))
    for looks, three in zip(rounds_of("copy"), without, strict=True):
        for site in "abc":
            assert looks[site].agreement == pytest.approx(three[site].agreement)
            assert looks[site].typical == pytest.approx(three[site].typical)
        assert looks["d"].agreement == pytest.approx(looks["a"].agreement, abs=0.01)


@pytest.mark.parametrize("sites", [("a", "b", "d"), ("a", "b", "c", "d")])
def test_where_all_say_the_same_each_is_still_compared(sites: tuple[str, ...]) -> None:
    shared = {site: knowledge(site, honest("a", 1), 1) for site in sites}
    looks = watched(shared, before=NOBODY, sites=sites, number=1, mode="put_aside")
    for site, look in looks.items():
        assert look.agreement == pytest.approx(1.0)
        assert look.copies == tuple(other for other in sites if other != site)
        assert not look.aside


@pytest.mark.parametrize(("mode", "trust"), [("tell", 1.0), ("weigh", DOUBTED), ("put_aside", 0.0)])
@pytest.mark.parametrize("number", [0, 1])
def test_who_seems_to_have_renamed_its_classes_before_two_lessons_is_unnamed_but_left_out_of_one(
    number: int, mode: str, trust: float
) -> None:
    """Networks that have learned little agree too little to name anybody."""
    said = {site: honest(site, number, noise=0.95) for site in FOUR}
    said["d"] = said["d"][:, [1, 2, 3, 4, 0, 5]]
    shared = {site: knowledge(site, values, number) for site, values in said.items()}
    first = watched(shared, before=NOBODY, sites=FOUR, number=number, mode=mode)
    assert not first["d"].reasons
    assert not first["d"].aside
    assert {site: look.trust for site, look in first.items()} == {"a": 1.0, "b": 1.0, "c": 1.0, "d": trust}
    well = {site: knowledge(site, honest(site, number + 1), number + 1) for site in FOUR}
    assert watched(well, before=first, sites=FOUR, number=number + 1, mode=mode)["d"].trust == 1.0


def test_two_of_five_that_collude_are_named() -> None:
    found = rounds_of("permuted", sites=("a", "b", "c", "d", "e"), bad=("d", "e"))
    assert all(found[1][site].reasons for site in "de")
    assert not any(looks[site].stands_out for looks in found for site in "abc")


def test_who_stands_out_is_weighed_or_put_aside_until_decided() -> None:
    assert rounds_of("permuted", mode="weigh")[2]["d"].trust == DOUBTED
    looks = rounds_of("permuted", mode="put_aside", last=2)[-1]
    assert looks["d"].aside
    assert looks["d"].trust == 0
    well = {site: knowledge(site, honest(site, 3), 3) for site in FOUR}
    again = watched(well, before=looks, sites=FOUR, number=3, mode="put_aside")
    assert again["d"].aside, "being honest again is not the operator's decision"
    freed = decided(again, {"d": "trusted"})["d"]
    assert (freed.aside, freed.trust) == (False, 1.0)
    gone = decided(again, {"a": "aside"})["a"]
    assert (gone.aside, gone.trust) == (True, 0.0)


@pytest.mark.parametrize("mode", ["weigh", "put_aside"])
def test_where_half_would_be_doubted_nobody_is(mode: str) -> None:
    for looks in rounds_of("random rows", mode=mode, bad=("c", "d")):
        assert all(look.trust == 1 and not look.aside for look in looks.values())


def test_fewer_than_three_sites_are_not_looked_at() -> None:
    shared = {site: knowledge(site, honest(site, 1), 1) for site in "ab"}
    looks = watched(shared, before=NOBODY, sites=("a", "b", "c"), number=1, mode="put_aside")
    assert all(look.agreement is None and look.trust == 1 for look in looks.values())


def test_a_site_that_was_away_is_remembered() -> None:
    looks = rounds_of("permuted", mode="put_aside", last=2)[-1]
    for number in (3, 4):
        shared = {site: knowledge(site, honest(site, number), number) for site in "abc"}
        looks = watched(shared, before=looks, sites=FOUR, number=number, mode="put_aside")
        assert looks["d"].agreement is None
        assert not looks["d"].stands_out
        assert looks["d"].aside
    assert looks["d"].short > LIMIT


def test_the_operator_is_told_what_stands_out_and_what_follows() -> None:
    assert Look().told == []
    assert Look(trust=0.0).told == ["has 0 of its weight in the next lesson"]
    named = Look(reasons=("says the same of every image",), trust=DOUBTED)
    assert named.told == ["stands out: says the same of every image", "has 0.1 of its weight in the next lesson"]
    assert replace(named, aside=True, trust=0.0).told[1:] == ["is put aside: it teaches nobody"]
    assert Look(copies=("b",)).told == ["stands out: says the same as b"]


def test_competences_play_no_part() -> None:
    one = {site: knowledge(site, honest(site, 1), 1) for site in FOUR}
    told = {site: replace(k, competences=np.full(CLASSES, 0.5, np.float32)) for site, k in one.items()}
    assert watched(one, before=NOBODY, sites=FOUR, number=1, mode="tell") == watched(
        told, before=NOBODY, sites=FOUR, number=1, mode="tell"
    )


def test_the_memory_survives_a_file_to_the_last_bit() -> None:
    for look in rounds_of("two swapped")[-1].values():
        assert Look.from_plain(json.loads(json.dumps(look.to_plain()))) == look


def test_one_of_many_is_named_and_nobody_else() -> None:
    sites = tuple(chr(97 + k) for k in range(26))
    found = rounds_of("permuted", sites=sites, bad=("z",), last=1)[-1]
    assert {site for site, look in found.items() if look.stands_out} == {"z"}


def test_off_sees_nothing() -> None:
    shared = {site: knowledge(site, honest(site, 1), 1) for site in FOUR}
    assert watched(shared, before=NOBODY, sites=FOUR, number=1, mode="off") == {}
    assert watched({}, before=NOBODY, sites=FOUR, number=1, mode="tell") == {}
