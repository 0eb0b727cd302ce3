"""MedMNIST's `.npz` files (BloodMNIST and its family, 2-D, colour or grey); they keep their own split."""

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.raw.archive import refuse_special
from mdhfl.preprocessing.raw.limits import MAX_CLASSES
from mdhfl.preprocessing.raw.reading import array_rgb
from mdhfl.preprocessing.raw.records import (
    PARTS,
    Pixels,
    Record,
    Skip,
    SourceCard,
    SourceOptions,
    Understood,
    UnreadableImageError,
)
from mdhfl.preprocessing.raw.sizes import check_number, check_pixels, check_samples
from mdhfl.preprocessing.raw.stored_array import StoredArray, open_arrays
from mdhfl.preprocessing.raw.zip_files import DAMAGES

SPLITS = dict(zip(("train", "val", "test"), PARTS, strict=True))

SETS = {  # how many classes each has
    "bloodmnist": 8, "breastmnist": 2, "dermamnist": 7, "octmnist": 4, "organamnist": 11, "organcmnist": 11,
    "organsmnist": 11, "pathmnist": 9, "pneumoniamnist": 2, "retinamnist": 5, "tissuemnist": 8,
}  # fmt: skip
NAMES = {  # the files hold numbers only
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet",
    ),
    "breastmnist": ("malignant", "normal_benign"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "octmnist": ("choroidal_neovascularization", "diabetic_macular_edema", "drusen", "normal"),
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth_muscle", "normal_colon_mucosa",
        "cancer_associated_stroma", "colorectal_adenocarcinoma_epithelium",
    ),
}  # fmt: skip

CARD = SourceCard(
    name="medmnist",
    title="a MedMNIST v2 file",
    licence="CC BY 4.0 (DermaMNIST: CC BY-NC 4.0)",
    citation=(
        "J. Yang, R. Shi, D. Wei, Z. Liu, L. Zhao, B. Ke, H. Pfister, B. Ni: MedMNIST v2, a large-scale lightweight "
        "benchmark for 2D and 3D biomedical image classification. Scientific Data 10, 41 (2023)"
    ),
    url="https://medmnist.com",
    raw="an .npz of the family, for example bloodmnist.npz or bloodmnist_64.npz, or a zip that holds one",
)


class OpenMedMNIST:
    """An `.npz`, opened; its images are unpacked one by one."""

    def __init__(self, path: Path, *, options: SourceOptions) -> None:
        self.path, self.options, self.limits = path, options, options.limits
        self.archive, self.name = open_arrays(path, limits=options.limits)
        try:
            self.arrays = self._opened()
        except DAMAGES as error:
            self.close()
            raise self._damaged(error) from error
        try:
            for split in SPLITS:
                self._check(split)
            self.set = _set_of(self.name)
        except ValueError as error:
            self.close()
            raise ValueError(f"medmnist {path}: {error}") from error

    def records(self) -> list[Record]:
        """One record an image, in the file's own parts; all is read through once, for its checksums.

        Raises:
            ValueError: a checksum is wrong, or a label is none of the set's classes.
        """
        records, numbers = [], {}
        try:
            for split in SPLITS:
                self.arrays[f"{split}_images"].check()
                labels = self.arrays[f"{split}_labels"]
                labels.check()
                numbers[split] = labels.rows(0, labels.shape[0]).reshape(-1)
        except DAMAGES as error:
            raise self._damaged(error) from error
        for split, part in SPLITS.items():
            self._check_labels(split, numbers[split])
            records += [
                Record(key=f"{split}/{index:06}", code=self._class(int(label)), part=part)
                for index, label in enumerate(numbers[split].tolist())
            ]
        return sorted(records)

    def skipped(self) -> list[Skip]:
        """Nothing: every entry is an image."""
        return []

    def understood(self) -> Understood:
        """The order of the classes, which is that of their numbers; whether the set is known."""
        if self.set is not None:
            return Understood(classes=NAMES.get(self.set, ()))
        note = f"{self.name} is no set of MedMNIST: its classes are numbers, its licence and citation are not known"
        return Understood(notes=(note,))

    def read(self, record: Record) -> Pixels:
        """One image; grey ones get three equal channels."""
        split, _, index = record.key.partition("/")
        try:
            image = self.arrays[f"{split}_images"].rows(int(index), int(index) + 1)[0]
        except DAMAGES as error:
            raise UnreadableImageError(f"cannot be unpacked: {error}") from error
        return array_rgb(image, scaling=self.options.scaling)

    def close(self) -> None:
        """Close the file."""
        self.arrays = {}
        self.archive.close()

    def _class(self, label: int) -> str:
        names = NAMES.get(self.set or "", ())
        return names[label] if names else str(label)

    def _check_labels(self, split: str, labels: NDArray[np.generic]) -> None:
        """Raise ValueError where a label is no whole number, or none of the set's classes."""
        most = SETS.get(self.set or "", MAX_CLASSES) - 1
        numbers = labels.astype(np.float64)
        wrong = np.flatnonzero(~((numbers == np.floor(numbers)) & (numbers >= 0) & (numbers <= most)))
        if len(wrong):
            raise ValueError(
                f"medmnist {self.path}: {len(wrong)} of {len(labels)} labels in {split}_labels are no class of "
                f"{self.set or 'the set'}, first {labels[wrong[0]]} of image {wrong[0]}: expected whole numbers from 0 "
                f"to {most}. Take these images out of the file, or give them their class"
            )

    def _opened(self) -> dict[str, StoredArray]:
        wanted = {f"{split}_{what}" for split in SPLITS for what in ("images", "labels")}
        names = wanted & {name.removesuffix(".npy") for name in self.archive.namelist()}
        return {name: StoredArray(self.archive, name) for name in sorted(names)}

    def _check(self, split: str) -> None:
        images, labels = self.arrays.get(f"{split}_images"), self.arrays.get(f"{split}_labels")
        if images is None or labels is None:
            raise ValueError(
                f"expected the arrays {split}_images and {split}_labels, "
                f"got {', '.join(sorted(self.archive.namelist()))[:200]}"
            )
        count, shape = images.shape[0], images.shape
        flat = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
        if not flat or labels.shape not in ((count,), (count, 1)):
            raise ValueError(
                f"expected 2-D images with one label each, got images {shape} and labels {labels.shape}: "
                "volumes and several labels per image (ChestMNIST) are not supported"
            )
        check_number(count, unit="pictures", where=self.path, limits=self.limits)
        check_pixels(shape[1] * shape[2], limits=self.limits)
        check_samples(images.row_bytes, limits=self.limits)

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"medmnist {self.path}: not a readable .npz ({error}); is the download complete?")


def _set_of(name: str) -> str | None:
    """The set that a file belongs to by its name; None: arrays of somebody's own in this form.

    Raises:
        ValueError: the name of a set that is not known.
    """
    stem = PurePosixPath(name).stem.lower()
    known = [one for one in SETS if one in stem]
    if not known and "mnist" in stem:
        raise ValueError(
            f"unknown set {name!r}: expected one of {', '.join(SETS)}; give arrays of your own another name"
        )
    return known[0] if known else None


class MedMNIST:
    """The source."""

    card = CARD

    def open(self, raw: Path | None, *, options: SourceOptions) -> OpenMedMNIST:
        """Open an `.npz`.

        Raises:
            ValueError: missing, damaged, or not of this form.
        """
        if raw is None or raw.is_dir():
            raise ValueError(f"source medmnist: needs {CARD.raw}; give it with --raw, got {raw}")
        refuse_special(raw)
        return OpenMedMNIST(raw, options=options)


SOURCE = MedMNIST()
