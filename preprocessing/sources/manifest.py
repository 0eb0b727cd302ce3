"""Any dataset with a table that lists files and classes, and optionally groups and a split."""

from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.file_source import FileSource, Listing
from mdhfl.preprocessing.raw.manifest_table import find_table, label_table
from mdhfl.preprocessing.raw.reading import IMAGE_SUFFIXES
from mdhfl.preprocessing.raw.records import SourceCard, SourceOptions

CARD = SourceCard(
    name="manifest",
    title="files listed in a table",
    licence="not stated",
    citation="not stated",
    url="",
    raw="a folder or a zip with a table of files and classes (CSV or Excel), or such a table given with --labels",
)


def list_records(files: RawFiles, options: SourceOptions) -> Listing:
    """One record a picture. Without --labels the manifest nearest to the top counts, or the only table there is."""
    table = label_table(files, options, find=find_table, suffixes=IMAGE_SUFFIXES)
    if table is None:
        raise ValueError(
            "source manifest: no table (manifest.csv, .tsv or .xlsx, with files and classes) in the raw data; add one, "
            "give it with --labels, or use the source `folder` for one folder per class"
        )
    return Listing(*table.listing())


SOURCE = FileSource(CARD, lister=list_records)
