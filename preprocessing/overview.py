"""The overview folder, for people: contact sheets and the class-by-site chart. Nothing reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def draw_overview(folder: Path, *, classes: Sequence[str]) -> None:
    """Draw `overview/<site>.png`, `overview/public.png` and `overview/classes.png` of a written federation folder."""
