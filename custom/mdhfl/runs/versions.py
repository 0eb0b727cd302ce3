"""The versions that a run records."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("mdhfl", "torch", "torchvision", "monai", "nvflare", "numpy")


def versions() -> dict[str, str]:
    """Return the version of Python and of each package that decides a run's numbers; "not installed" where it lacks."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
