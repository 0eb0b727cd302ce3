"""NIfTI volumes: one orientation, slices by number, one window for all of them."""

from contextlib import closing
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.inputs import private_inputs
from mdhfl.preprocessing.prepare import prepare
from mdhfl.preprocessing.raw.notes import listening
from mdhfl.preprocessing.raw.records import SourceOptions, UnreadableImageError
from mdhfl.preprocessing.raw.scaling import Scaling
from mdhfl.preprocessing.raw.window import parse_window
from mdhfl.preprocessing.sources import find_source

VALUES = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)  # right, front, top


def write(folder, rows, **volumes):
    """Volumes and a manifest of rows "file,class"."""
    folder.mkdir(exist_ok=True)
    for name, image in volumes.items():
        nibabel.save(image, folder / f"{name}.nii.gz")
    (folder / "manifest.csv").write_text("file,class\n" + "\n".join(rows) + "\n")
    return folder


def stored_as(codes: str, values: np.ndarray = VALUES, affine: np.ndarray | None = None) -> nibabel.Nifti1Image:
    """The same volume, its axes stored in this order, for example LPS."""
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    turning = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(turning)
    assert "".join(nibabel.aff2axcodes(turned.affine)) == codes
    return turned


def read_all(raw, **options):
    with closing(find_source("nifti").open(raw, options=SourceOptions(**options))) as source:
        return {record.key: source.read(record) for record in source.records()}


@pytest.mark.parametrize("codes", ["RAS", "LAS", "RPS", "LPS", "ARS", "PLS", "PRS", "ALS"])
def test_the_same_picture_however_it_is_stored(tmp_path, codes):
    raw = write(tmp_path / "raw", ["x.nii.gz,a"], x=stored_as(codes))
    pictures = read_all(raw)
    for number in range(3):
        expected = VALUES[:, :, number].T  # to the right along a row, to the front down a column
        assert (pictures[f"x.nii.gz#{number:04}"][:, :, 0] == expected).all()


@pytest.mark.parametrize("codes", ["RSA", "LSA", "SRA", "IRP", "ASR", "PSL", "RIA"])
def test_slices_in_other_planes_have_one_orientation_too(tmp_path, codes):
    pictures = read_all(write(tmp_path / "raw", ["x.nii.gz,a"], x=stored_as(codes)))
    across = {"A": 1, "P": 1, "R": 0, "L": 0}[codes[2]]
    for number in range(VALUES.shape[across]):
        place = number if codes[2] in "RA" else VALUES.shape[across] - 1 - number  # as it is stored
        assert (pictures[f"x.nii.gz#{number:04}"][:, :, 0] == np.take(VALUES, place, across).T).all()


def test_an_oblique_volume_is_turned_to_the_closest_axes(tmp_path):
    angle = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    raw = write(tmp_path / "raw", ["x.nii.gz,a"], x=stored_as("LPS", affine=affine))
    assert (read_all(raw)["x.nii.gz#0000"][:, :, 0] == VALUES[:, :, 0].T).all()


def test_a_volume_that_names_no_space_is_as_stored_and_that_is_noted(tmp_path):
    image = nibabel.Nifti1Image(VALUES, None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    with listening() as notes:
        pictures = read_all(write(tmp_path / "raw", ["x.nii.gz#1,a"], x=image))
    assert (pictures["x.nii.gz#0001"][:, :, 0] == VALUES[:, :, 1].T).all()
    assert "orientation not stated: as stored" in notes


@pytest.mark.parametrize("shape", [(1, 6, 8), (6, 1, 8), (6, 8, 1)])
def test_one_slice_is_one_picture_whichever_axis_is_thin(tmp_path, shape):
    image = nibabel.Nifti1Image(VALUES[:, :, 0].reshape(shape), np.eye(4))
    pictures = read_all(write(tmp_path / "raw", ["x.nii.gz,a"], x=image))
    assert [pixels[:, :, 0].tolist() for pixels in pictures.values()] == [VALUES[:, :, 0].T.tolist()]


def test_volumes_of_two_planes_are_not_mixed(tmp_path):
    raw = write(tmp_path / "raw", ["x.nii.gz,a", "y.nii.gz,b"], x=stored_as("RAS"), y=stored_as("RSA"))
    with pytest.raises(ValueError, match=r"of x.nii.gz are axial, those of y.nii.gz coronal: save all volumes in"):
        read_all(raw)


@pytest.mark.parametrize(("place", "number"), [("2", 2), ("2.0", 2), ("0002", 2), ("0.", 0), ("1.000", 1), (" 1", 1)])
def test_whole_numbers_in_any_spelling(tmp_path, place, number):
    assert list(read_all(write(tmp_path / "raw", [f"x.nii.gz#{place},a"], x=stored_as("RAS")))) == [
        f"x.nii.gz#{number:04}"
    ]


@pytest.mark.parametrize("place", ["-1", "mid", "", "2.5", "nan", "1e0", "²", "99999999999"])
def test_other_slices_are_refused_never_all_of_them(tmp_path, place):
    raw = write(tmp_path / "raw", [f"x.nii.gz#{place},a"], x=stored_as("RAS"))
    with pytest.raises(ValueError, match="expected a whole number from 0 for a slice along the third axis"):
        read_all(raw)


@pytest.mark.parametrize("name", ["x", "flat"])
def test_a_slice_that_is_not_there_is_unreadable(tmp_path, name):
    flat = nibabel.Nifti1Image(VALUES[:, :, 0], np.eye(4))
    with pytest.raises(UnreadableImageError, match="has no slice 7"):
        read_all(write(tmp_path / "raw", [f"{name}.nii.gz#7,a"], x=stored_as("RAS"), flat=flat))


def phantom(value: float) -> nibabel.Nifti1Image:
    noise = np.random.default_rng(int(abs(value))).normal(0, 20, (16, 16, 2))
    return nibabel.Nifti1Image((value + noise).astype(np.int16), np.eye(4))


@pytest.mark.parametrize(
    ("scaling", "low", "high"),
    [
        (Scaling(), None, None),
        (Scaling(window=(-1000, 400)), -1000, 400),
        (Scaling(percentiles=(1, 99)), None, None),
    ],
)
def test_air_stays_darker_than_tissue(tmp_path, scaling, low, high):
    raw = write(tmp_path / "raw", ["air.nii.gz,a", "tissue.nii.gz,b"], air=phantom(-700), tissue=phantom(40))
    means = [pixels.mean() for pixels in read_all(raw, scaling=scaling).values()]
    assert max(means[:2]) < 60
    assert min(means[2:]) > 185
    if low is not None:
        assert means == pytest.approx([(v - low) * 255 / (high - low) for v in (-700, -700, 40, 40)], abs=2)


def test_the_card_states_the_window_and_the_workers_keep_it(tmp_path):
    names = [f"v{i}" for i in range(8)]
    volumes = {name: phantom(-700 if i % 2 else 40 + i) for i, name in enumerate(names)}
    raw = write(tmp_path / "raw", [f"{name}.nii.gz,{'ab'[i % 2]}" for i, name in enumerate(names)], **volumes)
    arguments = PrepareArguments("nifti", out=tmp_path / "fed", raw=raw, sites=2, minimum=2, image_size=16)
    facts = prepare(arguments, workers=2).federation["reading"]["raw"]
    low, high = facts["window"]
    values = np.concatenate([volume.get_fdata().ravel() for volume in volumes.values()])
    assert (low, high) == (values.min(), values.max())
    given = PrepareArguments("nifti", out=tmp_path / "given", raw=raw, sites=2, minimum=2, window="-1000,400")
    done = prepare(given, workers=1).federation
    assert done["reading"]["raw"]["window"] == [-1000, 400]
    assert done["arguments"]["window"] == "-1000,400"


def test_a_masked_background(tmp_path):
    values = VALUES.astype(np.float32)
    values[:2] = np.nan
    raw = write(tmp_path / "raw", ["x.nii.gz,a"], x=nibabel.Nifti1Image(values, np.eye(4)))
    with pytest.raises(UnreadableImageError, match="give --nan black"):
        read_all(raw)
    pixels = read_all(raw, scaling=Scaling(nan="black"))["x.nii.gz#0000"][:, :, 0]
    assert (pixels[:, :2] == 0).all()
    finite = values[2:]
    expected = (VALUES[2:, :, 0].T - finite.min()) * (255 / (finite.max() - finite.min()))
    assert np.abs(pixels[:, 2:] - expected).max() <= 1


@pytest.mark.parametrize("text", ["", "5", "240,-160", "1,1", "a,b", "0,nan", "1%,2", "-1%,50%", "0%,101%", "1,2,3"])
def test_windows_that_are_none(text):
    with pytest.raises(ValueError, match="expected LOW,HIGH in the files' own units"):
        parse_window(text)


def test_windows():
    assert parse_window("-160,240") == (-160, 240, False)
    assert parse_window("0.5%, 99.5%") == (0.5, 99.5, True)
    arguments = PrepareArguments("folder", out=Path("x"), raw=Path("y"), window="1%,99%")
    with pytest.raises(ValueError, match="percentiles are of a data set of volumes, source nifti; for folder give"):
        private_inputs(arguments, space=None)
    with pytest.raises(ValueError, match="nan='zero': expected one of refuse, black"):
        PrepareArguments("folder", out=Path("x"), raw=Path("y"), nan="zero")
