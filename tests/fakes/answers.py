"""A scripted experiment of three sites, and what they answer. No torch, no files."""

import numpy as np

from mdhfl.jobs import RECIPES
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request

EXPERIMENT = Experiment(
    id="e",
    method="mdhfl",
    parameters=parameters_of(RECIPES["mdhfl"].method),
    rounds=3,
    seed=0,
    sites=("a", "b", "c"),
    min_sites=2,
    classes=("x", "y"),
    public_digest="0" * 64,
    public_count=4,
)


def answer_of(site: str, request: Request) -> Answer:
    values = np.random.default_rng([ord(site), request.round]).dirichlet([1, 1], size=4).astype(np.float32)
    return Answer(
        site=site,
        round=request.round,
        knowledge=Knowledge(values=values, subject=request.subject, site=site, round=request.round),
        validation={"macro_f1": 0.5},
        confusion=np.eye(2, dtype=np.int32),
    )
