"""From a picture's name in a table to the file it means: by a stated rule, or not at all.

A name is taken as it stands first, from the table's folder, then from the top. If there is no such file, case, Unicode
form and the kind of slash do not matter any more, folders in front may be missing or too many (another machine's
absolute path), and a name without a picture's suffix means the file with that stem. Exactly one file must fit.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice

Parts = tuple[str, ...]  # of a path, as they are compared: folders, and the stem of the file
Index = dict[tuple[Parts, str], list[str]]  # (parts, suffix) and (parts, "") -> files
MOST = 5  # files that are told apart: two are too many


class FileNames:
    """The files of a dataset, found by the names in a table; each in a time that does not grow with their number."""

    def __init__(self, names: Sequence[str], *, suffixes: Iterable[str], base: str) -> None:
        """Take in the names.

        Args:
            names: of all files.
            suffixes: of pictures, as ".png": only these files are found by a name that is not theirs letter by letter.
            base: folder of the table; "" or ".": the top.
        """
        self.known, self.front = set(names), "" if base in ("", ".") else f"{base}/"
        self.suffixes = tuple(sorted(suffixes))
        self.pictures = [name for name in names if self._suffix(name)]
        self._tails: dict[int, Index] = {}

    def find(self, name: str) -> tuple[str, ...]:
        """The files that a name may mean: one is certain, none or several are not (a few are named)."""
        exact = self._exact(name)
        return (exact,) if exact else self._nearly(name)

    def is_exact(self, name: str) -> bool:
        """Whether a file is called so, letter by letter."""
        return self._exact(name) is not None

    def near(self, name: str) -> list[str]:
        """A few files with the same stem, for a message."""
        parts = self.parts(name)
        return self._by_tail(1).get((parts[-1:], ""), [])[:MOST] if parts else []

    def parts(self, name: str) -> Parts:
        """A name as it is compared: without case, Unicode form, suffix, and "." or ".." or a drive in front."""
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).replace("\\", "/")
        pieces = [piece for piece in folded.split("/") if piece not in ("", ".")]
        while pieces and (pieces[0] == ".." or pieces[0].endswith(":")):
            del pieces[0]
        return (*pieces[:-1], pieces[-1].removesuffix(self._suffix(pieces[-1]))) if pieces else ()

    def _exact(self, name: str) -> str | None:
        path = name.replace("\\", "/")
        return next((place for place in (self.front + path, path) if place in self.known), None)

    def _nearly(self, name: str) -> tuple[str, ...]:
        parts, suffix = self.parts(name), self._suffix(name)
        if not parts or ".." in parts:
            return ()
        whole = self._whole.get((parts, suffix), [])
        if len(whole) == 1:
            return (whole[0],)
        fits = dict.fromkeys(islice(self._by_tail(len(parts)).get((parts, suffix), []), MOST))
        for skip in range(len(parts)):
            fits.update(dict.fromkeys(islice(self._whole.get((parts[skip:], suffix), []), MOST)))
        return tuple(fits)

    @cached_property
    def _whole(self) -> Index:
        """Files by their path, also without the folders in front that say nothing."""
        index: Index = {}
        base = self.parts(f"{self.front}x")[:-1]
        for name, parts in zip(self.pictures, self._parts, strict=True):
            silent = {0, len(self._common), len(base) if parts[: len(base)] == base else 0}
            for skip in silent:
                self._enter(index, parts[skip:], name)
        return index

    def _by_tail(self, length: int) -> Index:
        """Files by the last parts of their path."""
        if length not in self._tails:
            index: Index = {}
            for name, parts in zip(self.pictures, self._parts, strict=True):
                if len(parts) >= length:
                    self._enter(index, parts[-length:], name)
            self._tails[length] = index
        return self._tails[length]

    def _enter(self, index: Index, parts: Parts, name: str) -> None:
        for suffix in ("", self._suffix(name)):
            index.setdefault((parts, suffix), []).append(name)

    @cached_property
    def _parts(self) -> list[Parts]:
        return [self.parts(name) for name in self.pictures]

    @cached_property
    def _common(self) -> Parts:
        """The folders that all pictures lie in."""
        folders = {parts[:-1] for parts in self._parts}
        first, last = min(folders, default=()), max(folders, default=())
        length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        return first[:length]

    def _suffix(self, name: str) -> str:
        folded = name.casefold()
        return next((suffix for suffix in self.suffixes if folded.endswith(suffix)), "")


def agree(names: Iterable[Parts]) -> bool:
    """Whether names may be of one file: each is the end of the longest."""
    ordered = sorted(set(names), key=len)
    return all(ordered[-1][len(ordered[-1]) - len(parts) :] == parts for parts in ordered)
