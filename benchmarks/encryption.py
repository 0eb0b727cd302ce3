"""CKKS for a model's vector: seconds and bytes per million parameters, and the error of a sum."""

import time
from typing import Any

import numpy as np


def measure(*, parameters: int = 1_000_000, sites: int = 3) -> list[dict[str, Any]]:
    """Encrypt, add and decrypt the vectors of some sites, as Swarm-FHE does.

    Returns:
        One row: seconds per million parameters for each step, megabytes and their ratio to float32, kilobytes of the
        contexts, and the largest error relative to the largest number.
    """
    from mdhfl.swarm.ckks import PublicContext, SecretContext

    random = np.random.default_rng(0)
    vectors = [random.normal(scale=0.1, size=parameters).astype(np.float32) for _ in range(sites)]
    secret = SecretContext.create()
    public = PublicContext.from_bytes(secret.public.to_bytes())
    millions = parameters / 1e6

    start = time.perf_counter()
    sent = {str(i): public.encrypt(vector, addends=len(vectors)) for i, vector in enumerate(vectors)}
    encrypted = time.perf_counter()
    total = public.add(sent)
    added = time.perf_counter()
    decrypted = secret.decrypt(total, who="the leader")
    finished = time.perf_counter()
    expected = np.sum([vector.astype(np.float64) for vector in vectors], axis=0)
    size = len(sent["0"].data)
    return [
        {
            "parameters": f"{parameters:,}",
            "encrypt s/M": round((encrypted - start) / sites / millions, 2),
            "add s/M and site": round((added - encrypted) / sites / millions, 2),
            "decrypt s/M": round((finished - added) / millions, 2),
            "MB/M": round(size / 1e6 / millions, 1),
            "x float32": round(size / vectors[0].nbytes, 1),
            "public context kB": round(len(public.to_bytes()) / 1000),
            "secret context kB": round(len(secret.to_bytes()) / 1000),
            "relative error": f"{np.abs(decrypted - expected).max() / np.abs(expected).max():.0e}",
        }
    ]
