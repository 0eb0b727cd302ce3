"""What only some roles need installed: parts of mdhfl that say by name what they lack, and how to get it."""

from importlib.util import find_spec

EXTRAS: dict[str, tuple[str, ...]] = {  # as in pyproject.toml -> the modules that show whether it is installed
    "server": ("tensorboard",),
    "report": ("matplotlib", "scipy"),
    "swarm": ("tenseal",),
    "notebook": ("pandas",),
    "dp": ("opacus",),
    "audit": ("scipy", "skimage"),
}


class MissingExtra(ImportError):
    """A part of mdhfl is asked for whose packages are not installed; the message names them and the way out."""


def require(extra: str, *, what: str) -> None:
    """Check that an extra is installed; nothing is imported.

    Args:
        extra: one of EXTRAS.
        what: who needs it, for the message.

    Raises:
        MissingExtra: it is not.
    """
    missing = [module for module in EXTRAS[extra] if find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"{what} needs {' and '.join(missing)}, not installed here: pip install 'mdhfl[{extra}]', in a checkout "
            f"pip install '.[{extra}]'"
        )
