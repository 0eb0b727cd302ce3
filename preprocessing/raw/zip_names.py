"""Names in zips that do not say how they are written: they are read as all of them together can be read."""

import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075  # an extra field of Info-ZIP, WinRAR and 7-Zip: the name once more, in UTF-8
CJK = ("CJK", "HIRAGANA", "KATAKANA", "FULLWIDTH", "IDEOGRAPHIC")


def is_marked(member: zipfile.ZipInfo) -> bool:
    """Whether a member's name is ASCII, or says that it is UTF-8."""
    return bool(member.flag_bits & UTF8_FLAG) or member.orig_filename.isascii()


def raw_name(member: zipfile.ZipInfo) -> bytes:
    """The bytes of an unmarked name: Python has read them as CP437, which has a character for every byte."""
    return member.orig_filename.encode("cp437").partition(b"\0")[0]


def unicode_path(member: zipfile.ZipInfo) -> str | None:
    """The name in UTF-8 that some programs add; None where there is none, or it belongs to another name."""
    extra, raw = member.extra, raw_name(member)
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        data, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and data[:1] == b"\1" and data[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return data[5:].decode(errors="replace")
    return None


def encoding_of(names: Iterable[bytes]) -> str | None:
    """How unmarked names are written: the first of these that reads all of them, and gives what people write.

    UTF-8; GB2312; Shift-JIS and GBK, where no Chinese or Japanese character stands alone; CP437 and Windows-1252, where
    Latin letters with accents are fewer than those without.

    Args:
        names: with characters beyond ASCII.

    Returns:
        A codec's name; None: none of them.
    """
    joined = b"\n".join(sorted(set(names)))
    for codec, fits in RULES:
        try:
            text = joined.decode(codec)
        except UnicodeDecodeError:
            continue
        if fits(text):
            return codec
    return None


def _is_east_asian(text: str) -> bool:
    """Whether most characters beyond ASCII are Chinese or Japanese; others are signs that these codecs have, too."""
    beyond = [letter for letter in text if not letter.isascii()]
    return 2 * sum(unicodedata.name(letter, "").startswith(CJK) for letter in beyond) > len(beyond)


def _in_runs(text: str) -> bool:
    """Whether all are Chinese or Japanese, and none stands alone, as it does where an accent was misread."""
    runs = re.findall(r"[^\0-\x7f]+", text)
    return all(len(run) > 1 and all(unicodedata.name(letter, "").startswith(CJK) for letter in run) for run in runs)


def _is_latin(text: str) -> bool:
    beyond = [letter for letter in text if not letter.isascii()]
    plain = sum(letter.isascii() and letter.isalpha() for letter in text)
    return len(beyond) < plain and all(unicodedata.name(letter, "").startswith("LATIN ") for letter in beyond)


RULES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("utf-8", lambda text: True),
    ("gb2312", _is_east_asian),
    ("shift_jis", _in_runs),
    ("gbk", _in_runs),
    ("cp437", _is_latin),
    ("cp1252", _is_latin),
)
