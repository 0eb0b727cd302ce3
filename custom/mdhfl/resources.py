"""Where the data folders of this package lie: beside it in a checkout, inside it in a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Return the absolute path of a data folder that ships with mdhfl.

    Args:
        name: "bundles" or "meta".

    Raises:
        FileNotFoundError: this installation lacks the folder.
    """
    for candidate in (PACKAGE / name, PACKAGE.parents[1] / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"no folder {name!r} beside or above {PACKAGE}: reinstall mdhfl")
