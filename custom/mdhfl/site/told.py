"""How much a site tells of its scores, losses and counts: all, rounded means, or nothing, as its `site.json` says."""

from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from mdhfl.metrics import scores_from, smallest_counts
from mdhfl.sharing.accounts import About, Control, Cost, Losses, Validation
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.messages import Answer
from mdhfl.site.form import Form

DECIMALS = 3  # of scores and losses that are told in the mean only, and of seconds

Counts = NDArray[np.unsignedinteger]


def told(answer: Answer, *, form: Form) -> Answer:
    """Return an answer that tells no more than the site allows; what it may tell is told once, however often asked.

    Raises:
        MessageError: a confusion matrix that is not of the site's own test part, or no member as its leader.
    """
    answer = replace(answer, about=_about(answer, form), cost=_cost(answer.cost), control=_control(answer, form))
    if form.settings.scores == "off":
        cost = replace(answer.cost, seconds={})  # how long a phase takes tells how many images it goes over
        scoreless = replace(answer, validation=None, confusion=None, test_ece=0.0, test=None, best=False)
        return replace(scoreless, losses=Losses(), cost=cost)
    if form.settings.privacy is not None:  # of what no noise was added to
        losses, cost = replace(answer.losses, train=None), replace(answer.cost, seconds={})
        answer = replace(answer, losses=losses, cost=cost, best=False)
    counts, validation = _confusion(answer.confusion, form), _validation(answer.validation, form)
    if form.settings.scores == "full":
        return replace(
            answer,
            validation=validation,
            confusion=counts,
            test_ece=_ece(answer.test_ece, counts),
            test=None,
        )
    test = _test(answer.confusion, ece=answer.test_ece, test=answer.test, form=form)
    losses = Losses(**{n: None if v is None else round(v, DECIMALS) for n, v in asdict(answer.losses).items()})
    return replace(answer, validation=validation, confusion=None, test_ece=0.0, test=test, losses=losses)


def _about(answer: Answer, form: Form) -> About:
    merged_by = answer.about.merged_by if answer.about else ""
    withheld = answer.about.withheld if answer.about else ()
    if merged_by not in form.leaders:
        raise MessageError(f"about's merged_by: expected a member of the swarm or nothing, got {merged_by[:100]!r}")
    network = form.network
    return About(
        bundle=network.bundle,
        architecture=network.architecture,
        parameters=network.parameters,
        training_images=form.training,
        missing_classes=form.missing,
        layout=network.layout,
        merged_by=merged_by,
        withheld=tuple(what for what in form.settings.withheld if what in withheld),
    )


def _cost(cost: Cost) -> Cost:
    return replace(cost, seconds={phase: round(value, DECIMALS) for phase, value in cost.seconds.items()})


def _control(answer: Answer, form: Form) -> Control | None:
    control = answer.control
    validation = None if control is None else _validation(control.validation, form)
    if control is None or validation is None or form.settings.scores == "off":
        return None
    if form.settings.scores == "full":
        counts = _confusion(control.confusion, form)
        return replace(control, confusion=counts, test_ece=_ece(control.test_ece, counts), test=None)
    rounded = {name: round(getattr(control, name), DECIMALS) for name in ("difference", "low", "high")}
    test = _test(control.confusion, ece=control.test_ece, test=control.test, form=form)
    return replace(control, validation=validation, confusion=None, test_ece=0.0, test=test, **rounded)


def _validation(scores: Validation | None, form: Form) -> Validation | None:
    if scores is None or form.validation < form.settings.smallest_count:
        return None
    return scores if form.settings.scores == "full" else _rounded(scores)


def _confusion(counts: Counts | None, form: Form) -> Counts | None:
    """Return the counts without the classes that have too few test images to be told."""
    if counts is None:
        return None
    counts, classes = np.array(counts, order="C"), len(form.test)
    if counts.shape != (classes, classes):
        raise MessageError(f"confusion: expected {classes} x {classes} counts, got shape {counts.shape}")
    few = np.array(form.test) < form.settings.smallest_count
    totals = counts.sum(axis=1, dtype=np.uint64).astype(np.float64)
    whole, left_out = np.array(form.test, dtype=np.float64), np.where(few, 0, form.test).astype(np.float64)
    if not (np.array_equal(totals, whole) or np.array_equal(totals, left_out)):
        raise MessageError("confusion: its rows do not add up to the site's test images")
    counts[few] = 0
    return smallest_counts(counts)


def _ece(value: float, counts: Counts | None) -> float:
    """Return the calibration error on the test part where any of its counts are told, else 0."""
    return value if counts is not None and counts.any() else 0.0


def _test(counts: Counts | None, *, ece: float, test: Validation | None, form: Form) -> Validation | None:
    if sum(form.test) < max(1, form.settings.smallest_count):
        return None
    if counts is None:
        return None if test is None else _rounded(test)
    _confusion(counts, form)  # it must be the site's own
    scores = scores_from(counts, ece=ece)
    return _rounded(Validation(**{name: getattr(scores, name) for name in Validation.__dataclass_fields__}))


def _rounded(scores: Validation) -> Validation:
    return Validation(**{name: round(value, DECIMALS) for name, value in asdict(scores).items()})
