"""The ledger is verified on reading: whatever was changed, moved, left out or signed by another is named."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdhfl.swarm.ledger import (
    Application,
    Entry,
    Ledger,
    LedgerError,
    SigningKey,
    apply_for_membership,
    load_or_create_key,
    verify_signature,
)

KEYS = {site: SigningKey.create() for site in "abc"}


def application(site: str, *, key: SigningKey | None = None, experiment: str = "x") -> Application:
    return apply_for_membership(
        experiment=experiment, site=site, layout="l" * 64, architecture="net", key=key or KEYS[site]
    )


def ledger_of(rounds: int = 3) -> Ledger:
    """Three members, one merge a round, led in turn."""
    ledger = Ledger("x")
    for site in KEYS:
        ledger = ledger.admit(application(site))
    for number in range(rounds):
        ledger = merged(ledger, leader="abc"[number % 3], number=number)
    return ledger


def merged(ledger: Ledger, *, leader: str, number: int, shares: str = "abc", key: SigningKey | None = None) -> Ledger:
    return ledger.merge(
        site=leader, number=number, attempt=0, shares={s: f"{s}{number}" for s in shares}, merged={"l": f"m{number}"},
        key=key or KEYS[leader],
    )  # fmt: skip


@given(st.integers(0, 12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
def test_what_was_saved_is_read_again(tmp_path: Path, rounds: int) -> None:
    ledger = ledger_of(rounds)
    ledger.save(tmp_path / "ledger.jsonl")
    again = Ledger.load(tmp_path / "ledger.jsonl", experiment="x")
    assert again == ledger
    assert again.head == ledger.head
    assert set(again.keys) == set(KEYS)
    assert len(again.entries) == 3 + rounds


def test_a_missing_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert Ledger.load(tmp_path / "none", experiment="x").entries == ()


@given(entry=st.integers(0, 5), field=st.sampled_from(["index", "previous", "site", "content", "signature", "kind"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_tampered_field_is_found_and_its_entry_named(tmp_path: Path, entry: int, field: str) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger_of().save(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    value = lines[entry][field]
    if field == "content":
        if entry < 3:
            value["architecture"] = "other"
        else:
            value["shares"]["a"] = "ff"
    else:
        changed = {"index": 7, "kind": "merge" if entry < 3 else "admit", "site": "b" if value == "a" else "a"}
        lines[entry][field] = changed.get(field, "0" * len(str(value)))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(LedgerError, match=rf"{path.name}: entry \d.*restore the file") as raised:
        Ledger.load(path, experiment="x")
    assert any(f"entry {number} " in str(raised.value) for number in (entry, entry + 1, 7))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [*lines[:3], lines[4], lines[3], lines[5]], "reordered"),
        (lambda lines: [*lines[:4], lines[5]], "missing"),
        (lambda lines: [*lines[:4], lines[3], *lines[4:]], "repeated"),
        (lambda lines: [*lines, "garbage"], "Expecting value"),
        (lambda lines: [*lines, '{"index": 6}'], "expected an entry with index, previous"),
        (lambda lines: [*lines, json.dumps({**json.loads(lines[5]), "index": "6"})], "whose index is int"),
    ],
)
def test_moved_missing_and_foreign_lines_are_named(tmp_path: Path, change, said: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "ledger.jsonl"
    ledger_of().save(path)
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(LedgerError, match=said):
        Ledger.load(path, experiment="x")


def test_a_ledger_belongs_to_one_experiment(tmp_path: Path) -> None:
    ledger_of().save(tmp_path / "ledger.jsonl")
    with pytest.raises(LedgerError, match="another experiment's"):
        Ledger.load(tmp_path / "ledger.jsonl", experiment="y")
    with pytest.raises(LedgerError, match="another experiment's"):
        Ledger("x").admit(application("a", experiment="y"))


def test_only_members_lead_and_share_and_only_once_a_round() -> None:
    ledger = ledger_of(2)
    stranger = SigningKey.create()
    with pytest.raises(LedgerError, match="led by a site that was never admitted"):
        merged(ledger, leader="d", number=2, key=stranger)
    with pytest.raises(LedgerError, match="share of d, never admitted"):
        merged(ledger, leader="a", number=2, shares="abd")
    with pytest.raises(LedgerError, match="not signed by its leader"):
        merged(ledger, leader="a", number=2, key=KEYS["b"])
    with pytest.raises(LedgerError, match="merges round 1 after round 1"):
        merged(ledger, leader="a", number=1)
    with pytest.raises(LedgerError, match="a member already"):
        ledger.admit(application("a", key=stranger))


def test_nobody_is_admitted_under_a_key_that_is_not_its_own() -> None:
    real = application("a")
    forged = Application(site="b", content=real.content, signature=real.signature)
    with pytest.raises(LedgerError, match="not signed with the key that it names"):
        Ledger("x").admit(forged)


def test_entries_of_another_chain_do_not_extend_this_one() -> None:
    other = merged(ledger_of(1), leader="b", number=9)
    with pytest.raises(LedgerError, match="does not follow"):
        ledger_of(2).extend([Entry.from_json({**other.entries[-1].to_json(), "index": 5})])


def test_a_key_is_drawn_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "site" / "ledger.key"
    key = load_or_create_key(path)
    assert load_or_create_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify_signature(key.public, b"yes", key.sign(b"yes"))
    assert not verify_signature(key.public, b"no", key.sign(b"yes"))
    assert not verify_signature("not hexadecimal", b"yes", key.sign(b"yes"))
    path.write_bytes(b"short")
    with pytest.raises(LedgerError, match=r"ledger.key: expected a key of 32 bytes, got 5"):
        load_or_create_key(path)
