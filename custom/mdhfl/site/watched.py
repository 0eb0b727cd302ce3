"""`status.json` beside a site's state: what it does and how it stands, for whoever watches; nothing depends on it."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mdhfl.files import read_json
from mdhfl.metrics import SCORES, scores_from
from mdhfl.sharing.agreement import teacher_has_fallen
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.work import Opened
from mdhfl.timing import now

WATCHED = "status.json"  # in the site's folder of the experiment


def start_of(opened: Opened) -> dict[str, Any]:
    """Return what a site begins with: its network, where it computes, its images by part, its classes."""
    bundle, private = opened.model.bundle, opened.private
    parts = {name: len(getattr(private, name).labels) for name in ("training", "validation", "test")}
    return {
        "bundle": bundle.name,
        "architecture": bundle.architecture,
        "parameters": bundle.parameters,
        "device": opened.settings.device,
        "threads": opened.settings.threads,
        "images": {**parts, "public": len(opened.public)},
        "classes": list(private.classes),
        "missing_classes": list(private.missing_classes),
        "defences": [*opened.settings.policy, *([opened.plan.in_words()] if opened.plan else [])],
    }


def start_line(site: str, start: Mapping[str, Any]) -> str:
    """Return what `start_of` found, in one line for a log."""
    images = ", ".join(f"{count} {part}" for part, count in start["images"].items())
    lacking = f" (none of {', '.join(start['missing_classes'])} to train on)" if start["missing_classes"] else ""
    defences = f"; defences: {'; '.join(start['defences'])}" if start["defences"] else ""
    return (
        f"site {site} starts: bundle {start['bundle']} ({start['architecture']}), {start['parameters']:,} parameters, "
        f"on {start['device']} with {start['threads']} thread{'s' if start['threads'] > 1 else ''}; images: {images}; "
        f"{len(start['classes'])} classes: {', '.join(start['classes'])}{lacking}{defences}"
    )


class Watched:
    """Writes one experiment's `status.json`: whole or not at all, and never at the cost of a round."""

    def __init__(self, folder: Path, *, site: str) -> None:
        self._path = folder / WATCHED
        self._said: dict[str, Any] = {**read_watched(folder), "version": 1, "site": site, "doing": None}

    def begins(self, request: Request) -> None:
        """Say that a request is being worked on."""
        doing = {"action": request.action, "round": request.round, "since": now()}
        self._say(experiment=request.experiment, method=request.method, doing=doing, finished=False)

    def fetching(self, here: int, whole: int) -> None:
        """Say how much of the server's public set is here, in bytes."""
        self._say(doing={**(self._said["doing"] or {}), "public_set": [here, whole]})

    def opened(self, opened: Opened) -> None:
        """Say what the site begins with."""
        self._say(start=start_of(opened))

    def taught(self, number: int, agreement: float) -> str:
        """Keep how far a round's teacher agrees with the site; return what to say where that has fallen, else nothing.

        The site sees the others' answers together only: it can tell the round, not the site that is to blame.
        """
        kept = {each["round"]: each["agreement"] for each in self._said.get("teachers", []) if each["round"] < number}
        fallen = teacher_has_fallen(agreement, before=list(kept.values()))
        said = f"what was taught agrees {agreement:.2f} with this site's own answers, in the rounds before it was up to"
        note = f"{said} {max(kept.values()):.2f}: ask the operator whose answers stand out" if fallen else ""
        kept[number] = agreement
        teachers = [{"round": each, "agreement": value} for each, value in kept.items()]
        self._say(teachers=teachers, suspicion={"round": number, "text": note} if note else self._said.get("suspicion"))
        return note

    def ended(self, request: Request, answer: Answer) -> None:
        """Say how it ended: the scores of a round, or that there are none."""
        said: dict[str, Any] = {"doing": None}
        if answer.refusal:  # a finished experiment stays one, whatever is asked under its name
            said["refused"] = {"round": request.round, "time": now(), "reason": answer.refusal}
        else:
            said["finished"] = request.action == "finish"
        if not answer.refusal and answer.about is not None:
            said |= {"last": _scores_of(answer), "refused": None}
        self._say(**said)

    def _say(self, **said: Any) -> None:
        self._said |= said
        beside = self._path.with_name(f"{WATCHED}.{os.getpid()}.tmp")
        with suppress(OSError):  # a full disk is the state's to refuse
            beside.write_text(json.dumps(self._said, indent=1, allow_nan=False), encoding="utf-8")
            beside.replace(self._path)  # for readers; nobody waits until it has reached the disk


def read_watched(folder: Path) -> dict[str, Any]:
    """Return what a site's `status.json` says; nothing where there is none that can be read."""
    with suppress(OSError, ValueError):
        return read_json(folder / WATCHED)
    return {}


def _scores_of(answer: Answer) -> dict[str, Any]:
    """Return a round's numbers as the site itself may see them."""
    test = None if answer.confusion is None else scores_from(answer.confusion, ece=answer.test_ece)
    return {
        "round": answer.round,
        "time": now(),
        "losses": asdict(answer.losses),
        "validation": None if answer.validation is None else asdict(answer.validation),
        "test": None if test is None else {name: getattr(test, name) for name in SCORES},
        "seconds": dict(answer.cost.seconds),
        "best": answer.best,
    }
