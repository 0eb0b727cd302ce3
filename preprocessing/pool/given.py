"""Pictures that are given away already: none of them, and nothing nearly identical, may go to a site."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Given:
    """The pictures of a public set that was prepared before.

    Attributes:
        digests: of each picture.
        likenesses: of each picture, see `likeness.py`; empty where only identical ones are looked for.
    """

    digests: tuple[str, ...]
    likenesses: tuple[bytes, ...]
