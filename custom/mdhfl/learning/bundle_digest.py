"""What a bundle says and does, as a digest: its configurations and its code."""

import hashlib
from pathlib import Path

from mdhfl.learning.bundle import find_bundle


def bundle_digest(name_or_path: str | Path) -> str:
    """Return 64 hexadecimal digits of a bundle's configurations and Python files, by name and content.

    Raises:
        BundleError: there is no such bundle.
    """
    folder = find_bundle(name_or_path)
    digest = hashlib.sha256()
    for path in sorted([*(folder / "configs").rglob("*"), *folder.rglob("*.py")]):
        if path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()
