"""A teacher that fits what each site says about the classes it knows, compared with each other: coupled answers.

A site that knows classes a and b tells how much likelier a is than b, and nothing about the rest. For each image the
teacher's scores u, with an offset b_k for each site, minimise

    sum_k sum_c a_kc (log K_kc - b_k - u_c)^2.

The offsets drop out: with M_k = diag(a_k) - a_k a_k' / sum(a_k), u solves (sum_k M_k) u = sum_k M_k log K_k, one C x C
system for all images. The weighted, closed form of: Vongkulbhisal et al., "Unifying Heterogeneous Classifiers with
Distillation", CVPR 2019.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.competence import ClassTeaching, assumed_competence, class_weights
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.teaching import rows_of_sum_one

RIDGE = 1e-6  # for classes that no site compares with others


def coupled_teachings(
    knowledge: Mapping[str, Knowledge],
    *,
    sites: Sequence[str],
    include_own: bool,
    power: float = 1.0,
    trust: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, ClassTeaching]:
    """Return a finished teacher for every site: values that sum to 1 in each row, and totals of 1.

    Args:
        knowledge: site name -> its checked knowledge, probabilities, all of one round.
        sites: who is to learn.
        include_own: whether a site's own answers stay in its teacher; if not, each site has a teacher of its own.
        power: to which the competences are raised.
        trust: site name -> what its weights are multiplied by, above 0; 1 where it is missing.
    """
    assumed = assumed_competence(knowledge)
    teachings = {}
    for left_out in dict.fromkeys(None if include_own else site for site in sites):
        others = {site: said for site, said in knowledge.items() if site != left_out}
        if not others:
            continue
        values = coupled(others, assumed=assumed, power=power, trust=trust)
        teachings[left_out] = ClassTeaching(
            values=values,
            total=np.ones(values.shape[1], dtype=np.float32),
            sites=tuple(sorted(others)),
            assumed=assumed,
            round=next(iter(others.values())).round,
        )
    found = {site: teachings.get(None if include_own else site) for site in sites}
    return {site: teaching for site, teaching in found.items() if teaching is not None}


def coupled(
    knowledge: Mapping[str, Knowledge],
    *,
    assumed: float,
    power: float,
    trust: Mapping[str, float] = MappingProxyType({}),
) -> NDArray[np.float32]:
    """Return (V * N, C) float32 rows that sum to 1: the coupled answers of at least one site."""
    first = next(iter(knowledge.values())).values
    classes = first.shape[1]
    left = RIDGE * np.eye(classes)
    right = np.zeros(first.shape, dtype=np.float64)
    for site in sorted(knowledge):
        said = knowledge[site]
        weights = class_weights(said.competences, classes=classes, assumed=assumed, power=power)
        weights = weights * trust.get(site, 1.0)
        matrix = np.diag(weights) - np.outer(weights, weights) / weights.sum()
        logs = np.log(np.maximum(said.values.astype(np.float64), np.finfo(np.float32).tiny))
        left += matrix
        right += logs @ matrix
    scores = np.linalg.solve(left, right.T).T
    scores -= scores.max(axis=1, keepdims=True)
    return rows_of_sum_one(np.exp(scores))
