"""What a site's models answer in the end, image by image: for the site's own report. None of it leaves the site."""

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mdhfl.store.sealed import Damaged, read_sealed, write_sealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mdhfl.learning.calibration import OwnMix
    from mdhfl.learning.model import Model
    from mdhfl.site.work import Opened

    MixOf = Callable[[Model], OwnMix | None]

Probabilities = NDArray[np.float16]
FILE = "answers.npz"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Class probabilities of the last models, images in the order of their datalists.

    Attributes:
        test: (M, C) for the site's test images, as those of its own mix.
        public: (N, C) for the public images as they are, which have batch statistics of their own.
        alone: (M, C), of the twin that learned from nobody; None without a twin.
    """

    test: Probabilities
    public: Probabilities
    alone: Probabilities | None


def answers_of(opened: "Opened", *, own_mix: "MixOf") -> Answers:
    """Ask a site's models about its test images and the public ones.

    Args:
        opened: the site's part in the experiment.
        own_mix: gives what becomes of a model's logits for images of the site's own mix.

    Raises:
        TrainingDiverged: an answer is NaN or infinite.
    """
    test, twin = opened.private.test.images, opened.twin
    return Answers(
        test=_asked(opened.model, test, own_mix=own_mix(opened.model)),
        public=_asked(opened.model, opened.public, own_statistics=True),
        alone=None if twin is None else _asked(twin, test, own_mix=own_mix(twin)),
    )


def save_answers(folder: Path, answers: Answers) -> None:
    """Write them into a site's folder of an experiment. Raises StateError."""
    arrays = {name: values for name, values in vars(answers).items() if values is not None}

    def write(file: IO[bytes]) -> None:
        np.savez_compressed(file, **arrays)

    write_sealed(folder / FILE, write)


def load_answers(folder: Path) -> Answers:
    """Read them from a site's folder of an experiment. Raises Damaged: they are damaged or missing."""

    def read(path: Path, payload: bytes) -> Answers:
        try:
            with np.load(BytesIO(payload), allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            answers = Answers(test=found["test"], public=found["public"], alone=found.get("alone"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise Damaged(f"{path}: expected a site's answers, got {type(error).__name__}: {error}") from error
        if any(a is not None and (a.ndim != 2 or a.dtype != np.float16) for a in vars(answers).values()):
            raise Damaged(f"{path}: expected matrices of float16, got others")
        return answers

    return read_sealed(folder / FILE, read)


def _asked(
    model: "Model", images: "Tensor", *, own_mix: "OwnMix | None" = None, own_statistics: bool = False
) -> Probabilities:
    if not len(images):
        return np.zeros((0, model.num_classes), dtype=np.float16)
    logits = model.predict(images, own_statistics=own_statistics)
    return (logits if own_mix is None else own_mix(logits)).softmax(dim=1).numpy().astype(np.float16)
