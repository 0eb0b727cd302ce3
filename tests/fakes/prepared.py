"""Federations prepared from small zips of coloured squares, and what lies in them."""

import hashlib
import json
from pathlib import Path

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare

COUNTS = {"red": 60, "blue": 40, "green": 20}


def make(raw, out, **changes):
    defaults = {"source": "folder", "sites": 2, "image_size": 16, "public_count": 20, "minimum": 5}
    return prepare(PrepareArguments(raw=raw, out=out, **{**defaults, **changes}), workers=1)


def load(out, name):
    return json.loads((Path(out) / name).read_text())


def items(out, site, *parts):
    datalist = load(out, f"sites/{site}/datalist.json")
    return [item for part in parts or ("training", "validation", "test") for item in datalist[part]]


def tree(folder):
    """Every file below a folder and a digest of its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
