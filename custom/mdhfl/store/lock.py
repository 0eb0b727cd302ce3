"""A folder that one process at a time may use. The operating system frees it when its holder ends, however it ends."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from mdhfl.files import StateError

CLOCK = 60.0  # seconds by which a machine's clock may have been set meanwhile


class InUse(StateError):
    """Another process, or another part of this one, is using the folder."""


class FolderLock:
    """Held from its making until `release`, or until the process ends."""

    def __init__(self, folder: Path, *, name: str, way_out: str) -> None:
        """Take the lock, or refuse at once.

        Args:
            folder: what is locked; made if missing.
            name: of the lock's file in it.
            way_out: what somebody can do who is refused.

        Raises:
            InUse: the folder is in use; the message names the process.
            StateError: the folder cannot be written, or lies where files cannot be locked.
        """
        self._path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+", encoding="ascii", errors="replace")
        except OSError as error:
            raise StateError(f"{self._path}: cannot be written ({error})") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read(20).strip() or "unknown"
            self._file.close()
            raise InUse(f"{folder}: in use by another run (process {holder}); {way_out}") from error
        except OSError as error:
            self._file.close()
            raise StateError(
                f"{self._path}: expected a disk on which files can be locked, got {error}; put the folder on a local "
                "disk, or mount this one with file locks"
            ) from error
        self._write(f"{os.getpid()}\n")

    def release(self) -> None:
        """Give the folder back; a second time is no harm. Raises StateError: its file cannot be written any more."""
        if not self._file.closed:
            self._write("")
            self._file.close()

    def _write(self, holder: str) -> None:
        """Say in the file who holds the lock; where that fails, give it back."""
        try:
            self._file.truncate(0)
            self._file.write(holder)
            self._file.flush()
        except OSError as error:
            with suppress(OSError):  # it tries to write once more
                self._file.close()
            raise StateError(
                f"{self._path}: cannot be written ({error}); free disk space or fix the folder's permissions, then "
                "start again"
            ) from error

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder_of(folder: Path, *, name: str) -> int | None:
    """Return the process that works in a folder, None for nobody on this machine. The lock itself is not touched.

    Args:
        folder: as `FolderLock` locks it.
        name: of the lock's file in it.
    """
    path = folder / name
    try:
        process, since = int(path.read_text(encoding="ascii")), path.stat().st_mtime
        begun = psutil.Process(process).create_time()
    except (OSError, ValueError, psutil.Error):
        return None
    return process if begun <= since + CLOCK else None  # else a later process has got the number of one that died
