"""A bundle's own modules, importable while it is built, and for itself only.

MONAI's bundles keep code beside `configs`, in `scripts` or in single modules, and name it from their configuration.
Two bundles in one process may both have a `scripts.net`: neither may get the other's.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def own_code(folder: Path) -> Iterator[None]:
    """Let the modules of a bundle's folder be imported meanwhile; afterwards Python has forgotten their names.

    What was built from them goes on to work: classes know their module's content, not its name.
    """
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    names |= {"scripts"} if (folder / "scripts").is_dir() else set()
    before = _taken_out(names)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _taken_out(names)
        sys.modules.update(before)


def _taken_out(names: set[str]) -> dict[str, ModuleType]:
    found = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in found}
