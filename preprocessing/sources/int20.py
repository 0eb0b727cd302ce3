"""INT_20: the internal set of the Munich Leukemia Laboratory, in its folder layout. Not public."""

from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.file_source import FileSource, Listing, image_paths, in_class_folders
from mdhfl.preprocessing.raw.records import Record, SourceCard, SourceOptions

CODES = (
    "01-NORMO", "04-LGL", "05-MONO", "08-LYMPH-neo", "09-BASO", "10-EOS", "11-STAB", "12-LYMPH-reaktiv", "13-MYBL",
    "14-LYMPH-typ", "15-SEG", "16-PLZ", "17-Kernschatten", "18-PMYEL", "19-MYEL", "20-Meta", "21-Haarzelle",
    "22-Atyp-PMYEL",
)  # fmt: skip

CARD = SourceCard(
    name="int20",
    title="INT_20: internal set of the Munich Leukemia Laboratory",
    licence="not public",
    citation=(
        "As used in M. U. Madni, R. M. Umer, G. L. Foresti: Federated Learning for Data and Model Heterogeneity in "
        "Medical Imaging. ICIAP 2023 workshops (arXiv 2308.00155)"
    ),
    url="https://arxiv.org/abs/2308.00155",
    codes=CODES,
    raw="its folder or a zip of it (folders 01-NORMO to 22-Atyp-PMYEL)",
)


def list_records(files: RawFiles, options: SourceOptions) -> Listing:
    """One record a file: the folder's name is the code."""
    paths, skips = image_paths(files)
    return Listing([Record(key=str(path), code=path.parent.name) for path in in_class_folders(paths, skips)], skips)


SOURCE = FileSource(CARD, lister=list_records)
