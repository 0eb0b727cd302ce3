"""A scripted federation of sites with very different classes, one of which may poison. No torch, no files."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.attacks import ATTACKS, poisoned
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.accounts import About, Validation
from mdhfl.sharing.exchange import Ask
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request

CLASSES, IMAGES = 6, 150
SITES = ("a", "b", "c", "d")
ABOUT = About(bundle="net", architecture="Net", parameters=10, training_images=5, missing_classes=(), layout="0" * 64)


def experiment_of(*, watch: str = "tell", rounds: int = 4, **changes: Any) -> Experiment:
    return Experiment(
        id="watched",
        method=Mdhfl(**changes),
        rounds=rounds,
        seed=0,
        sites=SITES,
        min_sites=2,
        classes=tuple(f"c{c}" for c in range(CLASSES)),
        public_digest="0" * 64,
        public_count=IMAGES,
        federation_digest="0" * 64,
        training_images=dict.fromkeys(SITES, 5),
        watch=watch,
    )


def honest(site: str, number: int, *, noise: float = 0.7, priors: float = 3.0) -> np.ndarray:
    """What an honest site says: the truth, its own errors, and a mix of classes all its own."""
    truth = np.random.default_rng(7).normal(0, 1.5, (IMAGES, CLASSES))
    own = np.random.default_rng([ord(site), number])
    prior = np.random.default_rng(ord(site)).normal(0, priors, CLASSES)
    logits = truth + own.normal(0, noise, truth.shape) + prior
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    return rows / rows.sum(axis=1, keepdims=True)


def asking(*, attack: str = "", attackers: tuple[str, ...] = ("d",), away: Mapping[int, str] = {}) -> Ask:
    """Return an `ask` of scripted sites.

    Args:
        attack: of `experiments.attacks`; none if empty.
        attackers: who attacks.
        away: round -> the site that does not answer in it.
    """

    def ask(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        return {s: _answer(s, asked) for s, asked in requests.items() if away.get(asked.round) != s}

    return poisoned(ask, attackers=dict.fromkeys(attackers, ATTACKS[attack]), seed=0) if attack else ask


def _answer(site: str, request: Request) -> Answer:
    values = honest(site, request.round).astype(np.float32)
    shared = Knowledge(values=values, subject=request.subject, site=site, round=request.round)
    return Answer(
        site=site,
        round=request.round,
        shared=None if request.action == "finish" else shared,
        validation=Validation(accuracy=0.5, macro_f1=0.5, balanced_accuracy=0.5, ece=0.1),
        confusion=np.eye(CLASSES, dtype=np.uint8),
        about=ABOUT,
    )
