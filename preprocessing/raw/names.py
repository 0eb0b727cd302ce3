"""Names of files within raw data: what is ignored, what is hidden, which folders hold nothing."""

from collections.abc import Iterable

from mdhfl.preprocessing.raw.limits import MAX_DEPTH

LEFT_BEHIND = frozenset({  # by operating systems, file servers and notebooks; in small letters
    ".directory", ".ds_store", ".fseventsd", ".ipynb_checkpoints", ".spotlight-v100", ".trashes", "$recycle.bin",
    "@eadir", "__macosx", "desktop.ini", "ehthumbs.db", "system volume information", "thumbs.db",
})  # fmt: skip

EMPTY_FOLDER = "an empty folder"
HIDDEN = "hidden: its name begins with a dot"
LINK = "a symbolic link: not followed"
TOO_DEEP = f"lies more than {MAX_DEPTH} folders deep: the limit"


def is_ignored(name: str) -> bool:
    """Whether a file or one of the folders above it was left behind by an operating system: never worth a word."""
    return any(part.lower() in LEFT_BEHIND or part.startswith("._") for part in name.split("/"))


def hidden_part(name: str) -> str | None:
    """The highest hidden folder above a file, with "/" at its end, or the file itself where it is hidden."""
    parts = name.split("/")
    for place, part in enumerate(parts, start=1):
        if part.startswith("."):
            return "/".join(parts[:place]) + ("/" if place < len(parts) else "")
    return None


def folders_above(names: Iterable[str]) -> set[str]:
    """All folders that hold one of the names, each with "/" at its end; takes time in proportion to the names."""
    found: set[str] = set()
    for name in names:
        place = name.rstrip("/").rpartition("/")[0]
        while place and f"{place}/" not in found:
            found.add(f"{place}/")
            place = place.rpartition("/")[0]
    return found
