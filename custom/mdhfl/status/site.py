"""How an experiment stands at one site: from the small file that the site writes beside its state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhfl.metrics import SCORES
from mdhfl.showing.texts import shown
from mdhfl.site.watched import WATCHED, read_watched
from mdhfl.status.quantities import disk_of, in_phases, last_change
from mdhfl.status.record import Refused, SiteState, Status
from mdhfl.store.lock import holder_of

DOING = {
    "open": "gets ready",
    "warm_up": "trains in the warm-up, round {round}",
    "learn": "learns and trains in round {round}",
    "adopt": "takes over the merged model in round {round}",
    "commit": "takes part in the draw of a leader or in a blind sum after round {round}",
    "reveal": "takes part in the draw of a leader or in a blind sum after round {round}",
    "merge": "leads the merge after round {round}",
    "finish": "finishes after round {round}",
}


def read_site(folder: Path) -> Status:
    """Read the status of a site's folder of an experiment.

    Raises:
        ValueError: it says nothing of how the site stands.
    """
    said = shown(read_watched(folder), roots=(folder,))
    if not said:
        raise ValueError(f"{folder}: expected {WATCHED}, which a site writes as it works, found none that can be read")
    process = holder_of(folder, name="site.lock")
    running, finished = process is not None and not said.get("finished"), bool(said.get("finished"))
    changed = last_change(folder / name for name in (WATCHED, "state.pt", "site.lock", "left.jsonl"))
    last: Mapping[str, Any] = said.get("last") or {}
    refused = said.get("refused")
    site = _site(said, last, refused, running=running)
    return Status(
        experiment=str(said.get("experiment") or shown(folder.name)),
        role="site",
        state="finished" if finished else "running" if running else "stopped",
        headline=_headline(said, last, running=running, finished=finished),
        done=last.get("round"),
        facts={
            "method": str(said.get("method", "")),
            "process": "nobody works on it" if process is None else f"{process} works on it",
            **_start_facts(said.get("start")),
            "seconds of the last round": in_phases(site.seconds),
            "disk": disk_of(folder),
        },
        sites=(site,),
        refusals=(Refused(site=site.name, round=refused["round"], reason=refused["reason"]),) if refused else (),
        notes=(f"round {said['suspicion']['round']}: {said['suspicion']['text']}",) if said.get("suspicion") else (),
        changed=changed,
    )


def _site(
    said: Mapping[str, Any], last: Mapping[str, Any], refused: Mapping[str, Any] | None, *, running: bool
) -> SiteState:
    part = next((part for part in ("test", "validation") if last.get(part)), "")
    state = "refused" if refused else "answered" if last else "not heard yet"
    state = "at work" if running and said.get("doing") else state
    return SiteState(
        name=str(said.get("site", "")),
        state=state,
        refused_in=refused["round"] if refused and state == "refused" else None,
        round=last.get("round"),
        part=part,
        scores={name: last[part][name] for name in SCORES} if part else {},
        seconds=last.get("seconds") or {},
    )


def _headline(said: Mapping[str, Any], last: Mapping[str, Any], *, running: bool, finished: bool) -> str:
    doing = said.get("doing")
    stands = f"The last finished round is {last['round']}" if last else "No round is finished yet"
    if finished:
        return f"Finished. {stands}."
    if running and doing:
        what = DOING.get(doing["action"], "works in round {round}").format(round=doing["round"])
        here, whole = doing.get("public_set") or (0, 0)
        fetched = f" {here:,} of {whole:,} bytes of the public set are here." if here < whole else ""
        return f"The site {what}, begun at {doing['since']}.{fetched} {stands}."
    if running:
        return f"The site waits for the server. {stands}."
    return f"Nobody works on it. {stands}; the next request of the server continues it."


def _start_facts(start: Mapping[str, Any] | None) -> dict[str, str]:
    if not start:
        return {}
    return {
        "bundle": f"{start['bundle']} ({start['architecture']}), {start['parameters']:,} parameters",
        "device": f"{start['device']}, threads: {start['threads']}",
        "images": ", ".join(f"{count} {part}" for part, count in start["images"].items()),
        "classes": ", ".join(start["classes"]),
        **({"defences at its start": "; ".join(start["defences"])} if start.get("defences") else {}),
    }
