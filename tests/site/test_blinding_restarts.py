"""Blind sums at a site that restarts, is restored from a backup, or has lost what it knew."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.blind import SITES, Blind

from mdhfl.methods.blind import NoSum
from mdhfl.sharing.masked import Masked
from mdhfl.site.blinding import NOTES
from mdhfl.swarm.keys import FILE


def test_everything_is_said_again_alike_after_a_restart(tmp_path: Path) -> None:
    """Sites say the same, from their disks; a server that has lost what it had opened opens the same sum again."""
    first, again = Blind(tmp_path), Blind(tmp_path)
    one, other = first.masked(), again.masked()
    for site in SITES:
        a, b = one.shared[site], other.shared[site]
        assert isinstance(a, Masked)
        assert isinstance(b, Masked)
        for name in ("values", "sealed", "checks", "veils"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    lessons = [blind.lessons(round_)["site-1"] for blind, round_ in ((first, one), (again, other))]
    np.testing.assert_array_equal(lessons[0].values, lessons[1].values)  # type: ignore[attr-defined]


def test_other_knowledge_is_never_masked_alike(tmp_path: Path) -> None:
    """A round that is done again with another lesson: the difference of two masked answers must tell nothing."""
    before = Blind(tmp_path).masked().shared["site-1"]
    after = Blind(tmp_path, seed=1).masked().shared["site-1"]
    assert isinstance(before, Masked)
    assert isinstance(after, Masked)
    assert before.pledge.key != after.pledge.key
    bits = np.unpackbits((before.values - after.values).view(np.uint8)).mean()
    assert 0.4 < bits < 0.6  # of a difference without masks, most high bits are alike
    nearby = np.abs((before.values - after.values).view(np.int32)) < 2**29
    assert nearby.mean() < 0.6


def test_a_site_restored_from_a_backup_says_so_and_the_others_still_refuse(tmp_path: Path) -> None:
    blind = Blind(tmp_path)
    masked = blind.masked()
    backup = (tmp_path / "site-1" / "x" / NOTES).read_text()
    blind.lessons(masked)
    (tmp_path / "site-1" / "x" / NOTES).write_text(backup)  # it has forgotten that it helped
    without = {site: said if site != "site-2" else said.pledge for site, said in masked.shared.items()}  # type: ignore[attr-defined]
    with pytest.raises(NoSum, match="got 1"):
        blind.lessons(replace(masked, shared=without))
    assert set(blind.lessons(blind.masked())) == set(SITES)  # without its help, which it has given to the other sum


def test_a_site_whose_state_is_older_than_the_sum_is_named(tmp_path: Path) -> None:
    blind = Blind(tmp_path, number=1)
    lesson = blind.lessons(blind.masked())["site-1"]
    old = Blind(tmp_path, number=0)
    with pytest.raises(ValueError, match=r"of round 1, but it has kept its knowledge of round 0; was its state folder"):
        old.part("site-1").read(lesson, old.knowledge("site-1"), largest=1.01)  # type: ignore[arg-type]
    other = Blind(tmp_path, number=1, seed=1)
    with pytest.raises(ValueError, match="with another pledge than its own"):
        other.part("site-1").read(lesson, other.knowledge("site-1"), largest=1.01)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="but it has kept nothing"):
        old.part("site-1").read(lesson, None, largest=1.01)  # type: ignore[arg-type]


def test_a_site_that_has_lost_its_key_is_another_one_to_the_others(tmp_path: Path) -> None:
    blind = Blind(tmp_path)
    blind.lessons(blind.masked())
    (tmp_path / "site-2" / FILE).unlink()
    blind.number = 1
    with pytest.raises(NoSum, match=r"site 'site-2' has signing key .*ask that site for its key by telephone"):
        blind.masked()


def test_damaged_notes_are_named(tmp_path: Path) -> None:
    blind = Blind(tmp_path)
    blind.masked()
    path = tmp_path / "site-1" / "x" / NOTES
    path.write_text(json.dumps({"identities": []}))
    refusal = blind.say("site-1", "commit", blind.asked[0][1]).refusal
    assert f"{path}: expected a site's notes on blind sums" in refusal
