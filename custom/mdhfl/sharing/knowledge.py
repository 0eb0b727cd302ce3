"""What a site says about the public set, and the check that it must pass before any arithmetic.

Numpy only: the server needs no torch.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["probabilities", "logits"]
ROW_SUM_TOLERANCE = 1e-3


class KnowledgeError(ValueError):
    """Knowledge that must not be used; the message names the site, what was expected and what came."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a federation's knowledge is about: the same for every site and round of an experiment.

    Attributes:
        kind: "probabilities" (rows sum to 1) or "logits".
        public_digest: identifies the public set and its order (64 hexadecimal digits).
        public_count: N, the number of public images.
        classes: the C class names in order.
    """

    kind: Kind
    public_digest: str
    public_count: int
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What one site's model says about the public set.

    Attributes:
        values: (N, C) float32 or float16.
        subject: what the values are about.
        site: who says it.
        round: after which round (0 is the warm-up).
        confidence: what the method lets a site report about its training, finite; 1 for most methods.
    """

    values: NDArray[np.floating]
    subject: Subject
    site: str
    round: int
    confidence: float = 1.0


def check(knowledge: Knowledge, *, expected: Subject, round_: int) -> None:
    """Refuse knowledge that is not about the expected subject or is not what it claims to be.

    Raises:
        KnowledgeError: another public set, class order, kind, shape or round; not finite; rows not summing to 1.
    """
    who = f"knowledge from site {knowledge.site!r}"
    subject, values = knowledge.subject, np.asarray(knowledge.values)
    if knowledge.round != round_:
        raise KnowledgeError(f"{who}: expected round {round_}, got round {knowledge.round}")
    if subject.public_digest != expected.public_digest:
        raise KnowledgeError(
            f"{who}: expected public set {expected.public_digest[:8]}, got {subject.public_digest[:8]}; "
            "give the site the same public folder as the server (`mdhfl check` prints its digest)"
        )
    if subject.classes != expected.classes:
        raise KnowledgeError(
            f"{who}: expected classes {list(expected.classes)}, got {list(subject.classes)}; "
            "prepare the site's data with the federation's label space"
        )
    if subject.kind != expected.kind:
        raise KnowledgeError(f"{who}: expected {expected.kind}, got {subject.kind}; is its mdhfl the same version?")
    shape = (expected.public_count, len(expected.classes))
    if values.shape != shape:
        raise KnowledgeError(
            f"{who}: expected shape {shape} for public set {expected.public_digest[:8]}, got {values.shape}; "
            f"does its bundle have num_classes={shape[1]}?"
        )
    if not np.isfinite(knowledge.confidence):
        raise KnowledgeError(f"{who}: expected a finite confidence, got {knowledge.confidence}")
    _check_values(values, kind=subject.kind, who=who)


def _check_values(values: NDArray[Any], *, kind: Kind, who: str) -> None:
    if not np.issubdtype(values.dtype, np.floating):
        raise KnowledgeError(f"{who}: expected floating-point values, got {values.dtype}")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise KnowledgeError(f"{who}: NaN or infinity in {bad} of {len(values)} rows; its training has diverged")
    if kind == "probabilities":
        if values.min(initial=0) < 0:
            raise KnowledgeError(f"{who}: expected probabilities in [0, 1], got a minimum of {values.min():.4g}")
        worst = float(np.abs(values.sum(axis=1, dtype=np.float64) - 1).max(initial=0))
        if worst > ROW_SUM_TOLERANCE:
            raise KnowledgeError(f"{who}: expected rows that sum to 1, got one that is off by {worst:.4g}")


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
    return np.asarray(np.maximum(negative_entropy[:, None] - first @ logarithms.T, 0.0) / count)
