"""Lessons made by a robust mean: finished teachers, from which no site has anything to subtract.

A robust mean is no sum, so nobody can take its own share out of it afterwards. Where a site's own answers stay in its
teacher, one matrix serves everybody; where they do not, the server makes one for each site (docs/decisions/023).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mdhfl.sharing.competence import ClassTeaching, assumed_competence, class_weights
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.robust import Values, probabilities, robust_mean
from mdhfl.sharing.teaching import Teaching

OTHERS = "the others"  # in whose name a finished teacher is sent


def robust_teachings(
    knowledge: Mapping[str, Knowledge],
    *,
    weights: Mapping[str, float],
    sites: Sequence[str],
    rule: str,
    cut: float,
    own: bool,
) -> dict[str, Teaching]:
    """Return a finished teacher for every site that anybody else taught; the same object where it is the same.

    Args:
        knowledge: site name -> its checked knowledge, all of one round and kind.
        weights: site name -> weight above 0.
        sites: who is to learn.
        rule, cut: as in `robust_mean`.
        own: whether a site's own answers stay in its teacher.
    """
    made: dict[str | None, Teaching] = {}
    for left_out, heard in _groups(knowledge, sites=sites, own=own).items():
        if not heard:
            continue
        names = sorted(heard)
        each = np.array([[weights[name]] for name in names])
        spread = np.repeat(each, heard[names[0]].values.shape[1], axis=1)
        values = robust_mean(_stacked(heard), weights=spread, rule=rule, cut=cut)
        rows = probabilities(values) if heard[names[0]].subject.kind == "probabilities" else values
        total = float(each.sum())
        made[left_out] = Teaching(
            values=(total * rows).astype(np.float32), weights={OTHERS: total}, round=heard[names[0]].round
        )
    found = {site: made.get(_left_out(site, knowledge, own=own)) for site in sites}
    return {site: lesson for site, lesson in found.items() if lesson is not None}


def robust_class_teachings(
    knowledge: Mapping[str, Knowledge],
    *,
    sites: Sequence[str],
    rule: str,
    cut: float,
    power: float,
    own: bool,
    trust: Mapping[str, float],
) -> dict[str, ClassTeaching]:
    """Return a finished teacher for every site, in which each site counts, class by class, as far as it vouches.

    Args:
        knowledge: site name -> its checked probabilities, all of one round.
        sites: who is to learn.
        rule, cut: as in `robust_mean`.
        power: to which the competences are raised.
        own: whether a site's own answers stay in its teacher.
        trust: site name -> what its weights are multiplied by, above 0; 1 where it is missing.
    """
    assumed = assumed_competence(knowledge)
    made: dict[str | None, ClassTeaching] = {}
    for left_out, heard in _groups(knowledge, sites=sites, own=own).items():
        if not heard:
            continue
        names = sorted(heard)
        classes = heard[names[0]].values.shape[1]
        vouched = [
            class_weights(heard[name].competences, classes=classes, assumed=assumed, power=power) * trust.get(name, 1.0)
            for name in names
        ]
        values = robust_mean(_stacked(heard), weights=np.stack(vouched), rule=rule, cut=cut)
        made[left_out] = ClassTeaching(
            values=probabilities(values),
            total=np.ones(classes, dtype=np.float32),
            sites=(OTHERS,),
            assumed=assumed,
            round=heard[names[0]].round,
        )
    found = {site: made.get(_left_out(site, knowledge, own=own)) for site in sites}
    return {site: lesson for site, lesson in found.items() if lesson is not None}


def _groups(
    knowledge: Mapping[str, Knowledge], *, sites: Sequence[str], own: bool
) -> dict[str | None, dict[str, Knowledge]]:
    """Return, by who is left out, whose answers are combined; None: nobody is left out."""
    left_out = {_left_out(site, knowledge, own=own) for site in sites}
    return {out: {site: said for site, said in knowledge.items() if site != out} for out in left_out}


def _left_out(site: str, knowledge: Mapping[str, Knowledge], *, own: bool) -> str | None:
    return None if own or site not in knowledge else site


def _stacked(knowledge: Mapping[str, Knowledge]) -> Values:
    return np.stack([knowledge[name].values.astype(np.float64) for name in sorted(knowledge)])
