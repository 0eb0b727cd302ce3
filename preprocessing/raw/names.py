"""Names of files within raw data: what is ignored, which folders hold nothing."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from mdhfl.preprocessing.raw.limits import MAX_DEPTH

IGNORED_NAMES = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # what operating systems leave behind

EMPTY_FOLDER = "an empty folder"
TOO_DEEP = f"lies more than {MAX_DEPTH} folders deep: the limit"


def is_ignored(name: str) -> bool:
    """Whether a file or one of the folders above it is hidden, or left behind by an operating system."""
    return any(part in IGNORED_NAMES or part.startswith(".") for part in PurePosixPath(name).parts)


def folders_above(names: Iterable[str]) -> set[str]:
    """All folders that hold one of the names, each with "/" at its end; takes time in proportion to the names."""
    found: set[str] = set()
    for name in names:
        place = name.rstrip("/").rpartition("/")[0]
        while place and f"{place}/" not in found:
            found.add(f"{place}/")
            place = place.rpartition("/")[0]
    return found
