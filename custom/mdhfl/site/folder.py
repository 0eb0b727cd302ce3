"""A site's folder for one experiment, locked while it is in use.

`state.pt` is where the site stands, `round.pt` the round that it began last: from the generation before and this, a
damaged state is made again. `best.pt`, `last.pt` and `alone.pt` are written twice, so that each has a copy.
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
from mdhfl.store.tensors import save_tensors, tensors_of


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
        self._state, self._round = path / "state.pt", path / "round.pt"
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

    def _progress_of(self, path: Path, payload: bytes) -> Progress:
        return Progress.from_disk(path, tensors_of(path, payload), site=self.site)


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
    if not exists(path / "state.pt"):
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
