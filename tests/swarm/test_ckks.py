"""Encrypted sums equal plain ones, the leader cannot read, and what does not fit is refused by name."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.swarm.ckks import LARGEST, SLOTS, CipherError, PublicContext, SecretContext

SECRET = SecretContext.create()
PUBLIC = SECRET.public


def vector(length: int, *, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=length)).astype(np.float32)


@given(st.integers(1, 3 * SLOTS), st.integers(1, 4), st.sampled_from([1e-3, 1.0, 100.0]))
@settings(max_examples=15, deadline=None)
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
    assert not sent._context.is_private()
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
    with pytest.raises(CipherError, match="ciphertext from 'b': expected 2 polynomials for 10 numbers"):
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
