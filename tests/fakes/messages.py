"""A request and an answer of ordinary size."""

import numpy as np

from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.teaching import Teaching

SUBJECT = Subject(kind="probabilities", public_digest="a" * 64, public_count=852, classes=tuple("abcdefghijklm"))
VALUES = np.full((852, 13), 1 / 13, dtype=np.float32)


def request() -> Request:
    return Request(
        action="learn", experiment="e", round=2, method="mdhfl", parameters={"ce_weight": 0.1}, seed=0, subject=SUBJECT,
        version="0", lesson=Teaching(values=VALUES, weights={"a": 1.0}, round=1),
    )  # fmt: skip


def answer() -> Answer:
    return Answer(
        site="a",
        round=2,
        shared=Knowledge(values=VALUES, subject=SUBJECT, site="a", round=2),
        confusion=np.eye(13, dtype=np.uint8),
        losses=Losses(train=0.123456789),
    )
