"""A sealed file is what was written, or it is refused: no flipped bit, no cut, no edit goes unseen."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from fakes.damage import ANY_FILE, Damage, edit_json, scribbled
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.server.journal import append_rows, lines_of, read_journal, read_rows
from mdhfl.store.sealed import (
    Damaged,
    clean,
    mend,
    previous,
    read_generation,
    read_sealed,
    read_sealed_json,
    write_sealed,
    write_sealed_json,
)
from mdhfl.store.terms import differences

ROWS = [{"round": number, "site": site, "score": 0.1 * number} for number in range(3) for site in "ab"]


def content(path: Path, payload: bytes) -> bytes:
    return payload


def write(path: Path, payload: bytes) -> None:
    write_sealed(path, lambda file: file.write(payload))


def test_the_generation_before_is_kept_and_taken_where_the_current_one_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for payload in (b"one", b"two", b"three"):
        write(path, payload)
    assert read_sealed(path, content) == b"three"
    assert read_generation(previous(path), content) == b"two"
    scribbled(path)
    assert read_sealed(path, content) == b"two"
    with pytest.raises(Damaged, match="without a seal"):
        read_generation(path, content)
    assert mend(path, content) == b"two"
    write(path, b"four")
    assert read_generation(previous(path), content) == b"two"  # and not what was damaged


@pytest.mark.parametrize("damage", ANY_FILE, ids=lambda damage: damage.__name__)
def test_both_generations_damaged_are_refused_by_name(tmp_path: Path, damage: Damage) -> None:
    path = tmp_path / "state"
    for _ in range(2):
        write(path, b"x" * 200)
    damage(path)
    damage(previous(path))
    for read in (read_sealed, mend):
        with pytest.raises(Damaged, match=str(path)):
            read(path, content)


@given(payload=st.binary(max_size=200), data=st.data())
def test_no_flipped_bit_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, payload: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped"
    write(path, payload)
    whole = bytearray(path.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(whole))
    with pytest.raises(Damaged):
        read_generation(path, content)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_json_is_seen_or_changes_no_value(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "record.json"
    values = {"seed": 7, "sites": ["a", "b"], "parameters": {"ce_weight": 0.1, "control": False}, "name": None}
    previous(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    write_sealed_json(path, values)
    whole = bytearray(path.read_bytes())
    whole[place % len(whole)] ^= 1 << bit
    path.write_bytes(bytes(whole))
    with suppress(Damaged):
        assert read_sealed_json(path) == values


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_rows_is_seen_or_changes_no_value(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    whole = bytearray(lines_of(ROWS))
    whole[place % len(whole)] ^= 1 << bit
    path.write_bytes(bytes(whole))
    try:
        rows, fault = read_journal(path)
    except Damaged:
        return
    cut = not path.read_bytes().endswith(b"\n")
    assert rows == (ROWS[:-1] if fault or cut else ROWS)


def test_two_lines_that_have_become_one_are_not_taken_for_a_last_one(tmp_path: Path) -> None:
    """That would lose two rounds without a word."""
    path = tmp_path / "rows.jsonl"
    whole = lines_of(ROWS)
    end = whole.rindex(b"\n", 0, -1)
    path.write_bytes(whole[:end] + b"\x0b" + whole[end + 1 :])
    with pytest.raises(Damaged, match=f"line {len(ROWS) - 1}: damaged"):
        read_journal(path)


def test_rows_are_added_in_a_chain(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append_rows(path, ROWS[:2])
    append_rows(path, ROWS[2:])
    assert path.read_bytes() == lines_of(ROWS)
    assert read_rows(path) == ROWS
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Damaged, match="its last line is damaged"):
        append_rows(path, ROWS)


def test_sealed_json_stays_json_and_an_edit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_sealed_json(path, {"seed": 0})
    assert json.loads(path.read_text())["seed"] == 0
    edit_json(path, seed=1)
    with pytest.raises(Damaged, match=r"record.json: damaged or edited \(its checksum does not fit\)"):
        read_sealed_json(path)


def test_only_what_interrupted_writes_left_is_cleaned(tmp_path: Path) -> None:
    for name in ("state.pt.123.tmp", "notes.tmp", "state.pt"):
        (tmp_path / name).write_text("x")
    clean(tmp_path, tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.tmp", "state.pt"]


def test_differences_are_one_line_and_short() -> None:
    before = {"seed": 0, "sites": ("a", "b"), "parameters": {"x": 1, "gone": True}, "text": "y" * 500}
    now = {"seed": 7, "sites": ["a", "b"], "parameters": {"x": 2, "new": None}, "text": "z" * 500}
    said = differences(before, now)
    assert said.startswith("seed 0, now 7; parameters.x 1, now 2; parameters.gone true, now none; text yyy")
    assert len(said) < 250
    assert differences(before, {**before, "sites": ["a", "b"]}) == ""
