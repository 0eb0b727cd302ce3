"""Fixed point that wraps around and comes back, masks that are ChaCha20's, and seals that hold."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.masks import bits_after_point, check_of, fixed, floating, key_of, sealed, stream, unsealed


@given(
    values=st.lists(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), min_size=1, max_size=40),
    seed=st.integers(0, 2**32),
)
def test_a_sum_is_right_to_half_a_unit_for_each_site(values: list[list[float]], seed: int) -> None:
    """Also where masks make every number wrap around, and half of the sum is negative."""
    numbers, random = np.array(values, dtype=np.float64), np.random.default_rng(seed)
    n = len(numbers)
    total = np.zeros(3, np.uint32)
    mask = random.integers(0, 2**32, size=3, dtype=np.uint32)
    for row in numbers:
        total = total + fixed(row, addends=n, largest=100) + mask
    for _ in numbers:
        total = total - mask
    half = 0.5 * 2.0 ** -bits_after_point(addends=n, largest=100)
    assert np.abs(floating(total, addends=n, largest=100) - numbers.sum(axis=0)).max() <= n * half


@pytest.mark.parametrize("sites", [2, 3, 4, 10, 100, 1000])
@pytest.mark.parametrize("largest", [1.01, 100.0])
def test_the_largest_sums_do_not_wrap_around(sites: int, largest: float) -> None:
    for sign in (1, -1):
        one = fixed(np.array([sign * largest]), addends=sites, largest=largest)
        total = np.zeros(1, np.uint32)
        for _ in range(sites):
            total = total + one
        found = float(floating(total, addends=sites, largest=largest)[0])
        assert found == pytest.approx(sign * sites * largest, rel=1e-3 if sites > 100 else 1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.02, -1.02])
def test_a_number_that_could_wrap_around_is_refused(bad: float) -> None:
    with pytest.raises(MessageError, match=r"expected finite ones of at most 1\.01, got others"):
        fixed(np.array([0.5, bad]), addends=3, largest=1.01)


def test_a_mask_is_the_key_stream_of_rfc_8439() -> None:
    """Appendix A.1, test vector 1: an all-zero key and nonce, the first block."""
    first = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert stream(bytes(32), (2, 4)).astype("<u4").tobytes() == first
    assert stream(bytes(32), (2, 4)).dtype == np.uint32
    assert not np.array_equal(stream(bytes([1] * 32), (2, 4)), stream(bytes(32), (2, 4)))


def test_two_sites_agree_on_one_key_for_one_purpose() -> None:
    one, other, third = (X25519PrivateKey.from_private_bytes(bytes([i] * 32)) for i in (1, 2, 3))
    public = {key: key.public_key().public_bytes_raw().hex() for key in (one, other, third)}
    agreed = key_of(one, public[other], of="mask", roll="r")
    assert agreed == key_of(other, public[one], of="mask", roll="r")
    others = [
        key_of(one, public[other], of="seal", roll="r"),
        key_of(one, public[other], of="mask", roll="s"),
        key_of(one, public[third], of="mask", roll="r"),
    ]
    assert len({agreed, *others}) == 4
    with pytest.raises(MessageError, match="expected a site's key"):
        key_of(one, "00" * 32, of="mask")  # of low order: whoever sends it would know the secret


def test_what_is_sealed_is_read_by_its_key_at_its_place_and_nowhere_else() -> None:
    key, secret = bytes([5] * 32), bytes(range(32))
    data = sealed(secret, key=key, place=3)
    assert unsealed(data, key=key, place=3, whose="a") == secret
    flipped = bytes([data[0] ^ 1]) + data[1:]
    for wrong in ({"data": flipped}, {"place": 4}, {"key": bytes([6] * 32)}):
        asked = {"data": data, "key": key, "place": 3, **wrong}
        with pytest.raises(MessageError, match="what site 'a' sealed for this one cannot be read"):
            unsealed(asked["data"], key=asked["key"], place=asked["place"], whose="a")  # type: ignore[arg-type]
    assert secret not in data
    assert len(check_of(secret)) == 16
