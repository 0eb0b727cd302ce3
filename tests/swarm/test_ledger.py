"""The ledger is verified on reading: whatever was changed, moved, left out, absurd or signed by another is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.swarms import KEYS, SITES, drawn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.signatures import is_signed
from mdhfl.sharing.turns import MergeTurn
from mdhfl.swarm.keys import SigningKey, load_or_create_key
from mdhfl.swarm.ledger import Entry, Ledger, LedgerError


def merged(ledger: Ledger, *, number: int, turn: MergeTurn | None = None, key: SigningKey | None = None) -> Ledger:
    turn = turn or drawn(number=number)
    shares = dict.fromkeys(turn.commitments, "ab" * 32)
    return ledger.merge(turn, shares=shares, merged={"l": "cd" * 32}, key=key or KEYS[turn.leader])


def ledger_of(rounds: int = 3) -> Ledger:
    ledger = Ledger("x")
    for number in range(rounds):
        ledger = merged(ledger, number=number)
    return ledger


def load(path: Path, *, newest: int = 9) -> Ledger:
    return Ledger.load(path, experiment="x", newest=newest)


@given(st.integers(0, 6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=6)
def test_what_was_saved_is_read_again(tmp_path: Path, rounds: int) -> None:
    ledger = ledger_of(rounds)
    ledger.save(tmp_path / "ledger.jsonl")
    again = load(tmp_path / "ledger.jsonl")
    assert again == ledger
    assert again.head == ledger.head
    assert again.keys == ({site: key.public for site, key in KEYS.items()} if rounds else {})


def test_a_missing_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert load(tmp_path / "none").entries == ()


def places_in(value: Any, trail: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in an entry, itself included."""
    found = [trail] if trail else []
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        found += places_in(part, (*trail, name))
    return found


PLACES = places_in(json.loads(json.dumps(ledger_of(1).entries[0].to_json())))
ABSURD = st.one_of(
    st.sampled_from([None, True, False, "9", float("nan"), float("inf"), -1, 10**9, 10**400, 1.5, [], {}, "", "0" * 9]),
    st.integers(), st.text(max_size=10), st.recursive(st.none(), lambda part: st.lists(part, max_size=2)),
)  # fmt: skip


@given(entry=st.integers(0, 2), place=st.sampled_from(PLACES), value=ABSURD)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_every_changed_value_is_refused_and_its_line_named(
    tmp_path: Path, entry: int, place: tuple[Any, ...], value: Any
) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger_of().save(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    where = lines[entry]
    for name in place[:-1]:
        where = where[name]
    if where[place[-1]] == value and type(where[place[-1]]) is type(value):
        return
    where[place[-1]] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(LedgerError, match=rf"(?s){path}, line {entry + 1}: .*restore the file"):
        load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [lines[0], lines[2], lines[1]], "line 2: entry 2 .*reordered"),
        (lambda lines: [lines[0], lines[2]], "line 2: entry 2 .*missing"),
        (lambda lines: [lines[0], lines[0]], "line 2: entry 0 .*repeated"),
        (lambda lines: [*lines, "garbage"], "line 4: expected an entry as JSON"),
        (lambda lines: [*lines, '{"index": 6}'], "line 4: ledger entry: expected the fields index, merged"),
        (
            lambda lines: [*lines, "[" * 100_000],
            "line 4: expected an entry as JSON, got something else .RecursionError",
        ),
        (lambda lines: [*lines, "9" * 10_000], "line 4: expected an entry as JSON, got something else .ValueError"),
        (lambda lines: [*lines, "\udcff"], "line 4: expected an entry as JSON, got something else .UnicodeDecodeError"),
    ],
)
def test_moved_missing_and_foreign_lines_are_named(tmp_path: Path, change: Any, said: str) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger_of().save(path)
    text = "\n".join(change(path.read_text().splitlines())) + "\n"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(LedgerError, match=f"{path}, {said}"):
        load(path)


def test_a_ledger_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(LedgerError, match=r"ledger.jsonl, line 1: .*IsADirectoryError"):
        load(tmp_path / "ledger.jsonl")


def test_a_ledger_belongs_to_one_experiment(tmp_path: Path) -> None:
    ledger_of().save(tmp_path / "ledger.jsonl")
    with pytest.raises(LedgerError, match="another experiment's"):
        Ledger.load(tmp_path / "ledger.jsonl", experiment="y", newest=9)
    with pytest.raises(LedgerError, match="the commitment of 'site-1' is not signed with its key"):
        merged(Ledger("x"), number=0, turn=drawn(experiment="y"))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_rounds_out_of_order_are_refused(number: int) -> None:
    with pytest.raises(LedgerError, match=f"merges round {number} after round 2"):
        merged(ledger_of(3), number=number)


def test_a_round_of_the_future_is_refused(tmp_path: Path) -> None:
    """All of it is signed, and drawn as it must be: it is only too early."""
    ledger = merged(ledger_of(2), number=10**9)
    ledger.save(tmp_path / "ledger.jsonl")
    with pytest.raises(LedgerError, match=r"line 3: entry 2 .*merges round 1000000000, and the last .* is 5"):
        load(tmp_path / "ledger.jsonl", newest=5)
    with pytest.raises(LedgerError, match="the last that can be merged is 5"):
        ledger_of(2).extend(ledger.entries[2:], newest=5)


@pytest.mark.parametrize("number", ["9", 9.0, float("nan"), True, None, -1, 2**70, [9]])
def test_a_round_that_is_no_number_of_a_round_is_refused(number: Any) -> None:
    wire = ledger_of(1).entries[0].to_json()
    wire["turn"]["round"] = wire["turn"]["roll"]["round"] = number
    with pytest.raises(LedgerError, match=r"roll's round: expected a whole number"):
        Entry.from_json(wire)


def test_a_member_cannot_enter_a_merge_that_it_was_not_drawn_to_lead() -> None:
    """It signs properly with its own key; the draw in the entry says that another leads."""
    turn = drawn(number=3)
    other = next(site for site in SITES if site != turn.leader)
    with pytest.raises(LedgerError, match="not signed by its leader"):
        merged(ledger_of(3), number=3, turn=turn, key=KEYS[other])


def test_a_member_cannot_draw_by_itself() -> None:
    """One site with the keys of all others invented, or a few among themselves, enter nothing."""
    invented = {site: KEYS[site] if site == "site-1" else SigningKey.create() for site in SITES}
    with pytest.raises(LedgerError, match="'site-2' has another key than in the ledger"):
        merged(ledger_of(2), number=2, turn=drawn(number=2, keys=invented), key=KEYS["site-1"])
    with pytest.raises(LedgerError, match="expected at least 2 of 3 sites to merge, got 1"):
        merged(ledger_of(2), number=2, turn=drawn(number=2, sites=["site-1"]))
    with pytest.raises(LedgerError, match="expected the experiment's sites site-1, site-2, site-3, got site-1, site-2"):
        merged(ledger_of(2), number=2, turn=drawn(number=2, sites=SITES[:2], roster=SITES[:2]))


def test_a_number_that_was_not_committed_to_is_refused() -> None:
    turn = drawn(number=2)
    forged = MergeTurn.of(turn.roll, turn.commitments, {**turn.nonces, "site-2": "00" * 32})
    with pytest.raises(LedgerError, match="the number of 'site-2' is not the one that it committed to"):
        merged(ledger_of(2), number=2, turn=forged)
    with pytest.raises(MessageError, match="expected a commitment of each site of its roll"):
        MergeTurn.from_wire({**turn.to_wire(), "commitments": {}})


def test_only_members_share() -> None:
    turn = drawn(number=0)
    with pytest.raises(LedgerError, match="holds the share of site-9, no member"):
        Ledger("x").merge(turn, shares={"site-9": "ab" * 32}, merged={}, key=KEYS[turn.leader])
    with pytest.raises(LedgerError, match="expected a result for each layout that was shared"):
        Ledger("x").merge(turn, shares={"site-1": "ab" * 32}, merged={}, key=KEYS[turn.leader])


def test_entries_of_another_chain_do_not_extend_this_one() -> None:
    other = merged(ledger_of(1), number=9)
    moved = Entry.from_json({**other.entries[-1].to_json(), "index": 2})
    with pytest.raises(LedgerError, match="does not follow"):
        ledger_of(2).extend([moved], newest=9)


def test_a_key_is_drawn_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "site" / "ledger.key"
    key = load_or_create_key(path)
    assert load_or_create_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_signed(key.public, b"yes", key.sign(b"yes"))
    assert not is_signed(key.public, b"no", key.sign(b"yes"))
    assert not is_signed("not hexadecimal", b"yes", key.sign(b"yes"))
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match=r"ledger.key: expected a key of 32 bytes, got 5"):
        load_or_create_key(path)
