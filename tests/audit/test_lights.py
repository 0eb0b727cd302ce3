"""Lights at their thresholds, and the counts that leave."""

import numpy as np
import pytest

from mdhfl.audit.counts import BY_CLASS, IN_ALL, MISSING, ROUGHLY, audit_counts
from mdhfl.audit.intervals import Estimate, Separation
from mdhfl.audit.inversion import InversionAudit
from mdhfl.audit.labels import LabelAudit
from mdhfl.audit.lights import (
    light_of_counts,
    light_of_inversion,
    light_of_labels,
    light_of_membership,
    worst,
)

TRUTH = np.array([0.5, 0.5])


def separated(low: float, high: float, *, found_low: float | None = None) -> Separation:
    few = None if found_low is None else Estimate(value=found_low + 0.02, low=found_low, high=0.5)
    auc = Estimate(value=(low + high) / 2, low=low, high=high)
    return Separation(members=100, non_members=100, auc=auc, tpr={0.01: few, 0.001: None})


@pytest.mark.parametrize(
    ("found", "light"),
    [
        (separated(0.45, 0.55), "green"),
        (separated(0.45, 0.62), "amber"),  # more than 0.6 is not excluded
        (separated(0.51, 0.58), "amber"),
        (separated(0.35, 0.45), "amber"),  # whoever turns the scores round has 0.55 to 0.65
        (separated(0.60, 0.70), "red"),
        (separated(0.45, 0.55, found_low=0.06), "red"),  # few members, but those surely
        (separated(0.45, 0.55, found_low=0.04), "green"),
        (Separation(members=5, non_members=5, auc=None, tpr={}), "grey"),
    ],
)
def test_membership(found: Separation, light: str) -> None:
    assert light_of_membership(found) == light


@pytest.mark.parametrize(
    ("error", "uniform", "light"),
    [(0.1, 0.4, "red"), (0.11, 0.4, "amber"), (0.29, 0.4, "amber"), (0.31, 0.4, "green"), (0.05, 0.06, "green")],
)
def test_labels(error: float, uniform: float, light: str) -> None:
    assert light_of_labels(LabelAudit(uniform=uniform, errors={"mean answer": error})) == light


def test_what_is_not_measured_is_grey() -> None:
    assert light_of_labels(None) == light_of_labels(LabelAudit(uniform=0.3, errors={})) == "grey"
    assert light_of_inversion(None) == light_of_inversion(gain(1.0, None)) == "grey"
    assert worst([]) == "grey"
    assert worst(["grey", "green", "amber"]) == "amber"


@pytest.mark.parametrize(("low", "light"), [(-1.0, "green"), (0.1, "amber"), (1.1, "red")])
def test_inversion(low: float, light: str) -> None:
    assert light_of_inversion(gain(low + 0.5, low)) == light


def gain(value: float, low: float | None) -> InversionAudit:
    high = None if low is None else low + 1
    measured = {"psnr": 20.0, "mean_psnr": 20 - value, "ssim": 0.0, "mean_ssim": 0.0}
    return InversionAudit(attack="weighted mean", images=30, **measured, gain=value, low=low, high=high)


def row(*, confusion: list[list[int]] | None = None, missing: tuple[str, ...] = ()) -> dict:
    about = {"training_images": 40, "missing_classes": list(missing)}
    return {"test": {"confusion": confusion}, "about": about, "bytes": {"up": 100}}


def line(*paths: str) -> dict:
    fields = [{"path": path, "kind": "array", "dtype": "float32", "shape": [2], "bytes": 8} for path in paths]
    return {"to": "server", "bytes": 8 * len(paths) + 3, "round": 0, "fields": fields}


def test_a_confusion_matrix_tells_the_numbers_of_images_by_class() -> None:
    found = audit_counts([row(confusion=[[2, 1], [3, 6]])], [], truth=TRUTH)
    assert found.told == (BY_CLASS, IN_ALL)
    assert found.error == pytest.approx(0.25)  # 3 and 9 of 12
    assert (found.total, found.bytes) == (100, {})
    assert light_of_counts(found) == "red"


def test_what_left_decides_where_a_site_knows_more_itself() -> None:
    own = [row(confusion=[[2, 1], [3, 6]])]
    found = audit_counts(own, [line("shared.values", "shared.competences")], truth=TRUTH)
    assert found.told == (ROUGHLY, IN_ALL)
    assert (found.by_class, found.error, found.total) == (False, None, 19)
    assert found.bytes == {"shared.values": 8, "shared.competences": 8}
    assert light_of_counts(found) == "amber"
    sent = audit_counts(own, [line("confusion")], truth=TRUTH)
    assert sent.by_class
    assert sent.error == pytest.approx(0.25)


def test_only_the_number_of_images_is_green_and_a_missing_class_is_not() -> None:
    assert light_of_counts(audit_counts([row()], [], truth=TRUTH)) == "green"
    found = audit_counts([row(missing=("b",))], [], truth=TRUTH)
    assert found.told == (MISSING, IN_ALL)
    assert light_of_counts(found) == "amber"
