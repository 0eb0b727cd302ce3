"""What may be changed of a bundle without editing it: learning rate, batch size, optimiser and augmentation.

`--set bundle.learning_rate=3e-4` for a run, `"bundle_changes"` in site.json for a site. Values are numbers and plain
names, never expressions: a change runs no code.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

PREFIX = "bundle."  # of their names, where hyper-parameters of methods stand beside them
ARGUMENT = "optimizer."  # before the name of any other argument of the optimiser
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# name -> what is expected, and whether a value is that
KNOWN: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "learning_rate": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "batch_size": (
        "a whole number of at least 2",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 2,
    ),
    "optimizer": (
        "a class of torch.optim by its name, for example SGD",
        lambda value: isinstance(value, str) and bool(NAME.fullmatch(value)),
    ),
    "augmentation": ("true (the bundle's own) or false (none)", lambda value: isinstance(value, bool)),
}
OTHER_ARGUMENT = f"{ARGUMENT}<argument>"  # for example optimizer.weight_decay


def check_changes(changes: Mapping[str, Any]) -> None:
    """Refuse a change that no bundle has, or a value that cannot be.

    Args:
        changes: name -> value, without the prefix.

    Raises:
        ValueError: naming the change, what was expected and what came.
    """
    for name, value in changes.items():
        if name in KNOWN:
            expected, is_right = KNOWN[name]
            if not is_right(value):
                raise ValueError(f"{PREFIX}{name}: expected {expected}, got {value!r}")
        elif name.startswith(ARGUMENT) and NAME.fullmatch(name.removeprefix(ARGUMENT)):
            if not isinstance(value, bool) and not _is_number(value):
                raise ValueError(f"{PREFIX}{name}: expected a number, true or false, got {value!r}")
        else:
            raise ValueError(
                f"{PREFIX}{name}: no such setting of a bundle; there are: "
                f"{', '.join(PREFIX + one for one in (*KNOWN, OTHER_ARGUMENT))}"
            )


def split_changes(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the changes of a method and those of its sites' bundles, the latter without their prefix.

    Raises:
        ValueError: as `check_changes`.
    """
    own = {name.removeprefix(PREFIX): value for name, value in changes.items() if name.startswith(PREFIX)}
    check_changes(own)
    return {name: value for name, value in changes.items() if not name.startswith(PREFIX)}, own


def with_prefix(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bundle's changes under the names by which a run is told them."""
    return {f"{PREFIX}{name}": value for name, value in changes.items()}


def changed_config(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bundle's training configuration with changes.

    Another optimiser takes the parameters and the learning rate of the bundle's own, and none of its other arguments.

    Args:
        config: the content of train.yaml.
        changes: checked, without the prefix.

    Raises:
        ValueError: the configuration's optimizer is no class with arguments.
    """
    changed = dict(config)
    if "batch_size" in changes:
        changed["batch_size"] = changes["batch_size"]
    if changes.get("augmentation") is False:
        changed["random_transforms"] = []
    arguments = {name.removeprefix(ARGUMENT): value for name, value in changes.items() if name.startswith(ARGUMENT)}
    if "learning_rate" in changes:
        arguments["lr"] = changes["learning_rate"]
    if arguments or "optimizer" in changes:
        changed["optimizer"] = {**_optimizer(config.get("optimizer"), another=changes.get("optimizer")), **arguments}
    return changed


def _optimizer(written: Any, *, another: str | None) -> dict[str, Any]:
    if not isinstance(written, Mapping) or "_target_" not in written:
        raise ValueError(f"optimizer: expected a _target_ with arguments, so that they can be changed, got {written!r}")
    if another is None:
        return dict(written)
    kept = {name: written[name] for name in ("params", "lr") if name in written}
    return {"_target_": f"torch.optim.{another}", **kept}
