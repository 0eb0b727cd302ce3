"""Any dataset with a CSV that lists files and classes, and optionally groups and a split."""

from pathlib import PurePosixPath

from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.file_source import FileSource, Listing
from mdhfl.preprocessing.raw.manifest_table import find_manifest, labels_file, manifest_records, read_rows, table_in
from mdhfl.preprocessing.raw.records import SourceCard, SourceOptions

CARD = SourceCard(
    name="manifest",
    title="files listed in a CSV",
    licence="not stated",
    citation="not stated",
    url="",
    raw="a folder or a zip with manifest.csv (file, class, optional group and split), or a CSV given with --labels",
)


def list_records(files: RawFiles, options: SourceOptions) -> Listing:
    """One record a row. Without --labels the manifest.csv nearest to the top counts, relative to its folder."""
    if options.labels is not None:
        rows = read_rows(labels_file(options.labels), where=str(options.labels), limits=options.limits)
        return Listing(*manifest_records(rows, files=files, base="", where=options.labels.name))
    name = find_manifest(files)
    if name is None:
        raise ValueError(
            "source manifest: no manifest.csv (columns file, class, optional group, split) in the raw data; "
            "add one, give it with --labels, or use the source `folder` for one folder per class"
        )
    rows = read_rows(table_in(files, name), where=name, limits=options.limits)
    return Listing(*manifest_records(rows, files=files, base=str(PurePosixPath(name).parent), where=name))


SOURCE = FileSource(CARD, lister=list_records)
