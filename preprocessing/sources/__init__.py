"""One file per dataset: its layout, licence, citation and class codes. Adding a dataset is adding one file here.

Each module defines `SOURCE`, an object with a `card` (`SourceCard`) and `open(raw, *, options) -> OpenSource`.
May import `raw`, and `drawing` for the source that draws.
"""

import importlib
import pkgutil
from typing import cast

from mdhfl.preprocessing.raw.records import (
    OpenSource,
    Pixels,
    Record,
    Skip,
    Source,
    SourceCard,
    SourceOptions,
    UnreadableImageError,
)

__all__ = [
    "OpenSource",
    "Pixels",
    "Record",
    "Skip",
    "Source",
    "SourceCard",
    "SourceOptions",
    "UnreadableImageError",
    "find_source",
    "source_names",
]


def source_names() -> list[str]:
    """Names of all sources, sorted: the modules in this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find_source(name: str) -> Source:
    """The source of that name.

    Raises:
        ValueError: there is none; lists those there are.
    """
    if name not in source_names():
        raise ValueError(
            f"unknown source {name!r}: expected one of {', '.join(source_names())}; "
            "for a dataset of your own use `folder` (one folder per class) or `manifest` (a table of files and classes)"
        )
    return cast(Source, importlib.import_module(f".{name}", __package__).SOURCE)
