"""MedMNIST's `.npz` files (BloodMNIST and its family, 2-D, colour or grey); they keep their own split."""

from pathlib import Path

from mdhfl.preprocessing.raw.archive import refuse_special
from mdhfl.preprocessing.raw.reading import array_rgb
from mdhfl.preprocessing.raw.records import (
    PARTS,
    Pixels,
    Record,
    Skip,
    SourceCard,
    SourceOptions,
    UnreadableImageError,
)
from mdhfl.preprocessing.raw.sizes import check_number, check_pixels, check_samples
from mdhfl.preprocessing.raw.stored_array import StoredArray
from mdhfl.preprocessing.raw.zip_files import DAMAGES, open_zip

SPLITS = dict(zip(("train", "val", "test"), PARTS, strict=True))

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
    raw="an .npz of the family, for example bloodmnist.npz or bloodmnist_64.npz",
)


class OpenMedMNIST:
    """An `.npz`, opened; its images are unpacked one by one."""

    def __init__(self, path: Path, *, options: SourceOptions) -> None:
        self.path, self.options, self.limits = path, options, options.limits
        self.archive = open_zip(path, limits=options.limits, kind=".npz")
        try:
            self.arrays = self._opened()
        except DAMAGES as error:
            self.close()
            raise self._damaged(error) from error
        try:
            for split in SPLITS:
                self._check(split)
        except ValueError as error:
            self.close()
            raise ValueError(f"medmnist {path}: {error}") from error

    def records(self) -> list[Record]:
        """One record an image, in the file's own parts; all is read through once, for its checksums.

        Raises:
            ValueError: a checksum is wrong.
        """
        records = []
        try:
            for split, part in SPLITS.items():
                self.arrays[f"{split}_images"].check()
                labels = self.arrays[f"{split}_labels"]
                labels.check()
                told = labels.rows(0, labels.shape[0]).reshape(-1).tolist()
                records += [
                    Record(key=f"{split}/{index:06}", code=self._name(int(label)), part=part)
                    for index, label in enumerate(told)
                ]
        except DAMAGES as error:
            raise self._damaged(error) from error
        return sorted(records)

    def skipped(self) -> list[Skip]:
        """Nothing: every entry is an image."""
        return []

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

    def _name(self, label: int) -> str:
        names = NAMES.get(self.path.stem.partition("_")[0].lower(), ())
        return names[label] if label < len(names) else str(label)

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
