"""Where a site stands in an experiment, and what it does with a request that it has had before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.methods import Method
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.site.folder import SiteFolder, has_state
from mdhfl.site.settings import SiteSettings
from mdhfl.site.state import Progress, lesson_digest
from mdhfl.site.terms import asked_terms, check_terms, own_terms
from mdhfl.site.work import Opened
from mdhfl.swarm.member import Swarm


@dataclass(kw_only=True)
class Work:
    """What a site has in memory for one experiment.

    Attributes:
        experiment: its id.
        method: the requests'.
        terms: what the experiment was begun with, see `terms.py`.
        folder: what lies on the site's disk.
        opened: images and networks.
        progress: where the site stands, on its disk as in memory; None if it has not begun.
        swarm: its part in the experiment's swarm; comes with use.
    """

    experiment: str
    method: Method
    terms: Mapping[str, Any]
    folder: SiteFolder
    opened: Opened
    progress: Progress | None
    swarm: Swarm | None = None

    @property
    def site(self) -> str:
        """The site's name."""
        return self.opened.settings.site

    @property
    def round(self) -> int:
        """The round that the site has finished last; -1 for none."""
        return self.progress.answer.round if self.progress else -1

    def is_for(self, request: Request) -> bool:
        """Return whether this is what a request needs: the same experiment, and nothing in it changed."""
        return self.experiment == request.experiment and self.terms == {**self.terms, **asked_terms(request)}

    def check_peer_request(self, request: Request) -> None:
        """Refuse a peer's message that is not about this work: only the server begins another. Raises Refusal."""
        if self.experiment != request.experiment:
            raise Refusal(
                "peers",
                f"site {self.site!r} works on experiment {self.experiment!r}, and a peer asked about "
                f"{request.experiment!r}; it answers about that one when its server has asked for it",
            )
        asked = {**self.terms, **asked_terms(request)}
        check_terms(self.terms, asked, site=self.site, experiment=self.experiment)

    def stood_after(self, number: int) -> Progress | None:
        """Return where the site stood after a round that it may have passed by one, as a server that resumes asks."""
        if self.method.repeats_rounds and self.round == number + 1:
            return self.folder.before() or self.progress
        return self.progress

    def stand_at(self, progress: Progress | None) -> None:
        """Let the models be where they were after a round."""
        if progress is not None:
            for name, model in self.opened.models().items():
                model.restore(progress.models[name])
        self.progress = progress

    def lost_round(self, request: Request) -> Request | None:
        """Return the request for a round that the server has of this site and its disk has lost, to do it again.

        Raises:
            Refusal: more than one round is lost, or what was asked in it.
        """
        expected = request.round if request.action == "finish" else request.round - 1
        if self.site not in request.answered or self.round >= expected:
            return None
        again = self.folder.begun(after=self.round, number=expected) if self.method.repeats_rounds else None
        if again is None:
            have = f"its state ends with round {self.round}" if self.progress else "it has kept nothing"
            raise Refusal(
                "lost_state",
                f"site {self.site!r}: the server has its answer of round {expected}, but {have}"
                f"{f' ({self.folder.fault})' if self.folder.fault else ''}. Restore {self.folder.path} from a backup, "
                "or resume with a smaller --min-sites: the round goes on without it, and it begins anew in the next",
                round=expected,
            )
        return again

    def known_answer(self, request: Request) -> Answer | None:
        """Return the answer to a request that the site has had before; None if there is something to do for it.

        Where the lesson of a finished round has become another one, the site goes back to where it stood before.

        Raises:
            Refusal: the round is over, and the site cannot go back.
        """
        progress = self.progress
        if progress is None:
            return None
        if progress.stopped:
            return Answer(site=self.site, round=request.round, refusal=progress.stopped)
        if self.round < request.round:
            return None
        if not self.method.repeats_rounds and self.round == request.round:
            return progress.answer
        before = self.folder.before() if self.method.repeats_rounds else None
        for known in (progress, before):
            if known is not None and _answers(known, request):
                return known.answer
        if before is None or before.answer.round >= request.round:
            raise Refusal(
                "already_finished",
                f"site {self.site!r} has already finished round {self.round} of experiment {request.experiment!r}, "
                f"but was asked for round {request.round}; give the new experiment another id, or delete "
                f"{self.folder.path}",
                finished=self.round,
                round=request.round,
            )
        self.folder.go_back()
        self.folder.undo_best(after=before.answer.round)
        self.stand_at(before)
        return None


def restored(
    folder: SiteFolder, request: Request, method: Method, *, settings: SiteSettings, opened: Callable[[], Opened]
) -> Work:
    """Build what a request needs, and restore the site's progress into it.

    Args:
        folder: of the experiment.
        request: what is asked.
        method: the request's.
        settings: the site's.
        opened: gives images and networks; not called for another experiment than the folder's.

    Raises:
        ValueError: the experiment was begun with something else; or as `opened`.
    """
    terms = {**asked_terms(request), **own_terms(settings)}
    progress = folder.progress()
    if progress is not None:
        if not progress.stopped:  # whoever mends the cause changes the terms
            check_terms(progress.terms, terms, site=settings.site, experiment=request.experiment)
        folder.undo_best(after=progress.answer.round)
    work = Work(
        experiment=request.experiment, method=method, terms=terms, folder=folder, opened=opened(), progress=None
    )
    work.stand_at(progress)
    return work


def check_has_peers(method: Method, *, site: str) -> None:
    """Refuse a site's message where sites do not speak to each other. Raises Refusal."""
    if type(method).receive is Method.receive:
        name = type(method).__name__
        raise Refusal("peers", f"site {site!r}: expected messages of the server alone, {name} does not use peers")


def check_has_state(folder: Path, *, site: str) -> None:
    """Refuse a site's message about an experiment of which nothing is kept. Raises Refusal."""
    if not has_state(folder):
        raise no_model(site)


def no_model(site: str) -> Refusal:
    """Return why a site that has not finished round 0 has no part in a merge."""
    return Refusal("no_model", f"site {site!r} has no model to share: it has not finished round 0")


def _answers(known: Progress, request: Request) -> bool:
    """Return whether a site stood there after this very request."""
    return (known.answer.round, known.lesson) == (request.round, lesson_digest(request.lesson))
