"""The server's side: a public folder that is read and never written, a piece at a time."""

from bisect import bisect_right
from pathlib import Path
from typing import Any

from mdhfl.files import open_regular, read_json
from mdhfl.hosting.offer import offer_of, payload_of
from mdhfl.hosting.pieces import LARGEST_PIECE, Piece, Question


class HostedSet:
    """Answers questions about one public set.

    Attributes:
        offer: what it offers.
    """

    def __init__(self, folder: Path) -> None:
        """Measure the folder's files.

        Raises:
            OSError, ValueError: it is no public set that a site would take.
        """
        self.offer = offer_of(folder)
        self._payload = payload_of(self.offer)
        self._paths = [folder / item["image"] for item in read_json(folder / "datalist.json")["public"]]

    def answer(self, wire: Any) -> dict[str, Any]:
        """Return the piece that a site asks for; a refusal where there is none.

        Raises:
            MessageError: it is no question.
            OSError: a file cannot be read, or is shorter than it was.
        """
        question = Question.from_wire(wire)
        if question.public_digest != self.offer.public_digest:
            return Piece(refusal="other_set").to_wire()
        total = len(self._payload) if question.about == "offer" else self.offer.bytes
        start, stop = question.start, min(question.stop, question.start + LARGEST_PIECE, total)
        found = self._payload[start:stop] if question.about == "offer" else self._images(start, stop)
        return Piece(bytes=found, total=total).to_wire()

    def _images(self, start: int, stop: int) -> bytes:
        """Read a range of all files, one behind the other."""
        starts, found = self.offer.starts, bytearray()
        number = bisect_right(starts, start) - 1
        while start + len(found) < stop:
            at = start + len(found)
            with open_regular(self._paths[number]) as file:
                file.seek(at - starts[number])
                part = file.read(min(stop, starts[number + 1]) - at)
            if len(part) < min(stop, starts[number + 1]) - at:
                raise OSError(f"{self._paths[number]}: shorter than when the job began; put the file back")
            found += part
            number += 1
        return bytes(found)


def no_set() -> dict[str, Any]:
    """Return what a server answers that hosts nothing, or not what is asked for."""
    return Piece(refusal="other_set").to_wire()


def unreadable() -> dict[str, Any]:
    """Return what a server answers whose own files cannot be read."""
    return Piece(refusal="unreadable").to_wire()
