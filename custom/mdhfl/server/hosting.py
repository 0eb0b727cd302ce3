"""`hosted.json`: which public set a server sends to sites that have no copy of their own. Without it: none."""

from pathlib import Path

from mdhfl.files import read_checked, write_json

FILE = "hosted.json"


def read_hosting(path: Path) -> Path | None:
    """Return the public folder that a server hosts, None for none; a relative path is relative to the file's folder.

    Raises:
        ValueError: the file is not JSON, or does not follow `meta/schemas/hosted.schema.json`.
    """
    if not path.is_file():
        return None
    values = read_checked(path, schema="hosted", missing=str(path))
    return (path.parent / str(values["public"])).resolve()


def write_hosting(path: Path, public: Path | None) -> None:
    """Say which public folder a server hosts; None: none any more. Raises StateError."""
    if public is None:
        path.unlink(missing_ok=True)
    else:
        write_json(path, {"version": 1, "public": str(public.resolve())})
