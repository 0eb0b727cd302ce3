"""What tells one run from another but for its seed, and the names that this gives to groups of runs. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mdhfl.methods import METHODS
from mdhfl.reports.runs import DEFENCE, PRIVACY, Run

BUNDLES_OWN = "as in the bundle"  # what was not changed
EPSILON = f"{PRIVACY}epsilon"
PHRASES = {f"{DEFENCE}rounds": "new answers in {} rounds", f"{PRIVACY}rounds": "noise for {} rounds"}  # not its length


def title_of(method: str) -> str:
    """Return a method's title, for one from elsewhere its class's name."""
    return METHODS[method].title if method in METHODS else method.rpartition(":")[2]


def identity_of(run: Run) -> str:
    """Return a text that is the same for runs that differ in nothing but their seed."""
    decides = {
        "federation": run.federation,
        "method": run.method,
        "settings": run.settings,
        "policy": run.policy,
        "bundles": run.bundles,
        "engine": run.engine,
        "rounds": run.last_round,
        "finished": run.finished,
        "architectures": _architectures(run),
    }
    return _text(decides)


def labels_of(runs: Sequence[Run]) -> list[str]:
    """Name each run by its method and by what sets it apart from the others of its method.

    Args:
        runs: one of each group.
    """
    labels: list[tuple[str, str]] = []
    for run in runs:
        others = [other for other in runs if other.method == run.method and other.federation == run.federation]
        label = ", ".join([title_of(run.method), *_distinctions(run, others)])
        labels.append((run.federation, label))
    return [_numbered(label[1], before=labels[:i].count(label)) for i, label in enumerate(labels)]


def _numbered(label: str, *, before: int) -> str:
    return f"{label} #{before + 1}" if before else label


def _distinctions(run: Run, others: Sequence[Run]) -> list[str]:
    parts = []
    if run.method == "local" and (loss := _loss(run)):
        parts.append(loss)
        others = [other for other in others if _loss(other) == loss]
    changed = _differing([other.settings for other in others])
    parts += [f"{name}={run.settings.get(name, BUNDLES_OWN)}" for name in changed]
    parts += _policy_apart(run, others)
    parts += _bundles_apart(run, others)
    if len({other.engine for other in others}) > 1:
        parts.append(run.engine)
    if len({other.last_round for other in others}) > 1:
        parts.append(f"{run.last_round} rounds")
    if not run.finished:
        parts.append("unfinished")
    return parts


def _loss(run: Run) -> str:
    """Return which loss a run trains by: "CE", "SCE", or "" where its parameters do not tell."""
    weight = run.experiment.get("parameters", {}).get("rce_weight")
    return "" if weight is None else "CE" if weight == 0 else "SCE"


def _policy_apart(run: Run, others: Sequence[Run]) -> list[str]:
    """Return what was chosen of a run's policy and not of all others'; one without a policy keeps its plain name.

    A privacy budget is told by its epsilon, and by its other values only where budgets differ in them.
    """
    budgets = _differing([other.policy for other in others if EPSILON in other.policy])
    apart = [
        name
        for name in _differing([other.policy for other in others])
        if name == EPSILON or name in budgets or not name.startswith(PRIVACY)
    ]
    return [_phrase(name, run.policy[name]) for name in apart if name in run.policy]


def _phrase(name: str, value: Any) -> str:
    said = f"{value:g}" if isinstance(value, int | float) else str(value)
    return PHRASES[name].format(said) if name in PHRASES else f"{name.rpartition('.')[2]} {said}"


def _bundles_apart(run: Run, others: Sequence[Run]) -> list[str]:
    """Return which bundles a run had, where those of others say or do something else under the same names.

    What was changed of a bundle by a setting is named as that.
    """
    alike = [other for other in others if _named_alike(other) == _named_alike(run)]
    if len({other.bundles for other in alike}) < 2:
        return []
    return [f"bundles {run.bundles[:6]}" if run.bundles else "bundles not recorded"]


def _named_alike(run: Run) -> str:
    return _text([_architectures(run), run.experiment.get("bundle_changes") or {}])


def _architectures(run: Run) -> dict[str, str]:
    return {site: run.architecture(site) for site in run.sites}


def _differing(chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names, in order, whose values are not the same in all of these."""
    names = sorted({name for values in chosen for name in values})
    return [name for name in names if len({_text(values.get(name)) for values in chosen}) > 1]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
