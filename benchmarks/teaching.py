"""Server-side teaching for many sites: time, and memory beyond the knowledge itself."""

import time
import tracemalloc
from typing import Any

import numpy as np

from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.sharing.knowledge import Knowledge, Subject


def measure(
    *, sites: tuple[int, ...] = (4, 10, 100, 1000), images: int = 5000, classes: int = 13
) -> list[dict[str, Any]]:
    """Sum the knowledge of P sites as MDH-FL's server does.

    Returns:
        Per P: seconds (best of 3), and peak extra memory in (N, C) float32 matrices.
    """
    subject = Subject(
        kind="probabilities",
        public_digest="0" * 64,
        public_count=images,
        classes=tuple(str(c) for c in range(classes)),
    )
    method = Mdhfl()
    random = np.random.default_rng(0)
    found = []
    for count in sites:
        knowledge = {}
        for i in range(count):
            values = random.random((images, classes), dtype=np.float32)
            values /= values.sum(axis=1, keepdims=True)
            knowledge[f"site-{i}"] = Knowledge(values=values, subject=subject, site=f"site-{i}", round=1)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            method.combine(knowledge, sites=list(knowledge))
            seconds.append(time.perf_counter() - start)
        tracemalloc.start()
        method.combine(knowledge, sites=list(knowledge))
        extra = tracemalloc.get_traced_memory()[1] / (images * classes * 4)
        tracemalloc.stop()
        found.append({"sites": count, "seconds": round(min(seconds), 4), "extra matrices": round(extra, 1)})
    return found
