"""Files that grow by a line at a time."""

from typing import IO


def ends_whole(file: IO[bytes]) -> bool:
    """Return whether a file is empty, or ends with a line feed: an interruption may have left half a line.

    Args:
        file: opened for reading; its position changes.
    """
    if not file.seek(0, 2):
        return True
    file.seek(-1, 2)
    return file.read(1) == b"\n"
