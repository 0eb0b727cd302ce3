"""What touches TenSEAL, in a process of its own: its readers do not survive crafted bytes.

Run as `python -m mdhfl.swarm.ckks_child`: one job on standard input, its result on standard output, both as `framed`. A
context is read only if its parameters are ours, a ciphertext only if every polynomial is of the form that `encrypt`
gives it.
"""

import json
import resource
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np

POLY_MODULUS_DEGREE = 8192
COEFF_MOD_BIT_SIZES = (60, 60)
SCALE_BITS = 40
SLOTS = POLY_MODULUS_DEGREE // 2  # numbers in one polynomial
Result = tuple[dict[str, Any], list[bytes]]


def polynomials(length: int) -> int:
    """Return how many hold a vector: at least two, since TenSEAL 0.3 reads a batch of one back wrongly."""
    return max(2, -(-length // SLOTS))


def framed(values: dict[str, Any], blobs: Sequence[bytes]) -> bytes:
    """Return plain values and raw bytes as one message: a line of JSON, and the bytes."""
    line = json.dumps({**values, "sizes": [len(blob) for blob in blobs]}).encode() + b"\n"
    return b"".join([line, *blobs])


def unframed(data: bytes) -> Result:
    """Take a message apart. Raises ValueError if it is none."""
    start = data.index(b"\n") + 1
    values, blobs = json.loads(data[:start]), []
    for size in values.pop("sizes"):
        blobs.append(data[start : start + size])
        start += size
    return values, blobs


def _create(values: dict[str, Any], blobs: list[bytes]) -> Result:
    context = _new_context()
    return {}, [_serialised(context, secret=True), _serialised(context, secret=False)]


def _public(values: dict[str, Any], blobs: list[bytes]) -> Result:
    context = _context(blobs[0])
    return {"private": context.is_private()}, [_serialised(context, secret=False)]


def _encrypt(values: dict[str, Any], blobs: list[bytes]) -> Result:
    import tenseal

    numbers = np.frombuffer(blobs[1], dtype=np.float32)
    padded = np.zeros(polynomials(numbers.size) * SLOTS, dtype=np.float64)
    padded[: numbers.size] = numbers
    rows = tenseal.plain_tensor(np.ascontiguousarray(padded.reshape(-1, SLOTS).T))
    return {}, [bytes(tenseal.ckks_tensor(_context(blobs[0]), rows, batch=True).serialize())]


def _read(values: dict[str, Any], blobs: list[bytes]) -> Result:
    tensor = _tensor(_context(blobs[0]), blobs[1], length=values["length"])
    (tensor + tensor).serialize()
    return {}, []


def _add(values: dict[str, Any], blobs: list[bytes]) -> Result:
    context, total = _context(blobs[0]), None
    for data in blobs[1:]:
        tensor = _tensor(context, data, length=values["length"])
        total = tensor if total is None else total + tensor
    return {}, [bytes(total.serialize())]  # type: ignore[union-attr]


def _decrypt(values: dict[str, Any], blobs: list[bytes]) -> Result:
    tensor = _tensor(_context(blobs[0]), blobs[1], length=values["length"])
    numbers = np.asarray(tensor.decrypt().tolist(), dtype=np.float64).reshape(SLOTS, -1).T.reshape(-1)
    return {}, [numbers[: values["length"]].astype(np.float32).tobytes()]


JOBS: dict[str, Callable[[dict[str, Any], list[bytes]], Result]] = {
    "create": _create,
    "public": _public,
    "encrypt": _encrypt,
    "read": _read,
    "add": _add,
    "decrypt": _decrypt,
}


def _new_context() -> Any:
    import tenseal

    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, POLY_MODULUS_DEGREE, coeff_mod_bit_sizes=list(COEFF_MOD_BIT_SIZES)
    )
    context.global_scale = 2**SCALE_BITS
    return context


def _context(data: bytes) -> Any:
    import tenseal

    context, ours = tenseal.context_from(data), _new_context()
    parameters = [c.seal_context().data.key_parms_id() for c in (context, ours)]
    if parameters[0] != parameters[1] or context.global_scale != 2**SCALE_BITS or not context.has_public_key():
        raise ValueError("a context of other parameters")
    return context


def _serialised(context: Any, *, secret: bool) -> bytes:
    return bytes(
        context.serialize(save_public_key=True, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False)
    )


def _tensor(context: Any, data: bytes, *, length: int) -> Any:
    import tenseal

    tensor = tenseal.ckks_tensor_from(context, data)
    expected, level = polynomials(length), context.seal_context().data.first_parms_id()
    parts = tensor.ciphertext()
    if list(tensor.shape) != [expected] or len(parts) != expected:
        raise ValueError(f"expected {expected} polynomials for {length} numbers, got {list(tensor.shape)}")
    for part in parts:
        if (part.scale, part.size(), part.parms_id()) != (2.0**SCALE_BITS, 2, level) or part.is_transparent():
            raise ValueError("a polynomial of another scale, size or level, or one that hides nothing")
    return tensor


def main(source: IO[bytes], sink: IO[bytes]) -> None:
    """Do one job: limit this process first, then read."""
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold keys
    values, blobs = unframed(source.read())
    try:
        result = JOBS[values.pop("job")](values, blobs)
    except Exception as error:  # TenSEAL raises whatever its parser does
        result = {"error": f"{error!s:.200}" or type(error).__name__}, []
    sink.write(framed(*result))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
