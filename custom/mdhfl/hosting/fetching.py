"""The site's side of the way: fetch what is missing, check each file before it counts, go on where it was cut off."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhfl.hosting.kept import image_path, missing_images
from mdhfl.hosting.offer import Offer, measure, parse_offer
from mdhfl.hosting.pieces import LARGEST_PIECE, Piece, Question
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.protocol import OtherProtocol
from mdhfl.sharing.reasons import Refusal

WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before a piece that did not come is asked for again
NAP = 0.2  # seconds after which a wait looks whether it shall end

ShouldStop = Callable[[], bool]
Tell = Callable[[int, int], object]  # bytes that are here, bytes in all
Ask = Callable[[Mapping[str, Any]], Any]  # gives the answer to a question as it travelled; raises HostGone


class HostGone(RuntimeError):
    """No answer came."""


class Stopped(RuntimeError):
    """Somebody asked to stop; what was fetched is kept."""


class Fetcher:
    """Asks a host for one public set, a piece at a time."""

    def __init__(self, ask: Ask, *, public_digest: str, should_stop: ShouldStop, tell: Tell) -> None:
        """Take how to ask, and for what.

        Args:
            ask: gives the host's answers.
            public_digest: of the set, 64 hexadecimal digits.
            should_stop: asked before each piece.
            tell: called after each piece of images.
        """
        self._ask, self._digest, self._should_stop, self._tell = ask, public_digest, should_stop, tell
        self._ahead, self._ahead_at = b"", 0  # bytes that came with the piece and belong to images that follow

    def offer(self) -> Offer:
        """Return the host's offer.

        Raises:
            Refusal: there is none, or it is not sound, or not of this set.
            Stopped: `should_stop` said so.
        """
        payload, total = b"", 1
        while len(payload) < total:
            piece = self._piece("offer", len(payload), len(payload) + LARGEST_PIECE)
            payload, total = payload + piece.bytes, piece.total
        try:
            offer = parse_offer(payload)
        except MessageError as error:
            raise self._refusal("public_offer", str(error)) from error
        if offer.public_digest != self._digest:
            raise self._refusal("public_offer", f"the server offers {offer.public_digest[:8]} in its place")
        return offer

    def images(self, folder: Path, offer: Offer) -> None:
        """Fetch what a folder lacks.

        Args:
            folder: of the set; half an image that was fetched before is gone on with.
            offer: what each file must be.

        Raises:
            Refusal: a file is twice not what was offered, or no answer comes.
            OSError: the disk does not take it.
            Stopped: `should_stop` said so.
        """
        missing = missing_images(folder, offer)
        here = offer.bytes - sum(offer.images[number].size for number in missing)
        ends = _ends(missing, offer)
        for number in missing:
            self._fetch(image_path(folder, number), number, offer, stop=ends[number], here=here)
            here += offer.images[number].size

    def _fetch(self, path: Path, number: int, offer: Offer, *, stop: int, here: int) -> None:
        image, partial = offer.images[number], path.with_suffix(".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        for wanted in (stop, offer.starts[number + 1]):
            self._receive(partial, offer, number, stop=wanted, here=here)
            got = measure(partial)
            if got == (image.size, image.sha256):
                partial.replace(path)
                return
            partial.unlink()
            self._ahead = b""
        raise self._refusal(
            "public_offer",
            f"image {number} ({image.digest}): expected {image.size} bytes of SHA-256 {image.sha256}, got {got[0]} of "
            f"{got[1]}, twice",
        )

    def _receive(self, partial: Path, offer: Offer, number: int, *, stop: int, here: int) -> None:
        """Write an image's bytes, from where its partial file ends."""
        size, start = offer.images[number].size, offer.starts[number]
        with partial.open("ab") as file:
            if file.tell() > size:
                file.truncate(0)
            got = file.tell()
            while got < size:
                part = self._bytes_at(start + got, stop=stop, total=offer.bytes)[: size - got]
                file.write(part)
                file.flush()
                got += len(part)
                self._tell(here + got, offer.bytes)

    def _bytes_at(self, start: int, *, stop: int, total: int) -> bytes:
        """Return bytes from this place on: those that came before, or a new piece."""
        if not self._ahead_at <= start < self._ahead_at + len(self._ahead):
            piece = self._piece("images", start, stop)
            if piece.total != total:
                raise self._refusal("public_offer", f"expected {total} bytes in all, the server has {piece.total}")
            self._ahead, self._ahead_at = piece.bytes, start
        return self._ahead[start - self._ahead_at :]

    def _piece(self, about: str, start: int, stop: int) -> Piece:
        question = Question(about=about, public_digest=self._digest, start=start, stop=stop)
        try:
            piece = Piece.from_wire(self._asked(question.to_wire()), question=question)
        except OtherProtocol:
            raise
        except MessageError as error:
            raise self._refusal("public_offer", str(error)) from error
        if piece.refusal == "unreadable":
            raise self._refusal("public_incomplete", "the server cannot read its files; its log says why")
        if piece.refusal:
            raise self._refusal("public_not_hosted", "the server hosts no such public set")
        return piece

    def _asked(self, wire: Mapping[str, Any]) -> Any:
        for wait in (*WAITS, None):
            if self._should_stop():
                raise Stopped
            try:
                return self._ask(wire)
            except HostGone as error:
                if wait is None:
                    raise self._refusal("public_incomplete", f"no answer: {error}") from error
                self._wait(wait)
        raise AssertionError  # the last turn returns or raises

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._should_stop():
                raise Stopped
            time.sleep(min(NAP, seconds))

    def _refusal(self, code: str, said: str) -> Refusal:
        return Refusal(code, f"public set {self._digest[:8]}: {said}", expected=self._digest[:8])


def _ends(missing: Sequence[int], offer: Offer) -> dict[int, int]:
    """Return, for each missing image, where the run of missing images ends: what is there is not asked for."""
    ends: dict[int, int] = {}
    for number in reversed(missing):
        ends[number] = ends.get(number + 1, offer.starts[number + 1])
    return ends
