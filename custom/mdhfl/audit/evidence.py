"""What a folder still knows of what sites sent, and where the private images of the audit lie.

The server keeps what was shared in the last two rounds, a site what it sent in its last two; a run that is to be
audited as a receiver of all rounds sees it is recorded with `Recorder`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mdhfl.audit.places import settings_at_server, settings_at_site
from mdhfl.methods import Method, create
from mdhfl.reports.site_run import is_site_folder, rows_of_part
from mdhfl.runs.folder import read_run, results_in, site_folder_path
from mdhfl.server.journal import read_rows
from mdhfl.server.shared_file import load_shared, save_shared, shared_path
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.weights import Weights
from mdhfl.site.history import read_part
from mdhfl.site.left import ANSWERS, SERVER, array_digest, left_in
from mdhfl.site.settings import SiteSettings
from mdhfl.site.state import Begun, Progress, answering
from mdhfl.store.sealed import Damaged, previous, read_generation, read_sealed
from mdhfl.store.tensors import tensors_of

ALL_ROUNDS = "sent"  # in a run's folder: what was shared in every round, if it was recorded


@dataclass(frozen=True, kw_only=True)
class SiteEvidence:
    """What is known of one site.

    Attributes:
        settings: its bundle, data and public set; a stand-in's where only the server's folder is at hand.
        shared: what it sent, by round.
        model: state_dict of the network that it holds, None if it is not at hand.
        rows: of its rounds, as the server was told.
        left: lines of its left.jsonl, none where that is not at hand.
    """

    settings: SiteSettings
    shared: Mapping[int, Shared]
    model: Mapping[str, Any] | None
    rows: Sequence[Mapping[str, Any]]
    left: Sequence[Mapping[str, Any]]

    @property
    def knowledge(self) -> list[Knowledge]:
        """What it said about the public images, by round."""
        return [shared for _, shared in sorted(self.shared.items()) if isinstance(shared, Knowledge)]

    @property
    def weights(self) -> Weights | None:
        """The last weights that it sent, None if it sent none."""
        found = [shared for _, shared in sorted(self.shared.items()) if isinstance(shared, Weights)]
        return found[-1] if found else None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a folder tells.

    Attributes:
        folder: where the audit is written.
        method: of the run.
        request: as the server asked in the last round.
        rounds: recorded, with the warm-up.
        lesson: what sites learned from last, None if nothing or not at hand.
        sites: by name.
        own: whether it is a site's own folder.
        notes: what an audit's reader must know.
    """

    folder: Path
    method: Method
    request: Request
    rounds: int
    lesson: Lesson | None
    sites: Mapping[str, SiteEvidence]
    own: bool = False
    notes: tuple[str, ...] = field(default=())


class Recorder:
    """Keeps what leaves in every round, for `runs.inprocess.run_in_process(on_answer=...)`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rounds: dict[int, dict[str, Shared]] = {}

    def __call__(self, request: Request, answer: Answer) -> None:
        """Note one answer."""
        if answer.shared is not None and request.action in ("warm_up", "learn"):
            found = self._rounds.setdefault(request.round, {})
            found[answer.site] = answer.shared
            save_shared(_sent_path(self.folder, request.round), found)


def read_evidence(
    folder: Path, *, federation: Path | None = None, public: Path | None = None, sites: Sequence[str] = ()
) -> Evidence:
    """Read what an audit needs.

    Args:
        folder: of a run, a server's of an experiment, the download of a job, or a site's own of an experiment.
        federation: the federation's folder, where the first does not say where the private images lie.
        public: the public set's folder, for a site's own folder.
        sites: that are to be audited; all if empty.

    Raises:
        ValueError: the folder is none of these, the images are nowhere, or there is no such site.
        Damaged: a record is damaged.
    """
    if is_site_folder(folder):
        own_evidence = _of_site(folder, public=public or (federation / "public" if federation else None))
        _check_named(sites, known=list(own_evidence.sites), folder=folder)
        return own_evidence
    home = results_in(folder)
    experiment, record = read_run(home)
    rows = [row for row in read_rows(home / "results.jsonl") if row["status"] == "ok"]
    _check_named(sites, known=experiment.sites, folder=folder)
    numbers = sorted({int(row["round"]) for row in rows})
    if not numbers:
        raise ValueError(f"{folder}: no round is recorded yet, so nothing was sent that could be audited")
    shared = {number: found for number in numbers if (found := _shared(home, number))}
    lesson = _lesson(experiment.method, shared)
    known: dict[str, SiteEvidence] = {}
    for name in experiment.sites:
        own = [row for row in rows if row["site"] == name]
        settings = settings_at_server(home, name, rows=own, record=record, federation=federation)
        state = site_folder_path(home, experiment=experiment.id, site=name)
        known[name] = SiteEvidence(
            settings=settings,
            shared={number: found[name] for number, found in shared.items() if name in found},
            model=_model_in(state, site=name),
            rows=own,
            left=left_in(state),
        )
    last = min(numbers[-1], experiment.rounds)  # after which weights are only adopted
    return Evidence(
        folder=home,
        method=experiment.method,
        request=experiment.request("learn", number=last),
        rounds=last + 1,
        lesson=lesson,
        sites=known,
        notes=_notes(sorted(shared), rounds=last + 1),
    )


def _of_site(folder: Path, *, public: Path | None) -> Evidence:
    """Read a site's own folder of an experiment: it audits itself, with its own members."""
    part = read_part(folder)
    settings = settings_at_site(folder, part, public=public)
    settings = replace(settings, bundle_changes=part.bundle_changes)
    shared: dict[int, Shared] = {}
    for path in (previous(folder / "state.pt"), folder / "state.pt"):
        progress = _progress(path, site=part.site)
        if progress is not None and progress.answer.shared is not None:
            shared[progress.answer.round] = progress.answer.shared
    begun = _begun(folder)
    if begun is None:
        raise ValueError(f"{folder}: expected the request of the last round (round.pt), found none that can be read")
    rounds = part.last_round + 1
    evidence = SiteEvidence(
        settings=settings,
        shared=shared,
        model=_model_in(folder, site=part.site),
        rows=[row for row in rows_of_part(part) if row["status"] == "ok"],
        left=left_in(folder),
    )
    return Evidence(
        folder=folder,
        method=create(part.method, part.parameters),
        request=replace(begun.request, lesson=None),
        rounds=rounds,
        lesson=begun.request.lesson if evidence.knowledge else None,
        sites={part.site: evidence},
        own=True,
        notes=(*_notes(sorted(shared), rounds=rounds), *_changed_on_the_way(evidence)),
    )


def _changed_on_the_way(site: SiteEvidence) -> list[str]:
    """Say of which rounds the state keeps other answers than left: a filter may have changed them."""
    digests = {
        int(line["round"]): field["sha256"]
        for line in site.left
        for field in line["fields"]
        if line["to"] == SERVER and field["path"] == ANSWERS and "sha256" in field
    }
    changed = [
        shared.round
        for shared in site.knowledge
        if digests.get(shared.round, own := array_digest(shared.values)) != own
    ]
    if not changed:
        return []
    named = ", ".join(map(str, changed))
    return [f"the site's state keeps other answers of round {named} than left; audited is what the state keeps"]


def _check_named(sites: Sequence[str], *, known: Sequence[str], folder: Path) -> None:
    if unknown := [site for site in sites if site not in known]:
        raise ValueError(f"--site: no {unknown[0]!r} in {folder}; its sites are {', '.join(known)}")


def _notes(kept: Sequence[int], *, rounds: int) -> tuple[str, ...]:
    if not kept or len(kept) >= rounds:
        return ()
    named = ", ".join(map(str, kept))
    return (f"of {rounds} rounds what was sent is kept of {len(kept)} (round {named}); a receiver may keep all",)


def _shared(home: Path, number: int) -> dict[str, Shared]:
    """Return what was shared in a round, nothing where it is not kept."""
    for path in (_sent_path(home, number), shared_path(home, number)):
        if path.exists() or previous(path).exists():
            return load_shared(path, number=number)
    return {}


def _sent_path(folder: Path, number: int) -> Path:
    return folder / ALL_ROUNDS / f"round-{number:04d}.npz"


def _lesson(method: Method, shared: Mapping[int, Mapping[str, Shared]]) -> Lesson | None:
    """Return what a newcomer would be taught from what was shared last: the teacher of all sites."""
    combine = getattr(method, "combine", None)
    known = [
        found for _, found in sorted(shared.items()) if any(isinstance(each, Knowledge) for each in found.values())
    ]
    if combine is None or not known:
        return None
    lesson: Lesson | None = combine(known[-1], sites=("",)).get("")
    return lesson


def _progress(path: Path, *, site: str) -> Progress | None:
    """Return one generation of a site's progress, None where it is missing or damaged."""
    try:
        return read_generation(path, lambda p, payload: Progress.from_disk(p, tensors_of(p, payload), site=site))
    except Damaged:
        return None


def _model_in(folder: Path, *, site: str) -> Mapping[str, Any] | None:
    progress = _progress(folder / "state.pt", site=site) or _progress(previous(folder / "state.pt"), site=site)
    return None if progress is None else answering(progress.models["model"])


def _begun(folder: Path) -> Begun | None:
    try:
        return read_sealed(folder / "round.pt", _begun_of)
    except Damaged:
        return None


def _begun_of(path: Path, payload: bytes) -> Begun:
    return Begun.from_disk(path, tensors_of(path, payload))
