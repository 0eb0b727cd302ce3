"""What a site writes when a round ends, and when the experiment does: where it stands, models, and their answers."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mdhfl.sharing.accounts import Validation
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.records import Lesson
from mdhfl.site.answers import answers_of, save_answers
from mdhfl.site.best import ROUNDS, steady_score
from mdhfl.site.standing import Work
from mdhfl.site.state import Progress, answering, lesson_digest

if TYPE_CHECKING:
    from mdhfl.learning.calibration import OwnMix
    from mdhfl.site.answers import MixOf


def keep_round(work: Work, answer: Answer, *, lesson: Lesson | None, own_mix: "MixOf") -> Progress:
    """Write where the site stands after a round, and its model if it is the best so far.

    Args:
        work: the site's, its models as the round has left them.
        answer: to the round's request.
        lesson: of the round.
        own_mix: gives what becomes of a model's logits for images of the site's own mix.

    Returns:
        What was written.

    Raises:
        StateError: the disk does not take it; what was there is kept.
    """
    before = work.progress
    score = answer.validation.macro_f1 if answer.validation else 0.0
    recent = (*(before.recent if before else ()), score)[-ROUNDS:]
    steady = steady_score(recent, images=len(work.opened.private.validation.labels))
    best_score = before.best_score if before else -1.0
    progress = Progress(
        answer=answer,
        models={name: model.state() for name, model in work.opened.models().items()},
        best_score=best_score if steady is None else max(best_score, steady),
        recent=recent,
        terms=work.terms,
        lesson=lesson_digest(lesson),
    )
    if answer.best:
        best = _checkpoint(work, progress, name="model", scores=answer.validation, own_mix=own_mix(work.opened.model))
        work.folder.keep_best(best)
    work.folder.keep(progress)
    return progress


def keep_last(work: Work, *, own_mix: "MixOf") -> None:
    """Write the models as they are at the end, the site's and its twin's if it has one, and what they answer.

    Args:
        work: the site's.
        own_mix: as in `keep_round`.

    Raises:
        StateError: the disk does not take it.
    """
    from mdhfl.learning.training import TrainingDiverged

    progress = work.progress
    if progress is None:
        return
    scores, opened = progress.answer.validation, work.opened
    last = _checkpoint(work, progress, name="model", scores=scores, own_mix=own_mix(opened.model))
    work.folder.keep_model("last", last)
    control = progress.answer.control
    if opened.twin is not None and control is not None:
        scores = control.validation
        alone = _checkpoint(work, progress, name="twin", scores=scores, own_mix=own_mix(opened.twin))
        work.folder.keep_model("alone", alone)
    with suppress(TrainingDiverged):  # on the public images, which this method never asked about
        save_answers(work.folder.path, answers_of(opened, own_mix=own_mix))


def _checkpoint(
    work: Work, progress: Progress, *, name: str, scores: Validation | None, own_mix: "OwnMix | None"
) -> dict[str, Any]:
    """Return what is exported: the answering network, and what becomes of its logits for the site's own mix."""
    return {
        "site": work.site,
        "experiment": work.experiment,
        "model": dict(answering(progress.models[name])),
        "prior": None if own_mix is None else own_mix.prior,
        "scale": 1.0 if own_mix is None else own_mix.scale,
        "round": progress.answer.round,
        "scores": dict(vars(scores)) if scores else {},
    }
