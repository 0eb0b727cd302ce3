"""What makes two runs the same: they then share a folder, whatever comparison asks for them, under whatever title."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mdhfl.learning.bundle import find_bundle
from mdhfl.learning.bundle_digest import bundle_digest
from mdhfl.methods import Method, name_of, parameters_of


def federation_name(arguments: Mapping[str, Any]) -> str:
    """Return the name of a federation's folder: equal for all runs on the same data."""
    return f"{_plain(arguments['source'])}-seed{arguments['seed']}-{_digest(arguments)}"


def run_name(
    *,
    method: Method,
    arguments: Mapping[str, Any],
    rounds: int,
    bundles: Sequence[str],
    bundle_changes: Mapping[str, Any],
) -> str:
    """Return the name of a run's folder: equal only if everything is that decides its numbers.

    Args:
        method: with all its hyper-parameters; of one from elsewhere, its module's text counts, too.
        arguments: of `prepare`, the seed of federation and run among them.
        rounds: after the warm-up.
        bundles: in their order; of those outside the package, what they say and do counts.
        bundle_changes: see `learning/bundle_changes.py`.
    """
    networks = [(find_bundle(bundle).name, bundle_digest(bundle)) for bundle in bundles]
    decides = [arguments, name_of(method), _code_of(method), parameters_of(method), rounds, networks, bundle_changes]
    return f"{_plain(name_of(method))}-{_digest(decides)}"


def _code_of(method: Method) -> str:
    """Return a digest of the module of a method from elsewhere, which its author may be working on; else nothing."""
    module, colon, _ = name_of(method).partition(":")
    file = getattr(sys.modules[module], "__file__", None) if colon else None
    return _digest_of_file(file) if file else ""


@lru_cache
def _digest_of_file(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_.") or "unnamed"
