"""Encrypted sums equal plain ones, the leader cannot read, and what does not fit is refused by name."""

import subprocess
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tenseal
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.swarm.ckks import LARGEST, CipherError, Ciphertext, PublicContext, SecretContext
from mdhfl.swarm.ckks_child import SLOTS

SECRET = SecretContext.create()
PUBLIC = SECRET.public


def vector(length: int, *, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=length)).astype(np.float32)


@given(st.integers(1, 3 * SLOTS), st.integers(1, 4), st.sampled_from([1e-3, 1.0, 100.0]))
@settings(max_examples=4, deadline=None)
def test_an_encrypted_sum_is_the_sum(length: int, sites: int, scale: float) -> None:
    vectors = {str(i): vector(length, seed=i, scale=scale) for i in range(sites)}
    total = PUBLIC.add({site: PUBLIC.encrypt(values, addends=sites) for site, values in vectors.items()})
    decrypted = SECRET.decrypt(total, who="leader")
    expected = np.sum([v.astype(np.float64) for v in vectors.values()], axis=0)
    assert decrypted.shape == (length,)
    assert decrypted.dtype == np.float32
    np.testing.assert_allclose(decrypted, expected, rtol=1e-6, atol=1e-6)


def test_the_leader_cannot_read() -> None:
    sent = PublicContext.from_bytes(PUBLIC.to_bytes())
    assert len(sent.to_bytes()) < len(SECRET.to_bytes())
    assert not hasattr(sent, "decrypt")
    with pytest.raises(CipherError, match="got one with the secret key: it must not be sent to a leader"):
        PublicContext.from_bytes(SECRET.to_bytes())
    ciphertext = sent.encrypt(vector(10), addends=2)
    with pytest.raises(CipherError, match="got a public one"):
        SecretContext.from_bytes(sent.to_bytes())
    assert vector(10).tobytes() not in ciphertext.data


def test_a_context_is_the_same_at_every_member() -> None:
    other = SecretContext.from_bytes(SECRET.to_bytes())
    assert other.digest == SECRET.digest == PUBLIC.digest == other.public.digest
    np.testing.assert_allclose(other.decrypt(PUBLIC.encrypt(vector(9), addends=2), who="a"), vector(9), atol=1e-6)


def test_what_does_not_fit_is_refused_by_name() -> None:
    good, stranger = PUBLIC.encrypt(vector(10), addends=2), SecretContext.create()
    with pytest.raises(CipherError, match=r"ciphertext from 'b': expected context .*key of another merge"):
        PUBLIC.add({"a": good, "b": stranger.public.encrypt(vector(10), addends=2)})
    with pytest.raises(CipherError, match="ciphertext from leader 'a': expected context"):
        stranger.decrypt(good, who="leader 'a'")
    with pytest.raises(CipherError, match="ciphertext from 'b': expected 10 numbers like the others, got 11"):
        PUBLIC.add({"a": good, "b": PUBLIC.encrypt(vector(11), addends=2)})
    with pytest.raises(CipherError, match=r"ciphertext from 'b': expected 2 polynomials for 10 numbers, .* bytes, got"):
        PUBLIC.add({"a": good, "b": replace(PUBLIC.encrypt(vector(2 * SLOTS + 1), addends=2), length=10)})
    for broken in (b"", b"garbage", good.data[: len(good.data) // 2]):
        with pytest.raises(CipherError, match=r"ciphertext from 'b': expected digest .* damaged on the way"):
            PUBLIC.add({"a": good, "b": replace(good, data=broken)})
    with pytest.raises(CipherError, match="expected a CKKS context"):
        PublicContext.from_bytes(b"garbage")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_numbers_that_cannot_be_encrypted_are_refused(bad: float) -> None:
    values = vector(5)
    values[2] = bad
    with pytest.raises(CipherError, match="expected numbers below"):
        PUBLIC.encrypt(values, addends=2)
    with pytest.raises(CipherError, match="expected one vector"):
        PUBLIC.encrypt(np.zeros((2, 2), dtype=np.float32), addends=2)


@pytest.mark.slow
@pytest.mark.parametrize("addends", [1, 3, 50])
def test_a_sum_of_the_largest_numbers_does_not_wrap_around(addends: int) -> None:
    largest = np.array([1, -1], dtype=np.float32) * np.float32(0.999 * LARGEST / addends)
    total = PUBLIC.add({str(i): PUBLIC.encrypt(largest, addends=addends) for i in range(addends)})
    np.testing.assert_allclose(SECRET.decrypt(total, who="leader"), addends * largest, rtol=1e-6)
    with pytest.raises(CipherError, match=f"so that {addends} of them can be added, got"):
        PUBLIC.encrypt(largest * np.float32(1.01), addends=addends)


def test_more_than_were_encrypted_for_are_not_added() -> None:
    large = PUBLIC.encrypt(np.full(4, 0.9 * LARGEST / 2, dtype=np.float32), addends=2)
    with pytest.raises(CipherError, match="from '0': expected one that 3 can be added of, got one for at most 2: the"):
        PUBLIC.add({str(i): large for i in range(3)})
    pair = PUBLIC.add({"0": large, "1": large})
    with pytest.raises(CipherError, match="from '0': expected one that 2 can be added of, got one for at most 1"):
        PUBLIC.add({"0": pair, "1": pair})


def damaged(data: bytes, *, seed: int) -> bytes:
    """Return bytes that are changed somewhere: one bit, one byte of the head, zeros in the middle, or all."""
    random = np.random.default_rng(seed)
    changed, kind = bytearray(data), seed % 4
    if kind == 0:
        changed[random.integers(len(changed))] ^= 1 << random.integers(8)
    elif kind == 1:
        changed[random.integers(200)] = random.integers(256)
    elif kind == 2:
        start = random.integers(len(changed) - 1000)
        changed[start : start + 1000] = bytes(1000)
    else:
        changed = bytearray(random.bytes(len(changed)))
    return bytes(changed)


@pytest.mark.parametrize("seed", [n if n < 8 else pytest.param(n, marks=pytest.mark.slow) for n in range(40)])
def test_a_crafted_ciphertext_is_refused_by_name_or_does_no_harm(seed: int) -> None:
    """Its digest is right: whoever crafts it computes it anew. What TenSEAL can read is at worst a wrong share."""
    good = PUBLIC.encrypt(vector(10), addends=2)
    data = damaged(good.data, seed=seed)
    crafted = Ciphertext.of(data, length=10, addends=2, context=good.context)
    try:
        PUBLIC.read(crafted, who="'b'", like=good)
    except CipherError as error:
        assert "ciphertext from 'b'" in str(error)  # noqa: PT017


def reshaped(data: bytes, *, shape: int) -> bytes:
    """Return a serialised tensor that claims another number of polynomials than it holds (TenSEAL's protobuf)."""
    assert data[:3] == b"\x0a\x01\x02"
    return bytes([0x0A, 0x01, shape]) + data[3:]


SCALED = tenseal.context_from(SECRET.to_bytes())
SCALED.global_scale = 2.0**30


def tensor_of(numbers: np.ndarray, *, context: object = None) -> bytes:
    context = context or tenseal.context_from(SECRET.to_bytes())
    rows = tenseal.plain_tensor(np.zeros((SLOTS, 2)) + numbers)
    return bytes(tenseal.ckks_tensor(context, rows, batch=True).serialize())


@pytest.mark.parametrize(
    ("craft", "said"),
    [
        (lambda good: reshaped(good.data, shape=9), "expected encrypted numbers|ended the process|polynomials"),
        (lambda good: reshaped(good.data, shape=0), "expected encrypted numbers|ended the process|polynomials"),
        (lambda good: tensor_of(np.ones(2), context=SCALED), "another scale, size or level"),
        (lambda good: good.data[: len(good.data) // 2], "2 polynomials for 10 numbers, .* bytes, got"),
        (lambda good: good.data * 2, "2 polynomials for 10 numbers, .* bytes, got"),
        (lambda good: b"", "2 polynomials for 10 numbers, .* bytes, got 0"),
    ],
)
def test_a_ciphertext_of_another_form_is_refused(craft: Any, said: str) -> None:
    good = PUBLIC.encrypt(vector(10), addends=2)
    crafted = Ciphertext.of(craft(good), length=10, addends=2, context=good.context)
    with pytest.raises(CipherError, match=rf"ciphertext from 'b': .*({said})"):
        PUBLIC.read(crafted, who="'b'", like=good)


@pytest.mark.parametrize("seed", range(4))
def test_a_crafted_context_is_refused(seed: int) -> None:
    changed = damaged(PUBLIC.to_bytes(), seed=seed)
    try:
        other = PublicContext.from_bytes(changed)
    except CipherError as error:
        assert "expected a CKKS context, got" in str(error)  # noqa: PT017
    else:
        assert other.digest != PUBLIC.digest


def test_a_context_of_other_parameters_is_refused() -> None:
    small = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 40])
    small.global_scale = 2**20
    with pytest.raises(CipherError, match="a context of other parameters"):
        PublicContext.from_bytes(small.serialize(save_secret_key=False))
    with pytest.raises(CipherError, match="at most 2097152 bytes, got 3000000 bytes"):
        PublicContext.from_bytes(bytes(3_000_000))


@pytest.mark.parametrize(
    ("code", "said"), [("import os; os.abort()", "exit code -6"), ("x = bytes(2**36)", "exit code 1")]
)
def test_a_child_that_dies_or_wants_all_memory_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    """As if TenSEAL had crashed on the bytes: the process that read them ends, this one does not."""
    good, real = PUBLIC.encrypt(vector(10), addends=2), subprocess.run

    def crashing(command: list[str], **options: Any) -> Any:
        limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({command[-2]}, {command[-2]})); {code}"
        return real([command[0], "-c", limited], **options)

    monkeypatch.setattr(subprocess, "run", crashing)
    with pytest.raises(CipherError, match=rf"ciphertext from 'b': .*ended the process that read them \({said}\)"):
        PUBLIC.read(good, who="'b'", like=None)


def test_a_sum_that_wrapped_around_is_not_taken_for_a_model() -> None:
    """Members that claim to have encrypted for a sum of three, and did for one: the sum's numbers give it away."""
    large = [PUBLIC.encrypt(np.full(4, 0.99 * LARGEST, dtype=np.float32), addends=1) for _ in range(3)]
    total = PUBLIC.add({str(i): replace(cipher, addends=3) for i, cipher in enumerate(large)})
    with pytest.raises(CipherError, match="ciphertext from leader 'a': expected numbers below 262144, got"):
        SECRET.decrypt(total, who="leader 'a'")
