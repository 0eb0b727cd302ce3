"""A scripted experiment of three sites, and what they answer. No torch, no files."""

import numpy as np

from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.accounts import About, Validation
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request

EXPERIMENT = Experiment(
    id="e",
    method=Mdhfl(),
    rounds=3,
    seed=0,
    sites=("a", "b", "c"),
    min_sites=2,
    classes=("x", "y"),
    public_digest="0" * 64,
    public_count=4,
    federation_digest="0" * 64,
    training_images={"a": 5, "b": 5, "c": 5},
)

ABOUT = About(bundle="net", architecture="Net", parameters=10, training_images=5, missing_classes=(), layout="0" * 64)


def answer_of(site: str, request: Request) -> Answer:
    values = np.random.default_rng([ord(site), request.round]).dirichlet([1, 1], size=4).astype(np.float32)
    return Answer(
        site=site,
        round=request.round,
        shared=Knowledge(values=values, subject=request.subject, site=site, round=request.round),
        validation=Validation(accuracy=0.5, macro_f1=0.5, balanced_accuracy=0.5, ece=0.1),
        confusion=np.eye(2, dtype=np.uint8),
        about=ABOUT,
    )
