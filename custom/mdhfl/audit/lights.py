"""Green, amber or red: what a measure means for whoever decides. docs/privacy.md gives the reasons of thresholds."""

from collections.abc import Iterable

from mdhfl.audit.counts import CountsAudit
from mdhfl.audit.intervals import Separation
from mdhfl.audit.inversion import InversionAudit
from mdhfl.audit.labels import LabelAudit

GREEN, AMBER, RED, GREY = "green", "amber", "red", "grey"  # grey: not measured
ORDER = (GREY, GREEN, AMBER, RED)
CHANCE = 0.5  # AUC of an attack that sees nothing
SERIOUS_AUC = 0.6  # an equal number of members and others would be told apart in 57 of 100 cases instead of 50
FEW_FALSE, SERIOUS_TPR = 0.01, 0.05  # five times as many members as a guess finds, at 1 % false positives
KNOWN_WELL, HALF, QUARTER_OFF = 0.10, 0.5, 0.75  # total variation; and shares of the uniform guess's
SERIOUS_GAIN = 1.0  # dB: a fifth less squared error than the class mean has

EXPLAINED = (
    (
        "Label distribution",
        "Error of the best estimate of a site's training labels, as total variation: the share of labels that would "
        f"have to be changed. Red: at most {KNOWN_WELL:.2f} and at most half of a uniform guess's error; amber: under "
        "three quarters of it; green: more.",
    ),
    (
        "Membership",
        "AUC of telling training images from held-out ones; 0.5 is chance. Red: the whole 95 % interval is at "
        f"{SERIOUS_AUC} or above, or more than {SERIOUS_TPR:.0%} of the members are found at 1 % false positives; "
        f"green: the interval holds 0.5 and ends below {SERIOUS_AUC}; amber: the rest, too few images to exclude "
        "more included.",
    ),
    (
        "Reconstruction",
        "Gain in PSNR of an image made from the answers over the plain mean of other images of the class. Red: the "
        f"95 % interval lies above {SERIOUS_GAIN:g} dB; amber: above 0; green: nothing beyond the class mean.",
    ),
    (
        "Counts",
        "Red: numbers of images by class left exactly (a confusion matrix); amber: which classes are missing, or "
        "rough numbers by class (competences); green: at most the number of training images in all.",
    ),
)


def worst(lights: Iterable[str]) -> str:
    """Return the worst of some lights; grey if none is measured."""
    return max(lights, key=ORDER.index, default=GREY)


def light_of_labels(audit: LabelAudit | None) -> str:
    """Judge how well a label distribution can be told."""
    if audit is None or audit.error is None:
        return GREY
    if audit.error <= min(KNOWN_WELL, HALF * audit.uniform):
        return RED
    return AMBER if audit.error < QUARTER_OFF * audit.uniform else GREEN


def light_of_membership(found: Separation) -> str:
    """Judge one attack on membership."""
    auc, few = found.auc, found.tpr.get(FEW_FALSE)
    if auc is None:
        return GREY
    if auc.low >= SERIOUS_AUC or (few is not None and few.low > SERIOUS_TPR):
        return RED
    return GREEN if auc.low <= CHANCE <= auc.high < SERIOUS_AUC else AMBER


def light_of_inversion(audit: InversionAudit | None) -> str:
    """Judge what reconstructions show."""
    if audit is None or audit.low is None:
        return GREY
    if audit.low > SERIOUS_GAIN:
        return RED
    return AMBER if audit.low > 0 else GREEN


def light_of_counts(audit: CountsAudit) -> str:
    """Judge the counts that leave."""
    if audit.by_class:
        return RED
    return AMBER if len(audit.told) > 1 else GREEN
