"""The audit of a run: every measure for every site, and over all sites together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdhfl.audit.candidates import Candidates, load_candidates
from mdhfl.audit.counts import CountsAudit, audit_counts
from mdhfl.audit.evidence import Evidence, SiteEvidence, read_evidence
from mdhfl.audit.intervals import Scores, Separation, separation, together
from mdhfl.audit.inversion import InversionAudit, audit_inversion
from mdhfl.audit.labels import (
    Distribution,
    LabelAudit,
    audit_labels,
    distribution_of,
    from_competences,
    mean_answer,
    prior_shift,
    without,
)
from mdhfl.audit.lights import (
    light_of_counts,
    light_of_inversion,
    light_of_labels,
    light_of_membership,
    worst,
)
from mdhfl.audit.likelihood import confidence, likelihood_ratio
from mdhfl.audit.shadows import answers_about_images, mean_of, open_model, shadows_of, student_of, why_not_alike
from mdhfl.learning.bundle import built_in_bundles
from mdhfl.learning.images import image_size_of
from mdhfl.methods import name_of
from mdhfl.sharing.knowledge import Knowledge

RECEIVER, HOLDER = "receiver of the messages", "holder of the model"
FLOOR, LIRA = "confidence", "LiRA"
SHADOWS = 8
CACHE = "audit"  # folder beside audit.json

Pair = tuple[Scores, Scores]  # of members, of non-members
Attacks = Mapping[tuple[str, str], Pair]  # (threat, attack) -> scores


@dataclass(frozen=True, kw_only=True)
class Membership:
    """One attack on membership.

    Attributes:
        threat: RECEIVER or HOLDER: what the attacker has.
        attack: FLOOR (the model's confidence in an image's label) or LIRA.
        found: how well it tells members from others.
    """

    threat: str
    attack: str
    found: Separation


@dataclass(frozen=True, kw_only=True)
class SiteAudit:
    """What one site gave away.

    Attributes:
        site: its name.
        rounds: whose messages were at hand.
        labels: error of the estimated label distribution, None where no knowledge was sent.
        membership: attacks on membership.
        inversion: reconstructions, None where no knowledge was sent, or no class can be compared.
        counts: that left as they are.
        notes: what was not measured, and why.
    """

    site: str
    rounds: tuple[int, ...]
    labels: LabelAudit | None
    membership: tuple[Membership, ...]
    inversion: InversionAudit | None
    counts: CountsAudit
    notes: tuple[str, ...] = ()

    @property
    def lights(self) -> dict[str, str]:
        """Measure -> "green", "amber", "red" or "grey" (not measured)."""
        return {
            "labels": light_of_labels(self.labels),
            **lights_of(self.membership),
            "inversion": light_of_inversion(self.inversion),
            "counts": light_of_counts(self.counts),
        }


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a run gave away.

    Attributes:
        folder: where audit.json is written.
        method: name.
        shares: what leaves a site by this method, in words; None for nothing.
        shadows: shadow models a site; 0 where no site has any.
        sites: by site.
        together: attacks on membership, over the images of all sites.
        own: whether a site audited itself.
        predicted: whether a dry run was audited.
        notes: what a reader must know.
    """

    folder: Path
    method: str
    shares: str | None
    shadows: int
    sites: tuple[SiteAudit, ...]
    together: tuple[Membership, ...]
    own: bool = False
    predicted: bool = False
    notes: tuple[str, ...] = field(default=())


def lights_of(membership: Sequence[Membership]) -> dict[str, str]:
    """Return the light of each threat: that of its worst attack."""
    threats = {"messages": RECEIVER, "model": HOLDER}
    return {
        name: worst(light_of_membership(one.found) for one in membership if one.threat == threat)
        for name, threat in threats.items()
    }


def audit(
    run: Path,
    *,
    federation: Path | None = None,
    public: Path | None = None,
    sites: Sequence[str] = (),
    shadows: int = SHADOWS,
    on_site: Callable[[str], None] = lambda name: None,
) -> Audit:
    """Measure what a run gave away.

    Args:
        run: folder of a run, a server's of an experiment, the download of a job, or a site's own of an experiment.
        federation: the federation's folder, where `run` does not say where the private images lie.
        public: the public set's folder, where a site's own folder does not lead to it.
        sites: audit these only; all if empty.
        shadows: shadow models for each site, even and at least 2; 0 for none, then only the confidence attack is made.
        on_site: called with a site's name before its turn.

    Raises:
        ValueError: no such folder or site, or the images lie nowhere; an odd number of shadow models.
        Damaged: a record is damaged.
        DataError: images are missing or changed.
    """
    if shadows < 0 or shadows % 2:
        raise ValueError(f"shadows: expected an even number, or 0 for none, got {shadows}")
    evidence = read_evidence(run, federation=federation, public=public, sites=sites)
    found: list[tuple[SiteAudit, Attacks]] = []
    for name in sites or evidence.sites:
        on_site(name)
        found.append(_audit_site(evidence, evidence.sites[name], shadows=shadows))
    names = dict.fromkeys(key for _, attacks in found for key in attacks)
    return Audit(
        folder=evidence.folder,
        method=name_of(evidence.method),
        shares=evidence.method.shares,
        shadows=shadows if any(attack == LIRA for _, attack in names) else 0,
        sites=tuple(each for each, _ in found),
        together=tuple(
            Membership(threat=key[0], attack=key[1], found=together([a[key] for _, a in found if key in a]))
            for key in names
        ),
        own=evidence.own,
        notes=(*evidence.notes, *_method_notes(evidence)),
    )


def _method_notes(evidence: Evidence) -> list[str]:
    shares = evidence.method.shares
    if shares is None:
        return ["this method shares nothing but scores and counts: there is no message to attack, only the model"]
    if not any(site.knowledge for site in evidence.sites.values()):
        return [
            f"this method shares {shares}, no answers about public images: the audit of answers does not apply. "
            "Whoever receives weights holds a model: see the attacks on the model"
        ]
    return []


def _audit_site(evidence: Evidence, site: SiteEvidence, *, shadows: int) -> tuple[SiteAudit, Attacks]:
    size = image_size_of(site.settings.data)
    candidates = load_candidates(site.settings, model=open_model(evidence, site, image_size=size))
    truth = distribution_of(candidates.training_labels, classes=len(candidates.classes))
    count = len(candidates.public)
    said = [answers_about_images(knowledge, images=count) for knowledge in site.knowledge]
    answers = mean_of(said)
    reference = _reference(evidence, site, images=count)
    attacks, notes = _attacks(evidence, site, candidates, answers=answers, shadows=shadows)
    membership = [Membership(threat=t, attack=a, found=separation(*pair)) for (t, a), pair in attacks.items()]
    uniform = np.full((count, len(candidates.classes)), 1 / len(candidates.classes))
    known = None if answers is None else (answers, uniform if reference is None else reference)
    result = SiteAudit(
        site=site.settings.site,
        rounds=tuple(sorted(site.shared)),
        labels=None if answers is None else audit_labels(truth, _estimates(site, answers, reference)),
        membership=tuple(membership),
        inversion=None if known is None else audit_inversion(candidates, *known),
        counts=audit_counts(site.rows, site.left, truth=truth),
        notes=tuple(notes),
    )
    return result, attacks


def _reference(evidence: Evidence, site: SiteEvidence, *, images: int) -> NDArray[np.float64] | None:
    """Return the mean of what the others said of the public images; None where nobody else's answers are at hand."""
    said = [
        answers_about_images(knowledge, images=images)
        for other in evidence.sites.values()
        if other.settings.site != site.settings.site
        for knowledge in other.knowledge
    ]
    return mean_of(said)


def _estimates(
    site: SiteEvidence, answers: NDArray[np.float64], reference: NDArray[np.float64] | None
) -> dict[str, Distribution]:
    """Return every estimate of a site's label distribution that what it sent allows."""
    last: Knowledge = site.knowledge[-1]
    about = (site.rows[-1].get("about") or {}) if site.rows else {}
    missing = np.array([name in about.get("missing_classes", ()) for name in last.subject.classes])
    found: dict[str, Distribution] = {"mean answer": without(mean_answer(answers), missing=missing)}
    if reference is not None:
        found["prior shift"] = without(prior_shift(answers, reference), missing=missing)
    competent = None if last.competences is None else from_competences(last.competences)
    if competent is not None:
        found["competences"] = competent
    return found


def _attacks(
    evidence: Evidence,
    site: SiteEvidence,
    candidates: Candidates,
    *,
    answers: NDArray[np.float64] | None,
    shadows: int,
) -> tuple[Attacks, list[str]]:
    """Return the scores of every attack on membership that can be made, and what cannot."""
    labels, notes = candidates.labels.numpy(), []
    targets: dict[str, NDArray[np.floating]] = {}
    if answers is not None:
        targets[RECEIVER] = student_of(candidates, answers)
    held, why = _held_logits(evidence, site, candidates)
    if held is not None:
        targets[HOLDER] = held
    if why:
        notes.append(why)
    found: dict[tuple[str, str], Pair] = {}
    taught = None
    if shadows and targets and (why := why_not_alike(evidence, site)):
        notes.append(why)
    elif shadows and targets:
        taught = shadows_of(evidence, site, candidates, count=shadows, cache=evidence.folder / CACHE)
    for threat, logits in targets.items():
        scores = confidence(logits, labels)
        found[threat, FLOOR] = _parted(scores, candidates)
        under = None if taught is None else taught.students if threat == RECEIVER else taught.logits
        if taught is not None and under is not None:
            ratios = likelihood_ratio(scores, confidence(under, labels), taught.inside)
            found[threat, LIRA] = _parted(ratios, candidates)
    return found, notes


def _held_logits(
    evidence: Evidence, site: SiteEvidence, candidates: Candidates
) -> tuple[NDArray[np.floating] | None, str]:
    """Let the model that was sent, or else the one that the site holds, answer; or say why there is none."""
    weights = site.weights
    model = open_model(evidence, _as_sent(site), image_size=candidates.images.shape[-1])
    if weights is not None and weights.layout == model.layout:
        model.load_vector(weights.values, layout=weights.layout, whose=f"site {site.settings.site!r}")
        return model.predict(candidates.images).numpy(), ""
    if site.model is None:
        return None, "the model was not sent and is not at hand here, so whoever holds it is not played"
    model = open_model(evidence, site, image_size=candidates.images.shape[-1])
    model.load_state(site.model)
    return model.predict(candidates.images).numpy(), ""


def _as_sent(site: SiteEvidence) -> SiteEvidence:
    """Return a site with the built-in bundle of the weights that it sent, which may be a proxy's."""
    if site.weights is None or site.weights.bundle not in built_in_bundles():
        return site
    return replace(site, settings=replace(site.settings, bundle=site.weights.bundle, weights=None))


def _parted(scores: NDArray[np.float64], candidates: Candidates) -> Pair:
    return scores[: candidates.members], scores[candidates.members :]
