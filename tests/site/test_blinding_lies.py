"""Blind sums with a server or a site that lies: too much asked for, a false name, wrong messages."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.blind import SITES, Blind
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.methods.blind import NoSum
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.masked import BlindTeaching, Masked, Opened, Opening
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.pledges import BlindRoll, Pledge
from mdhfl.site.log import reason_of
from mdhfl.swarm.keys import SigningKey

# who asks for too much


def test_a_live_site_that_the_server_calls_absent_is_not_unmasked(tmp_path: Path) -> None:
    """The classic attack: the others are to give the seeds in common with it, and it is to give its own mask's."""
    blind = Blind(tmp_path)
    masked = blind.masked()
    victim = "site-2"
    blind.lessons(masked)  # everybody has helped, with the victim in the sum
    without = {site: said if site != victim else said.pledge for site, said in masked.shared.items()}  # type: ignore[attr-defined]
    with pytest.raises(NoSum, match=r"got 0 \(.*has helped to open another sum of round 0"):
        blind.lessons(replace(masked, shared=without))
    fresh = Blind(tmp_path / "fresh")
    masked = fresh.masked()
    without = {site: said if site != victim else said.pledge for site, said in masked.shared.items()}  # type: ignore[attr-defined]
    assert set(fresh.lessons(replace(masked, shared=without))) == set(SITES)  # the sum without it: that is all
    _, opening = fresh.asked[-1]
    assert isinstance(opening, Opening)
    assert "its numbers are not in the sum that it is asked to open" in fresh.say(victim, "reveal", opening).refusal
    with pytest.raises(NoSum, match="has helped to open another sum"):
        fresh.lessons(masked)


def threshold(members: int) -> int:
    return BlindRoll(round=0, pledges=dict.fromkeys(map(str, range(members)))).threshold  # type: ignore[arg-type]


@pytest.mark.parametrize("n", range(2, 12))
def test_no_two_sums_that_differ_by_one_site_can_both_be_opened(n: int) -> None:
    """Who helps with both would be honest: also if one of the sites is the server's, and helps with everything."""
    assert threshold(n) <= n
    assert 2 * threshold(n) - n >= 2  # two sums of one roll: two help with both, so an honest one
    if n > 2:
        assert threshold(n) + threshold(n - 1) - n >= 2


@settings(max_examples=300, deadline=None)
@given(data=st.data(), servers=st.booleans())
def test_no_sums_of_a_round_however_combined_give_one_sites_numbers(data: st.DataObject, servers: bool) -> None:
    """Sums over any sites, each opened by as many as it takes, no honest one twice; one site may be the server's."""
    sites = range(data.draw(st.integers(3, 9)))
    left, sums = set(sites) - ({0} if servers else set()), []
    for _ in range(data.draw(st.integers(1, 4))):
        members = data.draw(st.sets(st.sampled_from(sites), min_size=3))
        needed = threshold(len(members)) - (1 if servers and 0 in members else 0)
        helpers = sorted(members & left)[:needed]
        if len(helpers) == needed:
            left -= set(helpers)
            sums.append([float(site in members) for site in sites])
    known = [[float(site == 0) for site in sites]] if servers else []
    rank = np.linalg.matrix_rank(np.array([*sums, *known])) if sums else 0
    for x in range(int(servers), len(sites)):
        alone = [float(site == x) for site in sites]
        assert not sums or np.linalg.matrix_rank(np.array([*sums, *known, alone])) == rank + 1


def test_too_small_a_set_of_sites_is_not_opened(tmp_path: Path) -> None:
    blind = Blind(tmp_path, sites=tuple(f"site-{i}" for i in range(1, 7)))
    masked = blind.masked()
    roll = BlindRoll(round=0, pledges={s: said.pledge for s, said in masked.shared.items()})  # type: ignore[attr-defined]
    assert roll.threshold == 4
    for count, said in ((3, "expected a sum of at least 4 of 6 sites, got 3"), (2, "of at least 3 sites")):
        sites = roll.members[:count]
        opening = Opening(
            round=0, roll=roll, sites=tuple(sites), sealed=np.zeros((count, 6, 7 - count, 48), dtype=np.uint8)
        )
        assert said in blind.say("site-1", "reveal", opening).refusal


def test_shares_sealed_for_another_place_reader_or_sum_are_not_given(tmp_path: Path) -> None:
    """A server that swaps ciphertexts, to be given a share that it has not asked for by name."""
    blind = Blind(tmp_path)
    masked = blind.masked()
    blind.lessons(masked)
    _, opening = blind.asked[-1]
    assert isinstance(opening, Opening)
    whole = np.stack([masked.shared[site].sealed for site in SITES])  # type: ignore[attr-defined]
    own = SITES.index("site-1")
    for dealer, reader, place in ((0, own, 1), (0, 1, 0), (1, own, 0), (1, own, 2)):
        wrong = opening.sealed.copy()
        wrong[0, own, 0] = whole[dealer, reader, place]
        shared = blind.say("site-1", "reveal", replace(opening, sealed=wrong)).shared
        assert isinstance(shared, Opened)
        assert not shared.shares[0, 0].any()
        assert shared.shares[1:].any(axis=2).all()
        assert "what site 'site-1' sealed for this one cannot be read" in str(blind.noted[-1])


def test_fewer_than_two_sites_and_sums_of_two_are_refused_unless_the_site_allows_them(tmp_path: Path) -> None:
    two = ("site-1", "site-2")
    blind = Blind(tmp_path, sites=two)
    with pytest.raises(NoSum, match=r"expected at least 2 of 2 sites .* got 0 \(.*of at least 3 sites \(minimum_sites"):
        blind.masked()
    with pytest.raises(NoSum, match="got 1"):
        Blind(tmp_path, sites=two[:1], minimum=2).masked()
    generous = Blind(tmp_path, sites=two, minimum=2)
    lesson = generous.read("site-1", generous.lessons(generous.masked())["site-1"])
    np.testing.assert_allclose(lesson.values, generous.plain(two).values, atol=1e-6)  # type: ignore[attr-defined]


def test_too_few_sites_is_a_reason_of_its_own(tmp_path: Path) -> None:
    blind = Blind(tmp_path)
    roll = BlindRoll(round=0, pledges=dict(blind.pledged().shared))  # type: ignore[arg-type]
    own = blind.knowledge("site-1")
    with pytest.raises(ValueError, match="at least 5 sites") as error:
        blind.part("site-1", minimum=5).masked(roll, own, numbers=own.values, largest=1.01)
    assert reason_of(error.value)[0] == "too_few_sites"


# who is who


def test_a_key_that_is_not_the_sites_is_refused_by_all_others(tmp_path: Path) -> None:
    """A server that puts itself in the middle: its own key for a site's, with whatever signature it can make."""
    blind = Blind(tmp_path)
    blind.lessons(blind.masked())  # keys have been seen
    blind.number = 1
    roll = BlindRoll(round=1, pledges=dict(blind.pledged().shared))  # type: ignore[arg-type]
    honest = roll.pledges["site-2"]
    servers = SigningKey.create()
    subject = blind.knowledge("site-2").subject
    forged = replace(honest, identity=servers.public)
    signed = replace(forged, signature=servers.sign(forged.signed(experiment="x", subject=subject)))
    for wrong, said in (
        (replace(honest, key="ab" * 32), "expected one that it has signed for round 1"),
        (forged, "expected one that it has signed for round 1"),
        (signed, r"has signing key"),
        (replace(honest, key=roll.pledges["site-3"].key), "have the same key"),
        (replace(roll.pledges["site-3"], site="site-2"), "have the same key"),
    ):
        middle = replace(roll, pledges={**roll.pledges, "site-2": wrong})
        for site in ("site-1", "site-3", "site-4"):
            assert said in blind.say(site, "commit", middle).refusal


def test_a_pledge_of_an_earlier_round_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    blind = Blind(tmp_path)
    old = blind.pledged().shared["site-2"]
    blind.number = 1
    roll = BlindRoll(round=1, pledges={**blind.pledged().shared, "site-2": replace(old, round=1)})  # type: ignore[arg-type, type-var]
    assert "expected one that it has signed for round 1" in blind.say("site-1", "commit", roll).refusal
    assert isinstance(old, Pledge)
    with pytest.raises(MessageError, match="signed for round 0"):
        old.check(experiment="another", subject=blind.knowledge("site-2").subject)
    other_subject = replace(blind.knowledge("site-2").subject, public_digest="cd" * 32)
    with pytest.raises(MessageError, match="signed for round 0"):
        old.check(experiment="x", subject=other_subject)


def test_with_partners_listed_nobody_else_can_be_invented(tmp_path: Path) -> None:
    """A server that makes up sites could subtract them, so that the rest is one site's: the list ends that."""
    blind = Blind(tmp_path, sites=("site-1", "site-2", "site-3"))
    keys = {site: blind.part(site).key.public for site in blind.sites}
    roll = BlindRoll(round=0, pledges=dict(blind.pledged().shared))  # type: ignore[arg-type]
    own = blind.knowledge("site-1")
    numbers = own.values.astype(np.float64)
    listed = blind.part("site-1", partners={s: k for s, k in keys.items() if s != "site-1"})
    assert listed.masked(roll, own, numbers=numbers, largest=1.01)
    for partners in ({"site-2": keys["site-2"]}, {"site-2": keys["site-2"], "site-3": "ab" * 32}):
        with pytest.raises(ValueError, match=r"site 'site-3' has signing key .*\"partners\" in site.json has"):
            blind.part("site-1", partners=partners).masked(roll, own, numbers=numbers, largest=1.01)


# wrong messages


def with_part(masked: Masked, **changes: Any) -> Masked:
    return replace(masked, **changes)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda m: with_part(m, values=m.values[:-1]), r"expected shape \(7, 3\) and 4 members, got \(6, 3\)"),
        (lambda m: with_part(m, roll="ab" * 32), "expected them for blind sum"),
        (lambda m: with_part(m, pledge=replace(m.pledge, key="ab" * 32)), "expected those of its pledge"),
        (
            lambda m: with_part(m, sealed=m.sealed[:3, :3], checks=m.checks[:3, :3], veils=m.veils[:3]),
            "and 4 members, got .* and 3",
        ),
        (lambda m: Opened(roll=m.roll, shares=np.zeros((4, 1, 32), np.uint8), site=m.site, round=0), "expected masked"),
        (lambda m: None, "expected masked of site 'site-2'"),
    ],
)
def test_wrong_numbers_leave_their_site_out_and_nobody_else(tmp_path: Path, wrong: Any, said: str) -> None:
    def spoil(site: str, action: str, answer: Answer) -> Answer:
        return replace(answer, shared=wrong(answer.shared)) if (site, action) == ("site-2", "commit") else answer

    blind = Blind(tmp_path, spoil=spoil)
    lesson = blind.lessons(blind.masked())["site-1"]
    assert isinstance(lesson, BlindTeaching)
    assert lesson.sites == ("site-1", "site-3", "site-4")
    found = blind.read("site-1", lesson)
    np.testing.assert_allclose(found.values, blind.plain(lesson.sites).values, atol=1e-6)  # type: ignore[attr-defined]
    with pytest.raises(NoSum, match=said):
        Blind(tmp_path / "few", gone={"commit": ("site-1",)}, spoil=spoil).masked()


def test_who_lies_about_a_share_is_found_out_and_the_sum_is_right(tmp_path: Path) -> None:
    def lie(site: str, action: str, answer: Answer) -> Answer:
        if (site, action) != ("site-1", "reveal") or not isinstance(answer.shared, Opened):
            return answer
        wrong = answer.shared.shares.copy()
        wrong[2, 0, 5] ^= 1
        return replace(answer, shared=replace(answer.shared, shares=wrong))

    blind = Blind(tmp_path, spoil=lie)
    masked = blind.masked()
    found = blind.read("site-1", blind.lessons(masked)["site-1"])
    np.testing.assert_allclose(found.values, blind.plain(SITES).values, atol=1e-6)  # type: ignore[attr-defined]
    blind.gone = {"reveal": ("site-4",)}
    assert blind.lessons(masked) == {}  # two shares are left that its dealer gave: too few, and the round goes on


@pytest.mark.parametrize("part", ["sealed", "checks", "veils", "values"])
def test_a_site_that_spoils_its_part_costs_the_others_a_lesson_and_no_more(tmp_path: Path, part: str) -> None:
    """Nobody can tell nonsense from masked numbers: what comes of it is a round in which everybody trains alone."""

    def spoil(site: str, action: str, answer: Answer) -> Answer:
        if (site, action) != ("site-3", "commit") or not isinstance(answer.shared, Masked):
            return answer
        return replace(answer, shared=replace(answer.shared, **{part: ~getattr(answer.shared, part)}))

    blind = Blind(tmp_path, spoil=spoil)
    lessons = blind.lessons(blind.masked())
    assert (lessons == {}) == (part in ("sealed", "checks"))
    if lessons:
        with pytest.raises(MessageError, match="cannot be read" if part == "veils" else "does not hold|rows that sum"):
            blind.read("site-1", lessons["site-1"])
    if part in ("sealed", "veils"):
        assert all("what site 'site-3' sealed for this one cannot be read" in str(error) for error in blind.noted)
    blind.spoil, blind.number = (lambda site, action, answer: answer), 1
    assert set(blind.lessons(blind.masked())) == set(SITES)


@pytest.mark.parametrize("change", ["veil", "values", "roll", "own", "size"])
def test_a_broadcast_that_is_not_the_sum_is_refused_at_the_site(tmp_path: Path, change: str) -> None:
    blind = Blind(tmp_path)
    lesson = blind.lessons(blind.masked())["site-1"]
    assert isinstance(lesson, BlindTeaching)
    own = blind.knowledge("site-1").values
    swapped = {**lesson.roll.pledges, "site-1": lesson.roll.pledges["site-2"]}
    wrong = {
        "veil": lambda: replace(lesson, veils=lesson.veils[::-1].copy()),
        "values": lambda: replace(lesson, values=lesson.values + np.uint32(2**20)),
        "roll": lambda: replace(lesson, roll=replace(lesson.roll, pledges=swapped)),
        "own": lambda: replace(lesson, values=lesson.values - (own * 2**28).astype(np.uint32) * np.uint32(3)),
        "size": lambda: replace(lesson, values=lesson.values[:-2]),
    }[change]()
    said = {
        "veil": "cannot be read",
        "values": "rows that sum to 4|does not hold",
        "roll": "names this site with another pledge",
        "own": "the blind sum does not hold what this site added|rows that sum to",
        "size": r"expected a blind sum of shape \(7, 3\), got \(5, 3\)",
    }[change]
    with pytest.raises(ValueError, match=said):
        blind.read("site-1", wrong)


def test_a_plain_teaching_in_a_blind_experiment_is_refused(tmp_path: Path) -> None:
    blind = Blind(tmp_path)
    with pytest.raises(ValueError, match="expected a blind teaching, got teaching"):
        blind.read("site-1", blind.plain(SITES))
