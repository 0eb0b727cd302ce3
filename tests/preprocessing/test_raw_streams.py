"""Volumes, arrays and tables: whatever their headers claim, little of them is in memory at any time."""

import gzip
import struct
import zipfile
from contextlib import closing

import nibabel
import numpy as np
import pytest
from fakes.bombs import MB, measured
from fakes.raw_images import png, write_files, write_zip

from mdhfl.preprocessing.raw import limits
from mdhfl.preprocessing.raw.limits import DEFAULTS, MAX_ROW, MAX_TABLE, Limits
from mdhfl.preprocessing.raw.manifest_table import labels_file
from mdhfl.preprocessing.raw.records import SourceOptions, UnreadableImageError
from mdhfl.preprocessing.raw.table_rows import Row, read_rows
from mdhfl.preprocessing.sources import find_source

SPLITS = ("train", "val", "test")
OPEN = """[s.read(r).shape for s in [find_source(sys.argv[1]).open(Path(sys.argv[2]), options=SourceOptions())]
          for rs in [s.records()] for r in [rs[0], rs[-1]]]"""
IMPORTS = """
import numpy, nibabel
from mdhfl.preprocessing.raw.table_rows import Row, read_rows
from mdhfl.preprocessing.sources import find_source
from mdhfl.preprocessing.raw.records import SourceOptions
"""


def npy_header(shape: tuple[int, ...], *, kind: str = "|u1", order: bool = False) -> bytes:
    text = str({"descr": kind, "fortran_order": order, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


def npz_of(path, **changed: bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for split in SPLITS:
            for name, shape, kind in ((f"{split}_images", (2, 8, 8, 3), "|u1"), (f"{split}_labels", (2, 1), "<i8")):
                plain = npy_header(shape, kind=kind) + bytes(int(np.prod(shape)) * (8 if kind == "<i8" else 1))
                archive.writestr(f"{name}.npy", changed.get(name, plain))
    return path


def open_raw(name, raw, **options):
    return closing(find_source(name).open(raw, options=SourceOptions(**options)))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "train_images",
            npy_header((10**12, 8, 8, 3)) + bytes(50),
            r"takes 192,?0*0\d* bytes|takes 1920000000000\d\d bytes",
        ),
        ("train_labels", npy_header((10**12,), kind="<i8"), "takes 8000000000"),
        ("train_images", npy_header((-2, 8, 8, 3)) + bytes(50), "takes -"),
        ("train_images", npy_header((2, 10**5, 10**5, 3)), "takes 60000000"),
        ("train_images", npy_header((2, 8, 8, 3), kind="|O") + bytes(50), "expected numbers"),
        ("train_images", npy_header((2, 8, 8, 3), order=True) + bytes(384), "C order"),
        ("train_images", b"\x93NUMPY\x02\x00" + b"\xff" * 4 + bytes(50), "not a readable"),
        ("train_images", b"\x93NUMPY\x01\x00\x10\x00{'descr': 'x' *9", "not a readable"),
        ("train_images", b"", "not a readable"),
        (
            "train_images",
            npy_header((1, 8_000, 8_000)) + bytes(64_000_000),
            "too large: the limit is 50,000,000 pixels",
        ),
    ],
)
def test_an_array_that_claims_too_much_is_refused(tmp_path, name, data, message):
    changed = {name: data}
    if b"8000, 8000" in data:
        changed["train_labels"] = npy_header((1,)) + bytes(1)
    with pytest.raises(ValueError, match=message):
        find_source("medmnist").open(npz_of(tmp_path / "x.npz", **changed), options=SourceOptions())


def test_more_pictures_than_allowed_in_an_npz(tmp_path):
    path = npz_of(tmp_path / "x.npz")
    with open_raw("medmnist", path, limits=Limits(max_files=6)) as source:
        assert len(source.records()) == 6
    with pytest.raises(ValueError, match=r"limit is 5 members, got 6"):
        find_source("medmnist").open(path, options=SourceOptions(limits=Limits(max_files=5)))


def test_a_large_npz_is_never_in_memory_as_a_whole(tmp_path):
    images = npy_header((2_000, 224, 224, 3)) + bytes(2_000 * 224 * 224 * 3)  # 301 MB
    path = npz_of(tmp_path / "x.npz", train_images=images, train_labels=npy_header((2_000,)) + bytes(2_000))
    grown, said = measured(OPEN, "medmnist", path, imports=IMPORTS)
    assert said == "[(8, 8, 3), (8, 8, 3)]"
    assert grown < 60


def test_pictures_of_an_npz_in_any_order(tmp_path):
    arrays = {f"{split}_images": np.random.default_rng(3).integers(0, 256, (5, 6, 7, 3), np.uint8) for split in SPLITS}
    np.savez_compressed(tmp_path / "x.npz", **arrays, **{f"{split}_labels": np.arange(5)[:, None] for split in SPLITS})
    with open_raw("medmnist", tmp_path / "x.npz") as source:
        records = source.records()
        for record in (records[7], records[3], records[9], records[0]):
            split, _, index = record.key.partition("/")
            assert (source.read(record) == arrays[f"{split}_images"][int(index)]).all()


def test_a_flipped_bit_in_an_npz_is_found_when_it_is_listed(tmp_path):
    arrays = {f"{split}_images": np.zeros((50, 28, 28, 3), np.uint8) for split in SPLITS}
    np.savez(tmp_path / "x.npz", **arrays, **{f"{split}_labels": np.arange(50) for split in SPLITS})
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[50_000] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with (
        open_raw("medmnist", tmp_path / "x.npz") as source,
        pytest.raises(ValueError, match=r"not a readable .npz \(Bad CRC"),
    ):
        source.records()


def nifti_of(
    shape: tuple[int, ...], *, data: bytes = b"", kind: int = 4, ndim: int | None = None, offset: float = 352
) -> bytes:
    """A NIfTI-1 file whose header claims that shape; `kind` 4 is int16."""
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    dims = [len(shape) if ndim is None else ndim, *shape]
    struct.pack_into("<8h", header, 40, *dims, *[1] * (8 - len(dims)))
    struct.pack_into("<hh", header, 70, kind, 16)
    struct.pack_into("<8f", header, 76, *[1] * 8)
    struct.pack_into("<f", header, 108, offset)
    header[344:348] = b"n+1\x00"
    return bytes(header) + bytes(4) + data


def nifti_folder(top, data: bytes, *, name: str = "scan.nii.gz", place: str = ""):
    table = f"file,class\n{name}{place},a\n".encode()
    return write_files(top, {name: gzip.compress(data, 1) if name.endswith("gz") else data, "manifest.csv": table})


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (nifti_of((32_767, 32_767, 32_767)), "too large: the limit is 50,000,000 pixels, got 1,073,676,289"),
        (nifti_of((7_000, 7_000, 32_767)), "too large: the limit is 68,719,476,736 bytes unpacked, got 3"),
        (nifti_of((7_000, 7_000), kind=2048), "bytes of samples|damaged or unknown"),
        (nifti_of((0, 4, 4)), "expected a picture or a volume"),
        (nifti_of((-3, -3, 4)), "expected a picture or a volume"),
        (nifti_of((4, 4, 4, 4)), "expected a picture or a volume"),
        (nifti_of((4,)), "expected a picture or a volume"),
        (nifti_of((4, 4), ndim=300), "damaged or unknown"),
        (nifti_of((4, 4), offset=float("nan")), "damaged or unknown"),
        (nifti_of((4, 4), offset=float("inf")), "damaged or unknown"),
        (nifti_of((4, 4), offset=-1000.0), "damaged or unknown"),
        (nifti_of((4, 4), kind=32, data=bytes(128)), "expected whole or real numbers"),
        (nifti_of((4, 4), data=bytes(31)), "damaged or unknown"),
        (b"", "damaged or unknown"),
        (b"\x1f\x8b" + bytes(20), "damaged or unknown"),
    ],
)  # fmt: skip
def test_a_nifti_that_claims_what_cannot_be_gives_a_reason(tmp_path, name, data, reason):
    with open_raw("nifti", nifti_folder(tmp_path, data, name=name)) as source:
        (record,) = source.records()
        with pytest.raises(UnreadableImageError, match=reason):
            source.read(record)


def test_a_volume_is_never_in_memory_as_a_whole(tmp_path):
    data = nifti_of((512, 512, 600), data=bytes(512 * 512 * 600 * 2))  # 315 MB
    grown, said = measured(OPEN, "nifti", nifti_folder(tmp_path / "raw", data), imports=IMPORTS)
    assert said == "[(512, 512, 3), (512, 512, 3)]"
    assert grown < 40


def test_what_follows_a_small_header_is_not_kept(tmp_path):
    data = nifti_of((4, 4), data=bytes(150 * MB))
    grown, said = measured(OPEN, "nifti", nifti_folder(tmp_path / "raw", data), imports=IMPORTS)
    assert said == "[(4, 4, 3), (4, 4, 3)]"
    assert grown < 40


def test_a_volume_that_goes_on_after_what_it_claims_is_read_up_to_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "GIB", MB)
    folder = nifti_folder(tmp_path / "raw", nifti_of((4, 4), data=bytes(3 * MB)))
    with open_raw("nifti", folder, limits=Limits(max_unpacked=3)) as source:
        (record,) = source.records()
        with pytest.raises(
            UnreadableImageError, match=r"too large: the limit is 3,145,728 bytes unpacked, got 3,146,080"
        ):
            source.read(record)


@pytest.mark.parametrize("packed", [False, True])
def test_slices_are_what_nibabel_reads_of_the_whole(tmp_path, packed):
    volume = (np.random.default_rng(0).normal(size=(9, 7, 5)) * 100).astype(np.int16)
    image = nibabel.Nifti1Image(volume, np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    folder = nifti_folder(tmp_path / "raw", image.to_bytes())
    whole = np.asarray(nibabel.Nifti1Image.from_bytes(image.to_bytes()).dataobj)
    raw = folder
    if packed:
        raw = write_zip(tmp_path / "raw.zip", {path.name: path.read_bytes() for path in folder.iterdir()})
    with open_raw("nifti", raw) as source:
        for record in reversed(source.records()):
            one = whole[:, :, int(record.key.partition("#")[2])].T
            expected = np.rint((one - whole.min()) * (255 / (whole.max() - whole.min())))
            assert (source.read(record)[:, :, 0] == expected).all()


def test_a_flipped_bit_in_a_packed_volume_is_found_when_it_is_listed(tmp_path):
    folder = nifti_folder(tmp_path / "raw", nifti_of((8, 8, 4), data=bytes(512)), place="#1")
    data = bytearray((folder / "scan.nii.gz").read_bytes())
    data[-6] ^= 1  # of its checksum
    (folder / "scan.nii.gz").write_bytes(data)
    with open_raw("nifti", folder) as source:
        (record,) = source.records()
        with pytest.raises(UnreadableImageError, match="CRC check failed"):
            source.read(record)


def test_slices_and_rows_beyond_the_number_allowed(tmp_path):
    folder = nifti_folder(tmp_path / "raw", nifti_of((4, 4, 30_000), data=bytes(960_000)), name="scan.nii")
    message = "limit is 29,999 pictures, got 30,000; raise it with --max-files"
    with open_raw("nifti", folder, limits=Limits(max_files=29_999)) as source, pytest.raises(ValueError, match=message):
        source.records()
    with pytest.raises(ValueError, match="limit is 2 rows, got 3; raise it with --max-files"):
        read_rows(b"file,class\n" + b"1.png,a\n" * 3, where="x.csv", limits=Limits(max_files=2))


def test_a_table_without_an_end_is_refused(tmp_path):
    with (tmp_path / "labels.csv").open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    read = "len(read_rows(labels_file(Path(sys.argv[1])), where='labels.csv', limits=DEFAULTS).rows)"
    imports = (
        "from mdhfl.preprocessing.raw.manifest_table import labels_file\n"
        "from mdhfl.preprocessing.raw.limits import DEFAULTS\n"
        "from mdhfl.preprocessing.raw.table_rows import read_rows"
    )
    grown, said = measured(read, tmp_path / "labels.csv", imports=imports)
    assert said == f"ValueError: table labels.csv: too large: the limit is {MAX_TABLE:,} bytes, got {MAX_TABLE + 1:,}"
    assert grown < 200
    raw = write_files(tmp_path / "raw", {"1.png": png(1), "manifest.csv": b""})
    with (raw / "manifest.csv").open("wb") as file:
        file.truncate(1 << 40)
    with (
        open_raw("manifest", raw) as source,
        pytest.raises(ValueError, match=r"table manifest\.csv: too large: the"),
    ):
        source.records()


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (b"," * (MAX_ROW + 1), "too large: the limit is 1,048,576 characters in a row"),
        (b'"a\n",' * MAX_ROW, "too large: the limit is 1,048,576 characters in a row"),
        (b'"' + b"a" * 200_000 + b'",b\n', "expected CSV .field larger than field limit"),
        (b"\0,\0\n", "holds zero bytes, which no text has"),
    ],
)
def test_a_row_without_an_end_is_refused(rest, message):
    data = b"file,class\n" + rest
    with pytest.raises(ValueError, match=message):
        read_rows(data, where="x.csv", limits=DEFAULTS)


def test_a_table_with_a_mark_of_its_encoding_and_short_rows(tmp_path):
    data = b"\xef\xbb\xbfFile;Label;Patient\r\n1.png;a;p\r\n\r\n2.png\r\n"
    (tmp_path / "x.csv").write_bytes(data)
    assert read_rows(labels_file(tmp_path / "x.csv"), where="x.csv", limits=DEFAULTS).rows == [
        Row(2, "1.png", "a", "p", None),
        Row(4, "2.png", "", "", None),
    ]
