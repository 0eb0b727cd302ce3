"""Matek_19: 18,365 cells of 100 AML patients and 100 controls, 15 codes, TIFF; also as tiles with a manifest."""

from dataclasses import replace

from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.file_source import FileSource, Listing, image_paths, in_class_folders
from mdhfl.preprocessing.raw.manifest_table import find_manifest, label_table
from mdhfl.preprocessing.raw.reading import IMAGE_SUFFIXES
from mdhfl.preprocessing.raw.records import Record, SourceCard, SourceOptions

CODES = (
    "BAS", "EBO", "EOS", "KSC", "LYA", "LYT", "MMZ", "MOB", "MON", "MYB", "MYO", "NGB", "NGS", "PMB", "PMO",
)  # fmt: skip

CARD = SourceCard(
    name="matek19",
    title="Matek_19: AML-Cytomorphology_LMU (Munich University Hospital)",
    licence="as stated by The Cancer Imaging Archive; confirm before publishing",
    citation=(
        "C. Matek, S. Schwarz, K. Spiekermann, C. Marr: Human-level recognition of blast cells in acute myeloid "
        "leukaemia with convolutional neural networks. Nature Machine Intelligence 1, 538-544 (2019)"
    ),
    url="https://doi.org/10.7937/tcia.2019.36f5o9ld",
    codes=CODES,
    raw="its zip or folder (AML-Cytomorphology_LMU with 15 class folders), or tiles with manifest.csv",
)


def list_records(files: RawFiles, options: SourceOptions) -> Listing:
    """One record a file, in its class's folder; where there is a manifest, its rows (they know the groups)."""
    table = label_table(files, replace(options, labels=None), find=find_manifest, suffixes=IMAGE_SUFFIXES)
    if table is not None:
        return Listing(*table.listing())
    paths, skips = image_paths(files)
    records = [Record(key=str(path), code=path.parent.name.upper()) for path in in_class_folders(paths, skips)]
    return Listing(records, skips)


SOURCE = FileSource(CARD, lister=list_records)
