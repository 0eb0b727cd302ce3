"""A site's own log of what it refused: the full text and traceback, under the reference that the server was told."""

import errno
import secrets
import traceback
from contextlib import suppress
from pathlib import Path

from mdhfl.sharing.reasons import BY_TYPE, Refusal, sentence
from mdhfl.timing import now

LOG = "site.log"  # in the site's state folder, for all experiments


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
        _append(state, f"{reference} round {round}: {error}\n{_traceback(error)}")
    code, fields = reason_of(error)
    return sentence(code, site=site, reference=reference, **{"round": max(round, 0), **fields})


def note_in_log(state: Path, *, round: int, text: str) -> None:
    """Write something that the site's IT should read into its log; nobody else is told."""
    _append(state, f"round {round}: {text}\n")


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
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "".join(f"  {line}\n" for line in lines)
