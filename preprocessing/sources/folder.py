"""Any dataset with a folder per class; training, validation and test folders above the classes are kept as parts."""

from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.file_source import FileSource, Listing, image_paths, in_class_folders
from mdhfl.preprocessing.raw.records import Record, SourceCard, SourceOptions
from mdhfl.preprocessing.raw.table_values import PART_NAMES

CARD = SourceCard(
    name="folder",
    title="a folder per class",
    licence="not stated",
    citation="not stated",
    url="",
    raw="a folder or a zip with one folder per class (train/, val/ and test/ above the classes are kept)",
)


def list_records(files: RawFiles, options: SourceOptions) -> Listing:
    """One record a file: the folder it lies in is its class, whatever lies above."""
    paths, skips = image_paths(files)
    records = []
    for path in in_class_folders(paths, skips):
        parts = [PART_NAMES[name.lower()] for name in path.parts[:-2] if name.lower() in PART_NAMES]
        records.append(Record(key=str(path), code=path.parent.name, part=parts[-1] if parts else None))
    return Listing(records, skips)


SOURCE = FileSource(CARD, lister=list_records)
