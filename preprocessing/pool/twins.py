"""Candidates whose files have the same bytes: known before anything is decoded."""

from collections.abc import Sequence
from contextlib import closing

from mdhfl.preprocessing.pool.candidates import Candidate
from mdhfl.preprocessing.pool.gather import Listed
from mdhfl.preprocessing.raw.twins import TellsTwins


def twins_among(candidates: Sequence[Candidate], *, inputs: Sequence[Listed]) -> dict[int, str]:
    """Candidate -> a digest of its file, for those that share theirs with another one of the same input.

    A private input's twins are told apart from a public one's. Sources that have no files of their own say nothing.
    """
    found: dict[int, str] = {}
    for one in inputs:
        origin = one.raw_input.origin
        places = {candidate.record.key: i for i, candidate in enumerate(candidates) if candidate.input == origin}
        with closing(one.raw_input.open()) as source:
            if isinstance(source, TellsTwins):
                twins = source.twins(candidates[index].record for index in places.values())
                found.update({places[key]: f"{origin}/{digest}" for key, digest in twins.items()})
    return found
