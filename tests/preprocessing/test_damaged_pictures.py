"""Damaged files of every kind: pixels or a reason, within a bound of time and memory, never another error."""

import ast

import pytest
from fakes.bombs import measured

IMPORTS = """
sys.path.insert(0, "tests")
from fakes.mutated_files import worst
worst(0, 0)
"""
SECONDS, MEGABYTES = 5, 100  # of one file; 1,000,000 pixels are allowed, which take 32 MB by the limits


@pytest.mark.parametrize("first", [0, 400])
def test_a_damaged_picture_takes_bounded_time_and_memory(first: int) -> None:
    grown, said = measured("worst(int(sys.argv[1]), 400)", first, imports=IMPORTS, seconds=300)
    assert said.startswith("("), said
    slowest, what, readable = ast.literal_eval(said)
    assert slowest < SECONDS, what
    assert grown < MEGABYTES
    assert 0 < readable < 300
