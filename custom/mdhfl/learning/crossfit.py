"""How well a site knows each class, from its own labels: answers of models that have not seen the image."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdhfl.learning.images import Part
from mdhfl.learning.model import Model, ShouldStop
from mdhfl.sharing.competence import DOUBT

FOLDS = 2
LEAST_STEPS = 50  # gradient steps before which our networks hardly answer anything but the commonest classes
MOST_TIMES = 8  # how many times the epochs asked for are trained for them


def out_of_fold_answers(
    part: Part,
    *,
    open_model: Callable[[], Model],
    loss: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    seed: int,
    should_stop: ShouldStop,
) -> NDArray[np.int64]:
    """Answer each image of a part by a model that was trained on the other fold.

    Args:
        part: images and labels.
        open_model: gives a model with fresh weights.
        loss: of the training.
        epochs: over a fold; up to eight times as many where a fold is so small that they are less than 50 steps.
        seed: of the folds and of the training.
        should_stop: asked before every batch.

    Returns:
        (M,) class indices.
    """
    order = torch.randperm(len(part.labels), generator=torch.Generator().manual_seed(seed))
    answers = torch.zeros(len(part.labels), dtype=torch.int64)
    for fold, held_out in enumerate(order.chunk(FOLDS)):
        rest = torch.cat([other for i, other in enumerate(order.chunk(FOLDS)) if i != fold])
        model = open_model()
        model.fit(
            part.images[rest],
            part.labels[rest],
            loss=loss,
            epochs=epochs_over(len(rest), epochs=epochs, batch_size=model.bundle.batch_size),
            seed=seed + fold,
            transforms_seed=seed + fold,
            should_stop=should_stop,
        )
        if len(held_out):
            answers[held_out] = model.predict(part.images[held_out], should_stop=should_stop).argmax(dim=1)
    return answers.numpy()


def epochs_over(images: int, *, epochs: int, batch_size: int) -> int:
    """Return how many epochs a fold is trained: those asked for, or as many as give enough gradient steps."""
    steps = max(1, math.ceil(images / batch_size))
    return max(epochs, min(math.ceil(LEAST_STEPS / steps), MOST_TIMES * epochs))


def competences_of(answers: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> NDArray[np.float32]:
    """Return m_c / (m_c + 10) per class, m_c the images of label c that were also answered so; two decimals.

    With wrong labels every class has some label counts; agreement out of fold it has only where there is something
    to be learned.

    Args:
        answers: (M,) out-of-fold class indices.
        labels: (M,) possibly wrong ones.
        classes: C.

    Returns:
        (C,) float32 in [0, 1).
    """
    agreed = np.bincount(labels[answers == labels], minlength=classes)
    competences: NDArray[np.float32] = np.round(agreed / (agreed + DOUBT), 2).astype(np.float32)
    return competences
