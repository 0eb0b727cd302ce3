"""Why a site refuses: the sentence that leaves, and the text that stays."""

import errno
import re
from pathlib import Path

import pytest

from mdhfl.files import StateError
from mdhfl.learning.images import DataError
from mdhfl.learning.training import TrainingDiverged
from mdhfl.sharing.reasons import REASONS, Refusal, is_sentence, sentence
from mdhfl.site.log import reason_of, refusal_of

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
