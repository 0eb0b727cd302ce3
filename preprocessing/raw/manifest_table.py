"""Tables of labels, for every source that takes one: found among the files or given with --labels, read and joined."""

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from mdhfl.files import open_regular
from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.limits import MAX_TABLE
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.raw.streams import read_whole
from mdhfl.preprocessing.raw.table_join import LabelTable, join
from mdhfl.preprocessing.raw.table_names import FileNames
from mdhfl.preprocessing.raw.table_rows import read_rows
from mdhfl.preprocessing.raw.zip_files import DAMAGES

MANIFEST = "manifest"
SUFFIXES = (".csv", ".tsv", ".xlsx")
NAMED = 4  # tables in a message


def find_manifest(files: RawFiles) -> str | None:
    """The name of the table called manifest (.csv, .tsv, .xlsx) that is nearest to the top, if there is one.

    Raises:
        ValueError: several are equally near.
    """
    tables = [PurePosixPath(name) for name in files.names if name.lower().endswith(SUFFIXES)]
    found = [path for path in tables if path.stem.lower() == MANIFEST]
    nearest = min((len(path.parts) for path in found), default=0)
    return _only([str(path) for path in found if len(path.parts) == nearest])


def find_table(files: RawFiles) -> str | None:
    """The name of the manifest, or of the only table among the files.

    Raises:
        ValueError: several may be meant.
    """
    return find_manifest(files) or _only([name for name in files.names if name.lower().endswith(SUFFIXES)])


def label_table(
    files: RawFiles,
    options: SourceOptions,
    *,
    find: Callable[[RawFiles], str | None],
    suffixes: Iterable[str],
    slices: bool = False,
) -> LabelTable | None:
    """The table given with --labels, or else that among the files, joined with them; None: there is neither.

    Args:
        find: which of the files it is: `find_manifest` or `find_table`.
        suffixes: of pictures.
        slices: a picture's name may end in "#" and a slice.

    Raises:
        ValueError: it cannot be read, or may mean several things.
    """
    if options.labels is not None:
        data, where, base = labels_file(options.labels), options.labels.name, ""
    elif (name := find(files)) is not None:
        data, where, base = table_in(files, name), name, str(PurePosixPath(name).parent)
    else:
        return None
    rows = read_rows(data, where=where, limits=options.limits, columns=options.columns, fold=options.fold)
    return join(rows, FileNames(files.names, suffixes=suffixes, base=base), slices=slices)


def labels_file(path: Path) -> bytes:
    """The bytes of a table given with --labels, at most one more than a table may have.

    Raises:
        ValueError: there is no such file, or it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return read_whole(file, limit=MAX_TABLE + 1)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"labels {path}: {reason}; --labels names a table of files and classes") from error


def table_in(files: RawFiles, name: str) -> bytes:
    """The bytes of a table among the raw data, at most one more than a table may have.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with files.open(name) as stream:
            return read_whole(stream, limit=MAX_TABLE + 1)
    except DAMAGES as error:
        raise ValueError(f"table {name}: cannot be read ({error})") from error


def _only(names: list[str]) -> str | None:
    if len(names) > 1:
        raise ValueError(
            f"several tables may hold the labels: {', '.join(sorted(names)[:NAMED])}; name one with --labels, or "
            "call it manifest.csv and lay it at the top"
        )
    return names[0] if names else None
