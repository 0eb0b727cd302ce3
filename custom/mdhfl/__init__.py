"""Federated learning for hospitals whose models and data differ.

The face of the package, for scripts and notebooks: everything is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from mdhfl import methods
    from mdhfl.api import Run, prepare, report, run
    from mdhfl.comparison.compare import compare
    from mdhfl.export.bundle import export_bundle
    from mdhfl.methods import KnowledgeMethod, Method, SwarmMethod, WeightsMethod
    from mdhfl.rounds.experiment import Experiment
    from mdhfl.runs.recipe import Recipe

__all__ = [
    "Experiment",
    "KnowledgeMethod",
    "Method",
    "Recipe",
    "Run",
    "SwarmMethod",
    "WeightsMethod",
    "compare",
    "export_bundle",
    "methods",
    "prepare",
    "report",
    "run",
]

_MODULES = {
    "Experiment": "mdhfl.rounds.experiment",
    "KnowledgeMethod": "mdhfl.methods",
    "Method": "mdhfl.methods",
    "Recipe": "mdhfl.runs.recipe",
    "Run": "mdhfl.api",
    "SwarmMethod": "mdhfl.methods",
    "WeightsMethod": "mdhfl.methods",
    "compare": "mdhfl.comparison.compare",
    "export_bundle": "mdhfl.export.bundle",
    "prepare": "mdhfl.api",
    "report": "mdhfl.api",
    "run": "mdhfl.api",
}


def __getattr__(name: str) -> Any:
    """Load what the face promises on its first use (PEP 562): `import mdhfl` itself loads nothing."""
    if name == "methods":
        return import_module("mdhfl.methods")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'mdhfl' has no attribute {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
