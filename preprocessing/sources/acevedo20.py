"""Acevedo_20: 17,092 cells of normal peripheral blood, 8 folders, finer classes in the prefixes of file names."""

import re

from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.file_source import FileSource, Listing, image_paths, in_class_folders
from mdhfl.preprocessing.raw.records import Record, SourceCard, SourceOptions

FOLDERS = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")
FINER = {"ig": ("IG", "MMY", "MY", "PMY"), "neutrophil": ("BNE", "NEUTROPHIL", "SNE")}

CARD = SourceCard(
    name="acevedo20",
    title="Acevedo_20: PBC_dataset_normal_DIB (Hospital Clinic of Barcelona, CellaVision DM96)",
    licence="CC BY 4.0",
    citation=(
        "A. Acevedo, A. Merino, S. Alferez, A. Molina, L. Boldu, J. Rodellar: A dataset of microscopic peripheral "
        "blood cell images for development of automatic recognition systems. Data in Brief 30, 105474 (2020)"
    ),
    url="https://data.mendeley.com/datasets/snkd93bnjr",
    codes=(*FOLDERS, *(f"{folder}/{prefix}" for folder, prefixes in FINER.items() for prefix in prefixes)),
    raw="its zip or folder (PBC_dataset_normal_DIB with 8 class folders)",
)


def list_records(files: RawFiles, options: SourceOptions) -> Listing:
    """One record a file: its folder is the class; "ig/MMY" and the like where the name tells a finer one."""
    paths, skips = image_paths(files)
    records = []
    for path in in_class_folders(paths, skips):
        folder = path.parent.name.lower()
        prefix = re.match("[A-Z]*", path.name.upper())
        finer = prefix.group() if prefix else ""
        code = f"{folder}/{finer}" if finer in FINER.get(folder, ()) else folder
        records.append(Record(key=str(path), code=code))
    return Listing(records, skips)


SOURCE = FileSource(CARD, lister=list_records)
