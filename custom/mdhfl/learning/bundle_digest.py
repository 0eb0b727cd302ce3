"""What a bundle says and does, as a digest: its configurations and its code."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhfl.learning.bundle import NO_CHANGES, find_bundle


def bundle_digest(name_or_path: str | Path, *, changes: Mapping[str, Any] = NO_CHANGES) -> str:
    """Return 64 hexadecimal digits of a bundle's configurations and Python files, by name and content.

    Args:
        name_or_path: see `find_bundle`.
        changes: of its training, see `bundle_changes.py`; they count, too.

    Raises:
        BundleError: there is no such bundle.
    """
    folder = find_bundle(name_or_path)
    digest = hashlib.sha256()
    for path in sorted([*(folder / "configs").rglob("*"), *folder.rglob("*.py")]):
        if path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    if changes:
        digest.update(json.dumps(dict(changes), sort_keys=True).encode())
    return digest.hexdigest()
