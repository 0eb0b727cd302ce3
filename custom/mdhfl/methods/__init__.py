"""One file per algorithm. A method is found by itself, looked up by its name, and made from plain values.

A file that defines a titled `Method` is that method; its name is the file's. Files that end in `_method` hold the
families. May import `sharing` and `losses`.
"""

import importlib
import pkgutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields, replace
from inspect import isabstract
from typing import Any

from mdhfl.methods.knowledge_method import KnowledgeMethod
from mdhfl.methods.method import Method
from mdhfl.methods.swarm_method import SwarmMethod
from mdhfl.methods.weights_method import WeightsMethod

__all__ = [
    "METHODS",
    "KnowledgeMethod",
    "Method",
    "SwarmMethod",
    "WeightsMethod",
    "changed",
    "class_of",
    "create",
    "name_of",
    "parameters_of",
]


def _methods_of(module: Any) -> list[type[Method]]:
    """Return the titled methods that a module itself defines."""
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Method)]
    return [each for each in found if each.__module__ == module.__name__ and vars(each).get("title")]


def _find() -> dict[str, type[Method]]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: each for name, module in modules.items() for each in _methods_of(module)}


METHODS: dict[str, type[Method]] = _find()
globals().update({each.__name__: each for each in METHODS.values()})  # mdhfl.methods.Mdhfl, ...


def __getattr__(name: str) -> Any:
    """Tell a type checker that there are more names than are written here."""
    raise AttributeError(f"module {__name__!r} has no method {name!r}; there are: {', '.join(sorted(METHODS))}")


def class_of(name: str, *, trusted: Collection[str] = ()) -> type[Method]:
    """Return a method's class.

    Args:
        name: of one of ours, or "package.module:Class" for one from elsewhere.
        trusted: modules that may be imported for it. One that is imported already is as it is: naming it in a message
            runs nothing.

    Raises:
        ValueError: there is no such method, or its module is not trusted.
    """
    if name in METHODS:
        return METHODS[name]
    module, colon, qualified = name.partition(":")
    if not colon:
        raise ValueError(
            f"no method {name!r}; there are: {', '.join(sorted(METHODS))}, or your own as package.module:Class"
        )
    if module not in sys.modules:
        if module not in trusted:
            raise ValueError(
                f"method {name!r}: module {module!r} is not trusted here, so it is not imported; its code would run. "
                f'To allow it, add "{module}" to "methods" in site.json (a site) or server.json (the server)'
            )
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(f"method {name!r}: module {module!r} cannot be imported ({error})") from error
    found = getattr(sys.modules[module], qualified, None)
    if not (isinstance(found, type) and issubclass(found, Method)) or isabstract(found):
        raise ValueError(f"method {name!r}: {module!r} has no class {qualified!r} derived from mdhfl.Method")
    return found


def name_of(method: Method) -> str:
    """Return the name under which a method is found again."""
    for name, each in METHODS.items():
        if type(method) is each:
            return name
    return f"{type(method).__module__}:{type(method).__qualname__}"


def parameters_of(method: Method) -> dict[str, Any]:
    """Return a method's hyper-parameters as plain values."""
    return asdict(method)


def create(name: str, parameters: Mapping[str, Any], *, trusted: Collection[str] = ()) -> Method:
    """Make a method from its name and all its hyper-parameters.

    Raises:
        ValueError: no such method; a parameter is unknown, missing (unless version 0.1.0 had none) or out of range.
    """
    found = class_of(name, trusted=trusted)
    known = fields(found)
    _refuse_unknown(name, parameters, [field.name for field in known])
    needed = [field.name for field in known if not field.metadata.get("later")]
    if missing := [one for one in needed if one not in parameters]:
        raise ValueError(f"method {name!r} needs a value for {', '.join(missing)}")
    return found(**parameters)


def changed(method: Method, changes: Mapping[str, Any]) -> Method:
    """Return a method with some hyper-parameters changed.

    Raises:
        ValueError: a parameter is unknown or out of range.
    """
    _refuse_unknown(name_of(method), changes, [field.name for field in fields(method)])
    return replace(method, **changes)


def _refuse_unknown(name: str, parameters: Mapping[str, Any], known: list[str]) -> None:
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(f"method {name!r} has no parameter {', '.join(unknown)}; it has: {', '.join(known)}")
