"""What a site says about public images, with its competences."""

from typing import Any

import numpy as np

from mdhfl.sharing.knowledge import Knowledge, Subject


def knowledge_of(site: str, values: Any, competences: Any, *, number: int = 1) -> Knowledge:
    values = np.asarray(values, dtype=np.float32)
    subject = Subject(
        kind="probabilities", public_digest="0" * 64, public_count=len(values), classes=tuple("xyzw"[: values.shape[1]])
    )
    told = None if competences is None else np.asarray(competences, dtype=np.float32)
    return Knowledge(values=values, subject=subject, site=site, round=number, competences=told)
