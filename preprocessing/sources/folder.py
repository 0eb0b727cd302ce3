"""Any dataset in folders: one level names the classes, others may name patients, or training, validation and test."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.file_source import NO_CLASS, FileSource, Listing, image_paths
from mdhfl.preprocessing.raw.label_spaces import plain
from mdhfl.preprocessing.raw.levels import (
    CLASS,
    GROUP,
    SPLIT,
    Roles,
    find_levels,
    level_notes,
    parse_levels,
    some,
    split_of,
)
from mdhfl.preprocessing.raw.names import EMPTY_FOLDER
from mdhfl.preprocessing.raw.reading import IMAGE_SUFFIXES
from mdhfl.preprocessing.raw.records import Record, Skip, SourceCard, SourceOptions, Understood

UNLABELLED = "unlabelled"
TABLES = frozenset({".csv", ".ods", ".tsv", ".xls", ".xlsx"})

CARD = SourceCard(
    name="folder",
    title="a folder per class",
    licence="not stated",
    citation="not stated",
    url="",
    raw="a folder or a zip with one folder per class (folders of patients, and train/, val/, test/ are understood)",
)


def list_records(files: RawFiles, options: SourceOptions) -> Listing:
    """One record a picture; which folder level holds its class is found in the names, or told by `options.levels`."""
    paths, skips = image_paths(files)
    if options.unlabelled:
        return Listing([Record(key=str(path), code=UNLABELLED) for path in paths], skips)
    chains = Counter(path.parts[:-1] for path in paths)
    roles = parse_levels(options.levels) if options.levels else find_levels(chains)
    records = _records(paths, roles=roles, skips=skips)
    _refuse_vanished([*skips, *files.skipped], roles=roles, records=records)
    notes = (*level_notes(chains, roles), *_empty(files, roles=roles)) if records else ()
    return Listing(records, skips, Understood(levels="/".join(roles), notes=(*notes, *_tables(files))))


def _records(paths: Sequence[PurePosixPath], *, roles: Roles, skips: list[Skip]) -> list[Record]:
    places = {role: place for place, role in enumerate(roles)}
    records = []
    for path in paths:
        found = {role: path.parts[place] for role, place in places.items() if place < len(path.parts) - 1}
        part, group = found.get(SPLIT), found.get(GROUP)
        if CLASS not in found:
            skips.append(Skip(str(path), NO_CLASS, lost=True))
        elif part is not None and split_of(part) is None:
            reason = f"lies in {part!r}: expected train, validation or test at level {places[SPLIT] + 1}"
            skips.append(Skip(str(path), reason, lost=True))
        else:
            records.append(
                Record(
                    key=str(path),
                    code=found[CLASS],
                    group=plain(group) if group is not None else None,
                    part=split_of(part) if part is not None else None,
                )
            )
    return records


def _refuse_vanished(skips: Iterable[Skip], *, roles: Roles, records: Sequence[Record]) -> None:
    """Raise ValueError where a class folder holds data, but no picture: its class would be gone without a word."""
    if not records:
        return
    place, known = roles.index(CLASS), {plain(record.code) for record in records}
    gone = defaultdict(list)
    for skip in skips:
        path = PurePosixPath(skip.file)
        folders = path.parts if _is_folder(skip) else path.parts[:-1]
        if skip.lost and len(folders) > place and plain(folders[place]) not in known:
            gone["/".join(folders[: place + 1])].append(skip)
    if gone:
        folder, lost = min(gone.items())
        raise ValueError(
            f"source folder: class folder {folder!r} holds no picture that can be used: {len(lost)} file(s) left out, "
            f"first {lost[0].file}: {lost[0].reason}. Mend them (put what a link leads to in its place), or take the "
            "folder out of the raw data"
        )


def _is_folder(skip: Skip) -> bool:
    """Whether a folder was left out, or a link that may lead to one."""
    if skip.file.endswith("/"):
        return True
    return skip.reason.startswith("a symbolic link") and PurePosixPath(skip.file).suffix.lower() not in IMAGE_SUFFIXES


def _empty(files: RawFiles, *, roles: Roles) -> tuple[str, ...]:
    """One sentence on folders where classes lie that hold nothing."""
    paths = [PurePosixPath(skip.file) for skip in files.skipped if skip.reason == EMPTY_FOLDER]
    empty = [str(path) for path in paths if len(path.parts) == roles.index(CLASS) + 1]
    return (f"empty folders, no classes: {some(empty)}",) if empty else ()


def _tables(files: RawFiles) -> tuple[str, ...]:
    tables = [name for name in files.names if PurePosixPath(name).suffix.lower() in TABLES]
    if not tables:
        return ()
    return (f"{some(tables)}: not used, classes are those of the folders; the source `manifest` reads a table",)


SOURCE = FileSource(CARD, lister=list_records)
