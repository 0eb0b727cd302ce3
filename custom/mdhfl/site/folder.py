"""A site's folder for one experiment, locked while it is in use.

`state.pt` is where the site stands, `round.pt` the round that it began last: from the generation before and this, a
damaged state is made again. `best.pt`, `last.pt` and `alone.pt` are written twice, so that each has a copy. `former.pt`
is the best model before the one in `best.pt`: it takes its place again where the round of that one is undone.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdhfl.sharing.messages import Request
from mdhfl.site.state import Begun, Progress
from mdhfl.site.terms import OWN
from mdhfl.store.lock import FolderLock
from mdhfl.store.sealed import Damaged, clean, exists, go_back, mend, previous, read_generation
from mdhfl.store.tensors import load_tensors, save_tensors, tensors_of

STATE = "state.pt"


class SiteFolder:
    """What a site keeps of an experiment.

    Attributes:
        path: of the folder.
        fault: what is wrong with the state where neither generation can be used; empty otherwise.
    """

    def __init__(self, path: Path, *, site: str | None) -> None:
        """Lock the folder and clean it of interrupted writes.

        Args:
            path: the folder.
            site: whose state it must be; None: anybody's.

        Raises:
            InUse: another process works in it.
        """
        self.path, self.site, self.fault = path, site, ""
        self._state, self._round = path / STATE, path / "round.pt"
        self._best, self._former = path / "best.pt", path / "former.pt"
        self._lock = FolderLock(path, name="site.lock", way_out="wait until it has ended, or end that process")
        clean(path)

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.release()

    def progress(self) -> Progress | None:
        """Return where the site stands: the generation before, where the current one is damaged; None for neither."""
        if not exists(self._state):
            return None
        try:
            return mend(self._state, self._progress_of)
        except Damaged as fault:
            self.fault = str(fault)
            return None

    def before(self) -> Progress | None:
        """Return where the site stood a round before, if that is known."""
        with suppress(Damaged):
            return read_generation(previous(self._state), self._progress_of)
        return None

    def go_back(self) -> None:
        """Let the generation before be where the site stands."""
        go_back(self._state)

    def keep(self, progress: Progress) -> None:
        """Write where the site stands. Raises StateError if the disk does not take it; what was there is kept."""
        save_tensors(self._state, progress.to_disk())

    def begin(self, begun: Begun) -> None:
        """Write which round begins. Raises StateError."""
        save_tensors(self._round, begun.to_disk())

    def begun(self, *, after: int, number: int) -> Request | None:
        """Return the request for a round, if the site began it after another round and still knows."""
        for path in (self._round, previous(self._round)):
            with suppress(Damaged):
                found = read_generation(path, lambda p, payload: Begun.from_disk(p, tensors_of(p, payload)))
                if (found.after, found.request.round) == (after, number):
                    return found.request
        return None

    def keep_model(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a model that is exported, and its copy. Raises StateError."""
        for _ in range(2):
            save_tensors(self.path / f"{name}.pt", values)

    def keep_best(self, values: Mapping[str, Any]) -> None:
        """Write the best model before the state of its round, and keep the one that it replaces. Raises StateError."""
        with suppress(Damaged):
            save_tensors(self._former, load_tensors(self._best))
        self.keep_model("best", values)

    def undo_best(self, *, after: int) -> None:
        """Let the best model be the one of the rounds that count, where it is of a later round.

        That is one whose state was not written any more, or that the site has gone back from.

        Args:
            after: the last round that counts.

        Raises:
            StateError: the disk does not take it.
        """
        if (best := _model_in(self._best)) is None or best["round"] <= after:
            return
        former = _model_in(self._former)
        if former is not None and former["round"] <= after:
            self.keep_model("best", former)
            return
        for path in (self._best, previous(self._best)):
            path.unlink(missing_ok=True)

    def _progress_of(self, path: Path, payload: bytes) -> Progress:
        return Progress.from_disk(path, tensors_of(path, payload), site=self.site)


def has_state(path: Path) -> bool:
    """Return whether a site's folder of an experiment holds a state, sound or not."""
    return exists(path / STATE)


def lift_stop(path: Path) -> str:
    """Let a site that stopped by its own divergence go on from its last good state; return why it had stopped.

    Its optimisers begin anew and its bundle and data may have changed, since that is where the cause is mended.

    Args:
        path: the site's folder of one experiment.

    Raises:
        ValueError: there is no state that can be read, or the site has not stopped.
        StateError: the state cannot be written.
        InUse: a job works in the folder.
    """
    if not has_state(path):
        raise ValueError(f"{path}: expected a site's state of one experiment (state.pt), found none")
    folder = SiteFolder(path, site=None)
    try:
        progress = folder.progress()
        if progress is None:
            raise ValueError(folder.fault)
        if not progress.stopped:
            raise ValueError(f"{path}: the site has not stopped; it stands after round {progress.answer.round}")
        models = {name: {**state, "optimizer": None} for name, state in progress.models.items()}
        terms = {name: value for name, value in progress.terms.items() if name not in OWN}
        folder.keep(replace(progress, stopped="", models=models, terms=terms))
    finally:
        folder.close()
    return progress.stopped


def _model_in(path: Path) -> dict[str, Any] | None:
    """Return a model that was kept, with its round; None where there is none that can be read."""
    with suppress(Damaged):
        found = load_tensors(path)
        return found if isinstance(found.get("round"), int) else None
    return None
