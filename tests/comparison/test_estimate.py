"""How long the rest takes: by method, side by side, and never less than the longest run."""

import pytest

from mdhfl.comparison.estimate import in_words, seconds_left


def test_nothing_is_known_before_the_first_run_has_ended() -> None:
    assert seconds_left(["a"], [("a", 3.0)], known={}, slots=2) is None
    assert seconds_left(["a"], [], known={"a": []}, slots=2) is None


@pytest.mark.parametrize(
    ("waiting", "underway", "slots", "expected"),
    [
        ([], [], 1, 0),
        (["a", "a"], [], 1, 20),
        (["a", "a", "b"], [], 2, 30),  # 50 side by side, but b takes 30
        (["b", "b", "b"], [], 2, 45),
        (["a", "b"], [("a", 4.0)], 1, 46),
        (["c"], [], 1, 20),  # the mean of those that have ended
        (["b"], [], 4, 30),  # one run cannot be shared
        ([], [("b", 100.0)], 1, 0),  # longer than expected
    ],
)
def test_the_mean_of_each_method_counts(
    waiting: list[str], underway: list[tuple[str, float]], slots: int, expected: float
) -> None:
    known = {"a": [8.0, 12.0], "b": [30.0, 30.0]}
    assert seconds_left(waiting, underway, known=known, slots=slots) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12000, "3 h 20 min")]
)
def test_durations_are_words(seconds: float, said: str) -> None:
    assert in_words(seconds) == said
