"""A site's own log of what it refused: the text and traceback, under the reference that the server was told.

Whoever is refused has a hand in the text: each record is of bounded size, and nothing in it can look like another one.
"""

import errno
import secrets
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mdhfl.sharing.reasons import BY_TYPE, Refusal, sentence
from mdhfl.showing.texts import one_line
from mdhfl.timing import now

LOG = "site.log"  # in the site's state folder, for all experiments
LONGEST_TEXT, LONGEST_LINE = 4_000, 400  # characters, of what happened and of each line of its traceback
MOST_LINES, MOST_OF_A_STEP = 120, 6  # of a traceback, and of one of its steps
MOST_OF_A_PEER = 100  # refusals of one peer's messages that are written down, in the life of a process


def refusal_of(error: Exception, *, site: str, round: int, state: Path | None) -> str:
    """Write why a site refuses into its log, and return what others may know of it.

    Args:
        error: what happened.
        site: its name.
        round: in which round.
        state: the site's state folder; None if its settings could not be read.

    Returns:
        One of the sentences of `sharing.reasons`.
    """
    reference = secrets.token_hex(4)  # drawn, not a digest: a digest of a file's name would let others guess it
    if state is not None:
        _append(state, f"{reference} round {round}: {_line(error, longest=LONGEST_TEXT)}\n{_traceback(error)}")
    code, fields = reason_of(error)
    return sentence(code, site=site, reference=reference, **{"round": max(round, 0), **fields})


def note_in_log(state: Path, *, round: int, text: str) -> None:
    """Write something that the site's IT should read into its log; nobody else is told."""
    _append(state, f"round {round}: {_line(text, longest=LONGEST_TEXT)}\n")


class PeerLog:
    """What a site writes of refusing its peers: of each so much and no more, since asking costs a peer nothing."""

    def __init__(self, state: Path, *, site: str) -> None:
        self._state, self._site = state, site
        self._refused: Counter[str] = Counter()

    def refusal_of(self, error: Exception, *, peer: str, round: int) -> str:
        """As the function of this name, for a message of a peer."""
        self._refused[peer] += 1
        times = self._refused[peer]
        state = self._state if times <= MOST_OF_A_PEER else None
        refusal = refusal_of(error, site=self._site, round=round, state=state)
        if times == MOST_OF_A_PEER:
            text = f"refused site {peer!r} {times} times: of its further messages nothing is written until a restart"
            note_in_log(self._state, round=round, text=text)
        return refusal


@contextmanager
def among_peers(code: str) -> Iterator[None]:
    """Call what fails in a merge or a draw so, unless it has a better name. Raises Refusal."""
    try:
        yield
    except Exception as error:
        if reason_of(error)[0] not in ("failed", "request", "peers"):
            raise
        raise Refusal(code, str(error) or type(error).__name__) from error


def reason_of(error: Exception) -> tuple[str, dict[str, object]]:
    """Return the code of an exception, and the fields of its sentence."""
    if isinstance(error, Refusal):
        return error.code, error.fields
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return "disk_full", {}
        chain = chain.__cause__ or chain.__context__
    codes = (BY_TYPE[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in BY_TYPE)
    return next(codes, "failed"), {}


def _append(state: Path, text: str) -> None:
    with suppress(OSError):  # a full disk must not hide the refusal itself
        state.mkdir(parents=True, exist_ok=True)
        with (state / LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{now()} {text}")


def _traceback(error: Exception) -> str:
    steps = (step.splitlines()[:MOST_OF_A_STEP] for step in traceback.format_exception(error))
    lines = [line for step in steps for line in step]
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines = [*lines[:half], f"... {len(lines) - 2 * half} lines ...", *lines[-half:]]
    return "".join(f"  {_line(line, longest=LONGEST_LINE)}\n" for line in lines)


def _line(text: object, *, longest: int) -> str:
    """Return a text in one line that shows what is in it, cut where it is too long."""
    whole = str(text)
    line = one_line(whole[:longest])
    return line if len(line) <= longest and len(whole) <= longest else f"{line[:longest]} ... ({len(whole)} characters)"
