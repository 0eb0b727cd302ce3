"""What a folder holds: the experiments of a server, of a site, or one run."""

from collections.abc import Callable, Iterator
from pathlib import Path

from mdhfl.showing.texts import shown
from mdhfl.site.settings import read_site_settings
from mdhfl.site.watched import WATCHED
from mdhfl.status.record import Status
from mdhfl.status.server import read_server
from mdhfl.status.site import read_site
from mdhfl.store.sealed import exists

READABLE = "a run's folder, a server's kit or its experiments, a site's kit or its state"


def locate(place: str) -> Path:
    """Return the folder that somebody means: a path, or the id of an experiment in the current folder.

    Raises:
        ValueError: there is neither.
    """
    path = Path(place)
    if path.is_dir():
        return path
    here = {folder.name: folder for folder in find(Path())}
    if place in here:
        return here[place]
    known = f"; experiments here: {', '.join(here)}" if here else ""
    raise ValueError(f"{place}: expected a folder or an experiment's id, found neither{known}")


def find(place: Path) -> list[Path]:
    """Return the folders of the experiments in a place.

    Args:
        place: a run's folder, a server's or a site's startup kit, the folder of their experiments, or one of these.

    Raises:
        ValueError, OSError: a site's settings cannot be read.
    """
    if reader_of(place) is not None:
        return [place]
    places = [place, place / "experiments"]
    if (place / "local" / "site.json").is_file():
        places.append(read_site_settings(place / "local" / "site.json").state)
    return [folder for each in places for folder in _inside(each) if reader_of(folder) is not None]


def read_all(place: Path) -> list[Status]:
    """Return the status of every experiment in a place, the one that changed last first. Raises as `find`."""
    return sorted(map(read, find(place)), key=lambda status: -status.changed)


def read(folder: Path) -> Status:
    """Return the status of an experiment; of one that cannot be read, why."""
    reader = reader_of(folder) or read_server
    try:
        return reader(folder)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        said = str(error) if isinstance(error, ValueError | OSError) else f"damaged ({type(error).__name__})"
        return Status(
            experiment=str(shown(folder.name)),
            role="site" if reader is read_site else "server",
            state="unreadable",
            headline="It cannot be read.",
            notes=(str(shown(said, roots=(folder,))),),
            changed=folder.stat().st_mtime if folder.exists() else 0.0,
        )


def reader_of(folder: Path) -> Callable[[Path], Status] | None:
    """Return what reads a folder, None if it is no experiment's."""
    if exists(folder / "experiment.json") or (folder / "results.jsonl").is_file():
        return read_server
    if (folder / WATCHED).is_file() or exists(folder / "state.pt"):
        return read_site
    return None


def _inside(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink())
