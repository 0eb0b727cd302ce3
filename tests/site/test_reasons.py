"""Why a site refuses: the sentence that leaves, and the text that stays."""

import errno
import re
from pathlib import Path

import pytest

from mdhfl.files import StateError
from mdhfl.learning.images import DataError
from mdhfl.learning.training import TrainingDiverged
from mdhfl.sharing.reasons import REASONS, Refusal, is_sentence, sentence
from mdhfl.site.log import LOG, note_in_log, reason_of, refusal_of

FIELDS = {"round": 3, "finished": 4, "expected": "0" * 8, "got": "1" * 8, "permission": "knowledge", "version": "0.1.0"}
FIELDS |= {"differs": "seed, public set", "defence": "top_k"}


def state_error(number: int) -> StateError:
    error = StateError("state.pt: cannot be written")
    error.__cause__ = OSError(number, "x")
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("/srv/smith.png: label 3"), "private_images"),
        (Refusal("public_images", "/srv/p.png"), "public_images"),
        (TrainingDiverged("nan after 0 images"), "diverged"),
        (state_error(errno.ENOSPC), "disk_full"),
        (state_error(errno.EACCES), "state"),
        (OSError(errno.ENOSPC, "No space left"), "disk_full"),
        (MemoryError(), "memory"),
        (KeyError("patient smith"), "failed"),
        (RuntimeError("[/srv/smith]\n\x1b[2J"), "failed"),
    ],
)
def test_an_exception_leaves_as_a_sentence_and_stays_as_a_whole(tmp_path: Path, error: Exception, code: str) -> None:
    assert reason_of(error)[0] == code
    told = refusal_of(error, site="site-1", round=2, state=tmp_path)
    assert is_sentence(told, site="site-1", names=set())
    assert "smith" not in told
    reference = re.search(r"site\.log: ([0-9a-f]{8})\)", told)
    assert reference
    log = (tmp_path / "site.log").read_text()
    assert f"{reference[1]} round 2: {error}".splitlines()[0] in log
    assert type(error).__name__ in log


FORGED = "x\n2026-01-01T00:00:00+00:00 deadbeef round 3: a record\u2028of nobody\x1b[2J\r"


def raised(text: str) -> Exception:
    """An error with a cause, both of whose texts somebody else has written."""
    try:
        try:
            raise ValueError(text)
        except ValueError as cause:
            raise Refusal("request", text) from cause
    except Refusal as error:
        return error


def test_a_text_from_outside_forges_no_record(tmp_path: Path) -> None:
    told = refusal_of(raised(FORGED), site="site-1", round=2, state=tmp_path)
    note_in_log(tmp_path, round=2, text=FORGED)
    log = (tmp_path / LOG).read_text()
    assert log.replace("\n", "").isprintable()
    first, *rest, last = log.splitlines()
    reference = re.search(r"site\.log: ([0-9a-f]{8})\)", told)
    assert reference
    assert f"{reference[1]} round 2: x\\n2026-01-01T00:00:00+00:00 deadbeef" in first
    assert all(line.startswith("  ") for line in rest)
    assert "round 2: x\\n2026" in last


@pytest.mark.parametrize("letter", ["a", "\n", "\x1b", "a\n"])
def test_a_long_text_from_outside_takes_a_small_record(tmp_path: Path, letter: str) -> None:
    refusal_of(raised(letter * 1_000_000), site="site-1", round=2, state=tmp_path)
    note_in_log(tmp_path, round=2, text=letter * 1_000_000)
    log = (tmp_path / LOG).read_text()
    assert len(log) < 20_000
    assert f"({len(letter) * 1_000_000} characters)" in log


def deep(depth: int) -> None:
    (deep, deeper)[depth % 2](depth + 1)


def deeper(depth: int) -> None:
    deep(depth + 1)


def test_a_deep_traceback_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    with pytest.raises(RecursionError) as raised:
        deep(0)
    refusal_of(raised.value, site="site-1", round=2, state=tmp_path)
    lines = (tmp_path / LOG).read_text().splitlines()
    assert len(lines) < 150
    assert "Traceback" in lines[1]
    assert "RecursionError" in lines[-1]


@pytest.mark.parametrize("code", REASONS)
def test_every_sentence_is_known_again_and_no_other_is(code: str) -> None:
    told = sentence(code, site="site-1", reference="0a1b2c3d", **FIELDS)
    names = {"knowledge", "0.1.0"}
    assert is_sentence(told, site="site-1", names=names)
    assert "\n" not in told
    for wrong in (
        told + " ", told.replace("site-1", "site-2"), told.replace("0a1b2c3d", "0a1b2c3"), told.upper(), "",
        told.replace("(", "smith (", 1), told.replace("\N{DIGIT ZERO}" * 8, "patient1")
    ):  # fmt: skip
        assert wrong == told or not is_sentence(wrong, site="site-1", names=names), wrong
    if "knowledge" in told or "0.1.0" in told:
        assert not is_sentence(told, site="site-1", names={"site-1"})


def test_a_log_that_cannot_be_written_hides_no_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = refusal_of(ValueError("x"), site="s", round=0, state=tmp_path / "file")
    assert is_sentence(told, site="s", names=set())
