"""One round at a site: take over what was merged, align, train, score, share. All that it needs is in `Work`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.learning.images import Part
from mdhfl.methods.method import KnowledgeMethod
from mdhfl.metrics import Scores, confusion_matrix, expected_calibration_error, scores_from, smallest_counts
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.teaching import Teaching
from mdhfl.sharing.turns import Turn
from mdhfl.sharing.weights import Merged, Weights
from mdhfl.site.work import Work, seed_of
from mdhfl.timing import timed

if TYPE_CHECKING:
    from torch import Tensor


def learn(work: Work) -> Answer:
    """Do the round of `work.request`, of action "warm_up", "learn" or "adopt". Nothing is written to disk.

    Raises:
        ValueError: what was merged is of another network, or what was taught cannot be used.
        TrainingDiverged: NaN or infinity; the network in memory is spoilt.
        Aborted: `work.should_stop` said so.
    """
    losses: dict[str, float | None] = {"align": None, "train": None}
    if work.progress is None:
        losses["train"] = _train(work, epochs=work.method.warm_up_epochs, phase="warm_up")
    _adopt(work)
    if work.request.action == "learn":
        losses["align"] = _align(work, work.request.lesson)
        losses["train"] = _train(work, epochs=work.method.local_epochs, phase="train")
    return _score_and_share(work, losses)


def weights_of(work: Work, *, round_: int) -> Weights:
    """Return the site's model as it is now, after a round."""
    from mdhfl.learning.parameters import flatten

    return Weights(
        values=flatten(work.bundle.network.state_dict()),
        layout=work.layout,
        bundle=work.bundle.name,
        images=len(work.private.training.labels),
        site=work.settings.site,
        round=round_,
    )


def _adopt(work: Work) -> None:
    """Take over a merged model, if the request or this site's peers have one. The optimiser goes on."""
    merged = work.request.lesson
    if isinstance(merged, Turn):
        if work.swarm is None:
            raise ValueError(f"site {work.settings.site!r}: {work.request.method!r} has no swarm's turns")
        merged = work.swarm.take(merged)
    if not isinstance(merged, Merged):
        return
    if merged.layout != work.layout:
        raise ValueError(
            f"site {work.settings.site!r}: expected weights of layout {work.layout[:8]} ({work.bundle.name}), got "
            f"{merged.layout[:8]}; is its mdhfl, and its bundle, the same version as the others'?"
        )
    from mdhfl.learning.parameters import unflatten

    network = work.bundle.network
    network.load_state_dict(unflatten(merged.values, like=network.state_dict()))


def _align(work: Work, teaching: object) -> float | None:
    if not isinstance(teaching, Teaching) or not isinstance(work.method, KnowledgeMethod):
        return None
    own = work.progress.answer.knowledge if work.progress else None
    teacher = work.method.teacher(teaching, own=own, site=work.settings.site)
    if teacher is None:
        return None
    import torch

    return _fit(
        work,
        images=work.public,
        targets=torch.from_numpy(teacher),
        loss=work.method.alignment_loss,
        epochs=work.method.align_epochs,
        augment=None,
        phase="align",
    )


def _train(work: Work, *, epochs: int, phase: str) -> float | None:
    transforms = work.bundle.random_transforms
    if transforms is not None:
        transforms.set_random_state(seed=seed_of(work.settings, work.request, f"{phase} transforms") % 2**32)
    training = work.pool or work.private.training
    return _fit(
        work,
        images=training.images,
        targets=training.labels,
        images_per_epoch=len(work.private.training.labels),
        loss=work.method.training_loss,
        penalty=work.method.penalty(work.bundle.network),
        epochs=epochs,
        augment=None if transforms is None else transforms.batch,
        phase=phase,
    )


def _fit(work: Work, *, phase: str, **arguments: Any) -> float | None:
    import torch

    from mdhfl.learning.training import fit

    seed = seed_of(work.settings, work.request, phase)
    torch.manual_seed(seed)  # dropout
    with timed(work.seconds, "align" if phase == "align" else "train"):
        return fit(
            work.bundle.network,
            optimizer=work.bundle.optimizer,
            batch_size=work.bundle.batch_size,
            intensity=work.bundle.intensity_transform,
            generator=torch.Generator().manual_seed(seed),
            should_stop=work.should_stop,
            **arguments,
        )


def _score_and_share(work: Work, losses: dict[str, float | None]) -> Answer:
    with timed(work.seconds, "score"):
        validation, _ = _score(work, work.private.validation)
        test, confusion = _score(work, work.private.test)
    with timed(work.seconds, "share"):
        knowledge = _knowledge(work, losses)
        shared = work.method.shares == "weights" and work.request.action != "adopt"
        weights = weights_of(work, round_=work.request.round) if shared else None
    best_so_far = work.progress.best_score if work.progress else -1.0
    seconds, work.seconds = work.seconds, {}
    peer_bytes: dict[str, int] = {}
    if work.swarm is not None:
        peer_bytes, work.swarm.peer_bytes = work.swarm.peer_bytes, {"up": 0, "down": 0}
        seconds, work.swarm.seconds = {**seconds, **work.swarm.seconds}, {}
    return Answer(
        site=work.settings.site,
        round=work.request.round,
        knowledge=knowledge,
        weights=weights,
        peer_bytes=peer_bytes,
        validation={name: getattr(validation, name) for name in ("accuracy", "macro_f1", "balanced_accuracy", "ece")},
        confusion=confusion,
        test_ece=test.ece,
        losses=losses,
        seconds={phase: round(value, 3) for phase, value in seconds.items()},
        about={
            "bundle": work.bundle.name,
            "architecture": work.bundle.architecture,
            "parameters": work.bundle.parameters,
            "training_images": len(work.private.training.labels),
            "missing_classes": list(work.private.missing_classes),
            "layout": work.layout,
            **({"merged_by": work.swarm.merged_by} if work.swarm else {}),
        },
        best=validation.macro_f1 > best_so_far,
    )


def _score(work: Work, part: Part) -> tuple[Scores, np.ndarray]:
    classes = len(work.private.classes)
    labels = part.labels.numpy()
    probabilities = _logits(work, part.images).softmax(dim=1).numpy() if len(labels) else np.zeros((0, classes))
    confusion = confusion_matrix(labels, probabilities.argmax(axis=1), classes=classes)
    scores = scores_from(confusion, ece=expected_calibration_error(probabilities, labels))
    return scores, smallest_counts(confusion)


def _knowledge(work: Work, losses: Mapping[str, float | None]) -> Knowledge | None:
    if not isinstance(work.method, KnowledgeMethod):
        return None
    before = work.progress.answer.losses.get("train") if work.progress else None
    return Knowledge(
        values=work.method.express(_logits(work, work.public)).numpy().astype(np.float32),
        subject=work.request.subject,
        site=work.settings.site,
        round=work.request.round,
        confidence=work.method.confidence(before=before, now=losses["train"]),
    )


def _logits(work: Work, images: "Tensor") -> "Tensor":
    from mdhfl.learning.training import TrainingDiverged, predict

    logits = predict(
        work.bundle.network, images=images, intensity=work.bundle.intensity_transform, should_stop=work.should_stop
    )
    if not bool(logits.isfinite().all()):
        raise TrainingDiverged("the model's answers became NaN or infinite")
    return logits
