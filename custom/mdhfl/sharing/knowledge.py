"""What a site says about the public set, and the check that it must pass before any arithmetic.

Numpy only: the server needs no torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.checks import MessageError, array, choice, count, names, number, record, text
from mdhfl.sharing.limits import LARGEST_CONFIDENCE, LARGEST_LOGIT, MOST_IMAGES
from mdhfl.sharing.records import Shared

Kind = Literal["probabilities", "logits"]
ROW_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a federation's knowledge is about: the same for every site and round of an experiment.

    Attributes:
        kind: "probabilities" (rows sum to 1) or "logits".
        public_digest: identifies the public set and its order (64 hexadecimal digits).
        public_count: N, the number of public images.
        classes: the C class names in order.
        views: V, how often each public image is asked about, see `mdhfl.learning.views`.
    """

    kind: Kind
    public_digest: str
    public_count: int
    classes: tuple[str, ...]
    views: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """(V * N, C), of all knowledge about it."""
        return self.views * self.public_count, len(self.classes)

    def to_wire(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_wire(cls, wire: Any) -> "Subject":
        """Rebuild a subject. Raises MessageError."""
        values = record(wire, what="subject", fields=cls.__dataclass_fields__)
        return cls(
            kind=choice(values["kind"], what="subject's kind", among=get_args(Kind)),
            public_digest=text(values["public_digest"], what="subject's public digest"),
            public_count=count(values["public_count"], what="subject's public count", low=1, high=MOST_IMAGES),
            classes=names(values["classes"], what="subject's classes"),
            views=count(values["views"], what="subject's views", low=1),
        )


@dataclass(frozen=True, kw_only=True)
class Knowledge(Shared, kind="knowledge"):
    """What one site's model says about the public set.

    Attributes:
        values: (V * N, C) float32 or float16.
        subject: what the values are about.
        confidence: what the method lets a site report about its training, at least 0; 1 for most methods.
        competences: (C,) float32 in [0, 1], how far the site vouches for each class; None where it does not say.
    """

    values: NDArray[np.floating]
    subject: Subject
    confidence: float = 1.0
    competences: NDArray[np.float32] | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the values, what they are about, and what the site says of itself."""
        return {**super().to_wire(), "subject": self.subject.to_wire()}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Knowledge":
        """Rebuild knowledge; its shape must be its subject's. Raises MessageError."""
        values = record(wire, what="knowledge", fields=cls.sent())
        subject = Subject.from_wire(values["subject"])
        told = values["competences"]
        return cls(
            values=array(values["values"], what="knowledge", dtypes=(np.float32, np.float16), shape=subject.shape),
            subject=subject,
            confidence=number(values["confidence"], what="knowledge's confidence", low=0, high=LARGEST_CONFIDENCE),
            competences=None if told is None else _competences(told, classes=len(subject.classes)),
            **known,
        )


def _competences(values: Any, *, classes: int) -> NDArray[np.float32]:
    competences = array(values, what="knowledge's competences", dtypes=(np.float32,), shape=(classes,))
    if not (np.isfinite(competences) & (competences >= 0) & (competences <= 1)).all():
        raise MessageError("knowledge's competences: expected numbers from 0 to 1, got others")
    return competences


def check_knowledge(knowledge: Knowledge, *, expected: Subject, number: int) -> None:
    """Refuse knowledge that is not about the expected subject or is not what it claims to be.

    Raises:
        MessageError: another public set, class order, kind, shape or round; not finite; rows not summing to 1, or
            logits beyond LARGEST_LOGIT.
    """
    who = f"knowledge from site {knowledge.site!r}"
    subject, values = knowledge.subject, np.asarray(knowledge.values)
    if knowledge.round != number:
        raise MessageError(f"{who}: expected round {number}, got round {knowledge.round}")
    if subject.public_digest != expected.public_digest:
        raise MessageError(
            f"{who}: expected public set {expected.public_digest[:8]}, got {subject.public_digest[:8]}; "
            "give the site the same public folder as the server (`mdhfl check` prints its digest)"
        )
    if subject.classes != expected.classes:
        raise MessageError(
            f"{who}: expected classes {list(expected.classes)}, got {list(subject.classes)}; "
            "prepare the site's data with the federation's label space"
        )
    if subject.kind != expected.kind:
        raise MessageError(f"{who}: expected {expected.kind}, got {subject.kind}; is its mdhfl the same version?")
    shape = expected.shape
    if values.shape != shape:
        raise MessageError(
            f"{who}: expected shape {shape} for public set {expected.public_digest[:8]}, got {values.shape}; "
            f"does its bundle have num_classes={shape[1]}?"
        )
    _check_values(values, kind=subject.kind, who=who)


def _check_values(values: NDArray[Any], *, kind: Kind, who: str) -> None:
    if not np.issubdtype(values.dtype, np.floating):
        raise MessageError(f"{who}: expected floating-point values, got {values.dtype}")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise MessageError(f"{who}: NaN or infinity in {bad} of {len(values)} rows; its training has diverged")
    if kind == "probabilities":
        if values.min(initial=0) < 0:
            raise MessageError(f"{who}: expected probabilities in [0, 1], got a minimum of {values.min():.4g}")
        worst = float(np.abs(values.sum(axis=1, dtype=np.float64) - 1).max(initial=0))
        if worst > ROW_SUM_TOLERANCE:
            raise MessageError(f"{who}: expected rows that sum to 1, a row sum is off by {worst:.4g}")
    elif np.abs(values).max(initial=0) > LARGEST_LOGIT:
        raise MessageError(f"{who}: expected logits of at most {LARGEST_LOGIT:g}, got {np.abs(values).max():.4g}")


def divergence(teachers: NDArray[np.floating], learners: NDArray[np.floating]) -> NDArray[np.float64]:
    """Kullback-Leibler divergence between every pair of sites, mean over the public set.

    Args:
        teachers: (P, N, C) probabilities.
        learners: (Q, N, C) probabilities.

    Returns:
        (P, Q) matrix in nats: entry (j, k) is mean_i KL(teachers[j, i] || learners[k, i]).
    """
    count = teachers.shape[1]
    tiny = np.finfo(np.float32).tiny
    first = teachers.reshape(len(teachers), -1).astype(np.float64)
    logarithms = np.log(np.maximum(learners.reshape(len(learners), -1).astype(np.float64), tiny))
    negative_entropy = (first * np.log(np.maximum(first, tiny))).sum(axis=1)
    matrix: NDArray[np.float64] = np.maximum(negative_entropy[:, None] - first @ logarithms.T, 0.0) / count
    return matrix
