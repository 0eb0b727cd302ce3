"""Names in zips that do not say how they are written: read so that people can read them, or refused."""

import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from fakes.raw_images import png, write_zip
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.preprocessing.raw.archive import fingerprint, open_files
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.raw.zip_names import encoding_of
from mdhfl.preprocessing.sources import find_source


class Unmarked(zipfile.ZipInfo):
    """A member whose name is written as given, without the mark of UTF-8."""

    raw = b""

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.raw, self.flag_bits & ~0x800


def unmarked_zip(path: Path, names: list[str], *, encoding: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for seed, name in enumerate(names):
            member = Unmarked(f"{seed}.png")
            member.raw = name.encode(encoding)
            archive.writestr(member, png(seed))
    return path


CHINESE = ["血细胞/嗜酸/1.png", "血细胞/淋巴Ⅱ/1.png"]


@pytest.mark.parametrize(
    ("encoding", "names", "told"),
    [
        ("gbk", CHINESE, "gb2312"),
        ("gbk", ["嗜鹼性白血球/1.png", "淋巴球細胞/1.png"], "gbk"),
        ("utf-8", CHINESE, "utf-8"),
        ("utf-8", ["Blastenzelle_ä/1.png", "normal/1.png"], "utf-8"),
        ("shift_jis", ["ブラスト/1.png", "正常細胞/2.png"], "shift_jis"),
        ("cp437", ["Blastenzelle_ä/1.png", "Größe/1.png", "Köln/1.png"], "cp437"),
        ("cp850", ["Müller/éléphant/1.png", "b/1.png"], "cp437"),
        ("cp1252", ["Blastenzelle_ä/1.png", "Größe/1.png", "été/1.png"], "cp1252"),
    ],
)
def test_names_without_a_mark_are_read(tmp_path, encoding, names, told):
    raw = unmarked_zip(tmp_path / "raw.zip", names, encoding=encoding)
    with closing(open_files(raw)) as files:
        assert files.names == sorted(names)
        assert [len(files.read(name)) > 0 for name in files.names] == [True] * len(names)
        (note,) = files.notes
        assert f"read as {told}, for example" in note
    assert len(fingerprint(raw)) == 32


def test_classes_of_a_chinese_zip_have_their_names_and_the_note_says_how(tmp_path):
    raw = unmarked_zip(tmp_path / "raw.zip", CHINESE, encoding="gbk")
    with closing(find_source("folder").open(raw, options=SourceOptions())) as source:
        assert {record.code for record in source.records()} == {"嗜酸", "淋巴Ⅱ"}
        assert any("read as gb2312" in note for note in source.understood().notes)


@pytest.mark.parametrize("encoding", ["cp866", "cp1251", "koi8-r"])
def test_names_that_cannot_be_told_are_refused_with_the_way_out(tmp_path, encoding):
    raw = unmarked_zip(tmp_path / "raw.zip", ["клетки/бласты/1.png", "норма/2.png"], encoding=encoding)
    with pytest.raises(ValueError, match=r"unpack it with a program that asks for the encoding .* UTF-8"):
        open_files(raw)


def test_marked_and_plain_names_need_no_note(tmp_path):
    raw = write_zip(tmp_path / "raw.zip", {"嗜酸/1.png": png(1), "b/2.png": png(2)})
    with closing(open_files(raw)) as files:
        assert files.names == ["b/2.png", "嗜酸/1.png"]
        assert files.notes == ()


def test_the_name_in_utf8_that_some_programs_add_counts(tmp_path):
    import struct
    import zlib

    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        member = Unmarked("x")
        member.raw = "к/1.png".encode("cp866")
        told = b"\1" + struct.pack("<I", zlib.crc32(member.raw)) + "к/1.png".encode()
        member.extra = struct.pack("<HH", 0x7075, len(told)) + told
        archive.writestr(member, png(1))
    with closing(open_files(tmp_path / "raw.zip")) as files:
        assert files.names == ["к/1.png"]
        assert files.read("к/1.png") == png(1)


def test_back_slashes_dots_and_members_listed_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for name, seed in (("a\\1.png", 1), ("./b/2.png", 2), ("b//3.png", 3)):
            archive.writestr(name, png(seed))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("./b/2.png", png(4))
    with closing(open_files(tmp_path / "raw.zip")) as files:
        assert files.names == ["a/1.png", "b/2.png", "b/3.png"]
        assert files.read("a/1.png") == png(1)
        assert files.read("b/2.png") == png(4)
        assert [(skip.file, skip.lost) for skip in files.skipped] == [("b/2.png", True)]


@given(st.lists(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=2, max_size=6), min_size=1))
def test_chinese_names_in_gbk_are_never_read_as_latin(names):
    written = [name.encode("gbk", "ignore") for name in names]
    assert encoding_of([name for name in written if name] or [b"\xd1\xaa"]) not in ("cp437", "cp1252")


@given(st.lists(st.text("abcdehlnorst _äöüÄÖÜßéèç", min_size=6, max_size=12), min_size=1))
def test_latin_names_are_never_read_as_chinese(names):
    sane = [
        n for n in names if sum(not c.isascii() for c in n) == 1 and sum(c.isascii() and c.isalpha() for c in n) > 2
    ]
    for codec in ("cp437", "cp1252"):
        assert not sane or encoding_of([name.encode(codec) for name in sane]) == codec


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1))
def test_any_bytes_have_an_encoding_that_reads_them_or_none(names):
    names = [name.replace(b"\n", b"-") for name in names]
    codec = encoding_of(names)
    assert codec is None or all(isinstance(name.decode(codec), str) for name in names)
