"""Who works in a folder can be asked without touching its lock."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from mdhfl.store.lock import FolderLock, holder_of

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
