"""Who works in a folder can be asked without touching its lock; who cannot lock it is told why."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from mdhfl.files import StateError
from mdhfl.store import lock
from mdhfl.store.lock import FolderLock, InUse, holder_of

HOLD = """
import sys, time
from pathlib import Path
from mdhfl.store.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), name="x.lock", way_out="")
print("held", flush=True)
time.sleep(60)
"""


def test_the_holder_is_named_while_it_holds_and_lives(tmp_path: Path) -> None:
    assert holder_of(tmp_path, name="x.lock") is None
    with FolderLock(tmp_path, name="x.lock", way_out=""):
        assert holder_of(tmp_path, name="x.lock") == os.getpid()
    assert holder_of(tmp_path, name="x.lock") is None
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert holder_of(tmp_path, name="x.lock") == process.pid
        assert (tmp_path / "x.lock").read_text() == f"{process.pid}\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert (tmp_path / "x.lock").read_text() == f"{process.pid}\n", "nobody has tidied up after it"
    assert holder_of(tmp_path, name="x.lock") is None


def test_a_later_process_with_the_number_of_one_that_died_is_no_holder(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text(f"{os.getpid()}\n")
    assert holder_of(tmp_path, name="x.lock") == os.getpid()
    os.utime(path, (1, 1))
    assert holder_of(tmp_path, name="x.lock") is None


def test_anything_else_in_the_file_is_nobody(tmp_path: Path) -> None:
    for content in (b"", b"x", b"-5", b"999999999999999999999", b"\xff"):
        (tmp_path / "x.lock").write_bytes(content)
        assert holder_of(tmp_path, name="x.lock") is None, content


def test_who_is_refused_is_told_by_whom_and_what_to_do(tmp_path: Path) -> None:
    with (
        FolderLock(tmp_path, name="x.lock", way_out="wait until it has ended"),
        pytest.raises(InUse, match=rf"^{tmp_path}: in use by another run \(process {os.getpid()}\); wait until it has"),
    ):
        FolderLock(tmp_path, name="x.lock", way_out="wait until it has ended")
    FolderLock(tmp_path, name="x.lock", way_out="").release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO, errno.EBADF])
def test_a_disk_without_locks_is_not_called_in_use(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def flock(file: IO[str], operation: int) -> None:
        opened.append(file)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(StateError, match="put the folder on a local disk, or mount this one with file locks") as raised:
        FolderLock(tmp_path, name="x.lock", way_out="wait until it has ended")
    assert not isinstance(raised.value, InUse)
    assert str(raised.value).startswith(f"{tmp_path / 'x.lock'}: expected a disk on which files can be locked, got ")
    assert os.strerror(number) in str(raised.value)
    assert opened[0].closed


def test_a_full_disk_is_named_and_leaves_nothing_locked(tmp_path: Path, small_files_only: Callable) -> None:
    with (
        small_files_only(0),
        pytest.raises(StateError, match=rf"^{tmp_path / 'x.lock'}: cannot be written \(.*; free disk space") as raised,
    ):
        FolderLock(tmp_path, name="x.lock", way_out="")
    assert not isinstance(raised.value, InUse)
    FolderLock(tmp_path, name="x.lock", way_out="").release()
    assert (tmp_path / "x.lock").read_text() == ""
