"""A secret in shares: so many give it back, fewer fit every other secret just as well."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.sharing.shamir import BYTES, PRIME, element, joined, split, weights_at_zero

SECRETS = st.binary(min_size=BYTES, max_size=BYTES)


def number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def is_prime(candidate: int) -> bool:
    """Miller-Rabin with the first 20 primes as bases."""
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71):
        x = pow(base, odd, candidate)
        if x not in (1, candidate - 1) and candidate - 1 not in [pow(x, 2**i, candidate) for i in range(1, twos)]:
            return False
    return True


def test_the_field_is_one() -> None:
    assert is_prime(PRIME)
    assert not is_prime(PRIME + 2)


def test_shares_are_the_values_of_the_literal_polynomial() -> None:
    secret, a, b = (element(bytes([i] * BYTES)) for i in (7, 250, 13))
    for x, share in enumerate(split(secret, coefficients=[a, b], count=5), start=1):
        assert number(share) == (number(secret) + number(a) * x + number(b) * x**2) % PRIME


@given(secret=SECRETS, drawn=st.lists(SECRETS, max_size=4), more=st.integers(0, 3))
def test_any_so_many_shares_give_the_secret_back(secret: bytes, drawn: list[bytes], more: int) -> None:
    secret, needed = element(secret), len(drawn) + 1
    shares = split(secret, coefficients=drawn, count=needed + more)
    for places in combinations(range(1, needed + more + 1), needed):
        some = {x: shares[x - 1] for x in places}
        assert joined(some, weights=weights_at_zero(places)) == secret


@given(secret=SECRETS, drawn=st.lists(SECRETS, min_size=1, max_size=3), other=SECRETS)
def test_one_share_too_few_fits_any_other_secret(secret: bytes, drawn: list[bytes], other: bytes) -> None:
    """There is a last share with which they give any secret that one likes: so they tell nothing of the real one."""
    few = dict(enumerate(split(element(secret), coefficients=drawn, count=len(drawn)), start=1))
    places = [*few, len(drawn) + 1]
    *weights, last = weights_at_zero(places)
    rest = number(element(other)) - sum(number(share) * w for share, w in zip(few.values(), weights, strict=True))
    missing = (rest * pow(last, -1, PRIME) % PRIME).to_bytes(BYTES, "big")
    assert joined({**few, places[-1]: missing}, weights=[*weights, last]) == element(other)


def test_a_secret_beyond_the_field_is_brought_into_it() -> None:
    assert element(bytes([255] * BYTES)) == (188).to_bytes(BYTES, "big")
    assert element(bytes(BYTES)) == bytes(BYTES)
    with pytest.raises(ValueError, match="argument 2 is"):
        joined({1: bytes(BYTES), 2: bytes(BYTES)}, weights=[1])
