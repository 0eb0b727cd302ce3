"""MedMNIST's `.npz` files (BloodMNIST and its family, 2-D, colour or grey); they keep their own split."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.raw.reading import array_rgb
from mdhfl.preprocessing.raw.records import PARTS, Pixels, Record, Skip, SourceCard, SourceOptions

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
    """An `.npz`, opened; its arrays are decompressed once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with np.load(path, allow_pickle=False) as content:
                self.arrays = {name: content[name] for name in content.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"medmnist {path}: not a readable .npz ({error}); is the download complete?") from error
        for split in SPLITS:
            self._check(split)

    def records(self) -> list[Record]:
        """One record an image, in the file's own parts."""
        return sorted(
            Record(key=f"{split}/{index:06}", code=self._name(int(label)), part=part)
            for split, part in SPLITS.items()
            for index, label in enumerate(self.arrays[f"{split}_labels"].reshape(-1))
        )

    def skipped(self) -> list[Skip]:
        """Nothing: every entry is an image."""
        return []

    def read(self, record: Record) -> Pixels:
        """One image; grey ones get three equal channels."""
        split, _, index = record.key.partition("/")
        image: NDArray[np.generic] = self.arrays[f"{split}_images"][int(index)]
        return array_rgb(image)

    def close(self) -> None:
        """Drop the arrays."""
        self.arrays = {}

    def _name(self, label: int) -> str:
        names = NAMES.get(self.path.stem.partition("_")[0].lower(), ())
        return names[label] if label < len(names) else str(label)

    def _check(self, split: str) -> None:
        images, labels = self.arrays.get(f"{split}_images"), self.arrays.get(f"{split}_labels")
        if images is None or labels is None:
            raise ValueError(
                f"medmnist {self.path}: expected the arrays {split}_images and {split}_labels, "
                f"got {', '.join(sorted(self.arrays))}"
            )
        flat = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
        if not flat or labels.size != len(images):
            raise ValueError(
                f"medmnist {self.path}: expected 2-D images with one label each, got images {images.shape} and labels "
                f"{labels.shape}: volumes and several labels per image (ChestMNIST) are not supported"
            )


class MedMNIST:
    """The source."""

    card = CARD

    def open(self, raw: Path | None, *, options: SourceOptions) -> OpenMedMNIST:
        """Open an `.npz`.

        Raises:
            ValueError: missing, damaged, or not of this form.
        """
        if raw is None or not raw.is_file():
            raise ValueError(f"source medmnist: needs {CARD.raw}; give it with --raw, got {raw}")
        return OpenMedMNIST(raw)


SOURCE = MedMNIST()
