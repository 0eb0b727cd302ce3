"""Files with the same bytes, found without decoding: what may be the same at a glance is read, nothing else."""

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from mdhfl.preprocessing.raw.records import Record, UnreadableImageError


class Glanced(Protocol):
    """Raw files that can be told apart at a glance."""

    def glance(self, name: str) -> Hashable:
        """What files with the same bytes have in common, cheap to get (a size, a checksum)."""

    def read(self, name: str) -> bytes:
        """The bytes of one file."""


@runtime_checkable
class TellsTwins(Protocol):
    """An opened source that can say which of its records are files with the same bytes."""

    def twins(self, records: Iterable[Record]) -> dict[str, str]:
        """Key to a digest of its bytes, for the records that share theirs with another one."""


def same_files(files: Glanced, names: Iterable[str]) -> dict[str, str]:
    """Name to digest, for the files that have the same bytes as another one; only files that may are read."""
    alike = [name for group in _shared({name: files.glance(name) for name in names}) for name in group]
    digests = {name: _digest(files, name) for name in alike}
    readable = {name: digest for name, digest in digests.items() if digest}
    return {name: digests[name] for group in _shared(readable) for name in group}


def _shared(values: Mapping[str, Hashable]) -> list[list[str]]:
    """The names of each value that several have."""
    groups: dict[Hashable, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _digest(files: Glanced, name: str) -> str:
    try:
        return hashlib.sha256(files.read(name)).hexdigest()
    except UnreadableImageError:
        return ""
