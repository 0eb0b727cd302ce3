"""From a picture's name in a table to the file it means: by a stated rule, or not at all.

A name is taken as it stands first, from the table's folder, then from the top. If there is no such file, case, Unicode
form and the kind of slash do not matter any more, folders in front may be missing or too many (another machine's
absolute path), and a name without a picture's suffix means the file with that stem. Exactly one file must fit.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import PurePosixPath

Parts = tuple[str, ...]  # of a path, as they are compared


class FileNames:
    """The files of a dataset, found by the names in a table."""

    def __init__(self, names: Sequence[str], *, suffixes: Iterable[str], base: str) -> None:
        """Take in the names.

        Args:
            names: of all files.
            suffixes: of pictures, as ".png": only these files are found by a name that is not theirs letter by letter.
            base: folder of the table; "" or ".": the top.
        """
        self.names, self.known = names, set(names)
        self.suffixes, self.base = tuple(sorted(suffixes)), base

    def find(self, name: str) -> tuple[str, ...]:
        """The files that a name may mean: one is certain, none or several are not."""
        exact = self._exact(name)
        return (exact,) if exact else self._nearly(name.replace("\\", "/"))

    def is_exact(self, name: str) -> bool:
        """Whether a file is called so, letter by letter."""
        return self._exact(name) is not None

    def near(self, name: str) -> list[str]:
        """Files with the same stem, for a message."""
        parts = self.parts(name)
        return self._by_stem.get(parts[-1], []) if parts else []

    def pictures(self) -> list[str]:
        """The files with a picture's suffix."""
        return [name for names in self._by_stem.values() for name in names]

    def parts(self, name: str) -> Parts:
        """A name as it is compared: its folders and stem, without case, Unicode form and "." or a drive in front."""
        pieces = [piece for piece in self._folded(name.replace("\\", "/")).split("/") if piece not in ("", ".")]
        while pieces and (pieces[0] == ".." or pieces[0].endswith(":")):
            del pieces[0]
        return (*pieces[:-1], self._stem(pieces[-1])) if pieces else ()

    def _exact(self, name: str) -> str | None:
        path = name.replace("\\", "/")
        places = (str(PurePosixPath(self.base) / path), str(PurePosixPath(path)))
        return next((place for place in places if place in self.known), None)

    def _nearly(self, path: str) -> tuple[str, ...]:
        wanted = self.parts(path)
        if not wanted or ".." in wanted:
            return ()
        suffix = self._suffix(path)
        fits = []
        for candidate in self._by_stem.get(wanted[-1], ()):
            if suffix and suffix != self._suffix(candidate):
                continue
            parts = self.parts(candidate)
            if _ends_with(parts, wanted) or any(_ends_with(wanted, parts[skip:]) for skip in self._in_front(parts)):
                fits.append((candidate, parts))
        whole = [
            candidate for candidate, parts in fits if any(parts[skip:] == wanted for skip in self._in_front(parts))
        ]
        return tuple(whole) if len(whole) == 1 else tuple(candidate for candidate, _ in fits)

    def _in_front(self, parts: Parts) -> set[int]:
        """How many folders of a file's path say nothing: none, those of the table, those that all pictures lie in."""
        base = self.parts(f"{self.base}/x")[:-1]
        return {0, len(self._common), len(base) if parts[: len(base)] == base else 0}

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            if self._suffix(name):
                found.setdefault(self.parts(name)[-1], []).append(name)
        return found

    @cached_property
    def _common(self) -> Parts:
        folders = {self.parts(name)[:-1] for name in self.names if self._suffix(name)}
        if not folders:
            return ()
        first, last = min(folders), max(folders)
        length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        return first[: min(length, len(last))]

    def _stem(self, name: str) -> str:
        return name.removesuffix(self._suffix(name))

    def _suffix(self, name: str) -> str:
        folded = self._folded(name)
        return next((suffix for suffix in self.suffixes if folded.endswith(suffix)), "")

    @staticmethod
    def _folded(name: str) -> str:
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def agree(names: Iterable[Parts]) -> bool:
    """Whether names may be of one file: each is the end of the longest."""
    ordered = sorted(set(names), key=len)
    return all(_ends_with(ordered[-1], parts) for parts in ordered)


def _ends_with(parts: Parts, end: Parts) -> bool:
    return len(end) <= len(parts) and parts[len(parts) - len(end) :] == end
