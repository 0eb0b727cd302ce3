"""What a file is, by its first bytes: a picture, a text beside pictures, or data that is lost where it is left out."""

import re
from pathlib import PurePosixPath

START = 132  # bytes that tell
PICTURES = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|BM.{4}\0{4}"
    rb"|II[*+]\0|MM\0[*+]"  # TIFF
    rb"|RIFF.{4}WEBP"
    rb"|P[1-6]\s+[0-9#]"  # PBM, PGM, PPM
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|.{128}DICM",
    re.DOTALL,
)
TEXT = re.compile(
    rb"\xff\xfe|\xfe\xff|[^\0-\x08\x0e-\x1a\x1c-\x1f]*\Z"
)  # UTF-16 with its mark, or no control characters
DOCUMENTS = frozenset({".doc", ".docx", ".ods", ".odt", ".pdf", ".ppt", ".pptx", ".rtf", ".xls", ".xlsx"})
WAYS_OUT = {
    **dict.fromkeys((".nii", ".gz"), "a volume? read it with the source nifti"),
    **dict.fromkeys((".npy", ".npz"), "arrays: read them with the source medmnist"),
    **dict.fromkeys((".7z", ".rar", ".tar", ".tgz", ".zip"), "an archive within the raw data: unpack it"),
}


def is_picture(start: bytes) -> bool:
    """Whether a file that begins so is a picture."""
    return PICTURES.match(start) is not None


def is_document(name: str, start: bytes) -> bool:
    """Whether a file is a text or an office document, that may lie beside pictures and holds none."""
    return PurePosixPath(name).suffix.lower() in DOCUMENTS or TEXT.match(start) is not None


def unused(name: str) -> str:
    """What is said of a file that is no picture."""
    suffix = PurePosixPath(name).suffix
    hint = WAYS_OUT.get(suffix.lower())
    return f"not an image file ({suffix or 'no suffix'})" + (f": {hint}" if hint else "")
