"""Streams that may be far longer than they look, read in blocks and never beyond a limit."""

import io
from typing import BinaryIO

BLOCK = 1 << 20


def read_whole(stream: BinaryIO, *, limit: int) -> bytes:
    """The rest of a stream, at most `limit` bytes; takes little more memory than what it returns."""
    buffer = io.BytesIO()
    while (left := limit - buffer.tell()) > 0 and (block := stream.read(min(BLOCK, left))):
        buffer.write(block)
    return buffer.getvalue()
