"""One hospital: answers the server and its peers, and keeps its state. The same for FLARE and the in-process run."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from mdhfl.hosting.fetching import Stopped
from mdhfl.learning.model import ShouldStop, never
from mdhfl.methods import Method
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.site import history
from mdhfl.site.allowed import method_of
from mdhfl.site.folder import SiteFolder
from mdhfl.site.guest import own_random_numbers, use_threads
from mdhfl.site.keeping import keep_last, keep_round
from mdhfl.site.log import PeerLog, among_peers, note_in_log, refusal_of
from mdhfl.site.public import get_public_set
from mdhfl.site.requests import BETWEEN, check_request
from mdhfl.site.round import SiteRound
from mdhfl.site.settings import SiteSettings
from mdhfl.site.standing import Work, check_has_peers, check_has_state, no_model, restored
from mdhfl.site.state import Begun, Progress
from mdhfl.site.watched import Watched, start_line, start_of
from mdhfl.site.work import Opened, Surroundings, open_site, state_folder
from mdhfl.swarm.member import Swarm
from mdhfl.swarm.peers import NoPeers

PEER_PATIENCE = 60.0  # seconds that a peer's message waits for this site to finish what it is doing


class Site:
    """Answers requests: learns, scores itself, shares, saves its state, and restores it when it must."""

    def __init__(self, settings: SiteSettings, *, surroundings: Surroundings | None = None) -> None:
        self.settings = settings
        self.surroundings = surroundings or Surroundings(peers=NoPeers())
        self._work: Work | None = None
        self._watched: Watched | None = None
        self._busy = threading.Lock()
        self._peer_log = PeerLog(settings.state, site=settings.site)

    def answer(self, request: Request, *, should_stop: ShouldStop = never) -> Answer:
        """Do what the server asks.

        A request for the round that the site has finished last is answered from its state, without training again,
        unless the lesson is another one. A round that the server has of this site and its disk has lost is done again
        first. A failure leaves the last good state on disk and in use, and is told in the answer's `refusal`.

        Raises:
            Aborted: `should_stop` said so.
        """
        use_threads(self.settings.threads)
        with self._busy, own_random_numbers():  # until a failure is dealt with: a peer must not find the spoilt model
            answer = self._answer(request, should_stop)
            if self._watched is not None:
                self._watched.ended(request, answer)
        return answer

    def start_line(self) -> str:
        """Return what the site began with, in one line; empty before it has opened anything."""
        return "" if self._work is None else start_line(self.settings.site, start_of(self._work.opened))

    def _answer(self, request: Request, should_stop: ShouldStop) -> Answer:
        from mdhfl.learning.training import Aborted, TrainingDiverged

        try:
            work = self._open(request, should_stop)
            if self._watched is not None:
                self._watched.begins(request)
            if request.action == "open":
                return Answer(site=self.settings.site, round=request.round)
            if request.action in BETWEEN:
                return self._between(work, request)
            lost = work.lost_round(request)
            if lost is not None:
                self._learn(work, lost, should_stop)
            if request.action == "finish":
                keep_last(work, own_mix=self._round(work, request).own_mix)
                return self._noted(Answer(site=self.settings.site, round=request.round), request)
            answer = work.known_answer(request) or self._learn(work, request, should_stop)
            if answer.refusal:
                self.close()
                return self._noted(answer, request)
            return replace(answer, shared=work.method.let_out(answer.shared, self._round(work, request)))
        except TrainingDiverged as error:
            return self._stop(request, error)
        except (Aborted, Stopped) as stopped:
            self.close()
            raise Aborted(str(stopped)) from stopped
        except Exception as error:
            if request.action not in BETWEEN:  # which change no model
                self.close()  # the next request starts from the last good state on disk
            return self._refused(request, error)

    def _between(self, work: Work, request: Request) -> Answer:
        """Take part in what sites do among themselves between two rounds: draw a leader, or lead the merge."""
        leads = request.action == "merge"
        with among_peers("peers" if leads else "draw"):
            now, shared = self._between_rounds(work, request), None
            if leads:
                work.method.lead(now)
            else:
                shared = work.method.draw(now)
        return Answer(site=self.settings.site, round=request.round, shared=shared)

    def receive(self, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """Answer another site of the same swarm, about the experiment that this site works on.

        Returns:
            The reply; one with "refusal" if there is none to give.
        """
        number = -1
        try:
            request = Request.from_wire(message["request"])
            number = request.round
            with self._free(), own_random_numbers():
                work = self._open_for_peer(request)
                with among_peers("peers"):
                    return work.method.receive(sender, message, self._between_rounds(work, request))
        except Exception as error:  # whatever another machine sent
            return {"refusal": self._peer_log.refusal_of(error, peer=sender, round=number)}

    @contextmanager
    def _free(self) -> Iterator[None]:
        """Wait until the site is not training."""
        if not self._busy.acquire(timeout=PEER_PATIENCE):
            raise Refusal("busy", f"site {self.settings.site!r} is busy training")
        try:
            yield
        finally:
            self._busy.release()

    def close(self) -> None:
        """Forget what is in memory, and let others use the site's folder of the experiment."""
        if self._work is not None:
            self._work.folder.close()
        self._work = None

    def _refused(self, request: Request, error: Exception) -> Answer:
        """Write into the site's log why it refuses the server, and return what the others may know of it."""
        number, site = request.round, self.settings.site
        reason = refusal_of(error, site=site, round=number, state=self.settings.state)
        return self._noted(Answer(site=site, round=number, refusal=reason), request)

    def _noted(self, answer: Answer, request: Request) -> Answer:
        """Keep an answer for the site's own report, and return it."""
        with suppress(Refusal):  # of an experiment that is no folder's name
            folder = state_folder(self.settings, request)
            digest = str(self._work.terms["bundle"]) if self._work is not None and not answer.refusal else ""
            history.keep(folder, answer, request=request, settings=self.settings, bundle_digest=digest)
        return answer

    def _learn(self, work: Work, request: Request, should_stop: ShouldStop) -> Answer:
        if work.method.repeats_rounds:
            work.folder.begin(Begun(request=request, after=work.round))
        answer = self._run(work, request, should_stop)
        if work.swarm is not None and answer.about is not None:
            about = replace(answer.about, merged_by=work.swarm.merged_by)
            answer = replace(answer, cost=work.swarm.spent(answer.cost), about=about)
        work.progress = keep_round(work, answer, lesson=request.lesson, own_mix=self._round(work, request).own_mix)
        if work.swarm is not None:
            work.swarm.commit()
        return self._noted(answer, request)

    def _run(self, work: Work, request: Request, should_stop: ShouldStop) -> Answer:
        """Do the round, and find out who is to blame if it diverges.

        Raises:
            ValueError: what was taught cannot be learned; without it the site's training would have gone well.
            TrainingDiverged: the site's own training diverges.
        """
        from mdhfl.learning.training import TrainingDiverged

        try:
            return self._sound(self._round(work, request, should_stop=should_stop).run())
        except TrainingDiverged as error:
            if request.lesson is None:
                raise
            if request.action == "learn":
                self._train_alone(work, replace(request, lesson=None), should_stop)
            raise Refusal(
                "taught",
                f"site {self.settings.site!r}: round {request.round} diverged by what it was taught ({error}), not by "
                "its own training; it goes on from its last good state",
                round=request.round,
            ) from error

    def _train_alone(self, work: Work, request: Request, should_stop: ShouldStop) -> None:
        """Do a round from the last good state, to no other end than to see whether it goes well."""
        work.opened = open_site(self.settings, request, work.method, surroundings=self.surroundings)
        work.stand_at(work.folder.progress())  # in memory the models have gone on
        self._sound(self._round(work, request, should_stop=should_stop).run())

    def _sound(self, answer: Answer) -> Answer:
        """Return an answer that a server can use; a model that can give no other must not be kept."""
        from mdhfl.learning.training import TrainingDiverged

        try:
            return Answer.from_wire(answer.to_wire())
        except MessageError as reason:
            raise TrainingDiverged(str(reason)) from reason

    def _round(
        self, work: Work, request: Request, *, should_stop: ShouldStop = never, progress: Progress | None = None
    ) -> SiteRound:
        return SiteRound(
            opened=work.opened,
            request=request,
            method=work.method,
            progress=work.progress if progress is None else progress,
            open_swarm=lambda encrypted: self._swarm_of(work, encrypted=encrypted),
            should_stop=should_stop,
            on_teacher=lambda agreement: self._taught(request, agreement),
        )

    def _taught(self, request: Request, agreement: float) -> None:
        """Keep how far the teacher agrees with the site, and say in its log where that has fallen."""
        if self._watched is not None and (fallen := self._watched.taught(request.round, agreement)):
            note_in_log(self.settings.state, round=request.round, text=fallen)

    def _between_rounds(self, work: Work, request: Request) -> SiteRound:
        if work.progress is None:
            raise no_model(self.settings.site)
        return self._round(work, request, progress=work.stood_after(request.round))

    def _swarm_of(self, work: Work, *, encrypted: bool) -> Swarm:
        if work.swarm is None:
            work.swarm = Swarm(
                site=self.settings.site,
                experiment=work.experiment,
                folder=work.opened.folder,
                peers=self.surroundings.peers,
                encrypted=encrypted,
            )
        return work.swarm

    def _stop(self, request: Request, error: Exception) -> Answer:
        """Keep the last good state, mark it as final, and say so now and in every later round."""
        folder, answer = self._open(request).folder, self._refused(request, error)
        progress = folder.progress()
        if progress is not None:
            with suppress(OSError):  # a full disk: the site would find out again what is wrong with it
                folder.keep(replace(progress, stopped=answer.refusal))
        self.close()
        return answer

    def _open(self, request: Request, should_stop: ShouldStop = never) -> Work:
        """Return what is in memory for this experiment, or build it and restore the site's progress into it."""
        work, method = self._work, method_of(request, settings=self.settings)
        check_request(request, method)
        if work is None or not work.is_for(request):
            self.close()
            work = self._restore(request, method, prepare=lambda watched: self._prepare(request, watched, should_stop))
        self._work = work
        return work

    def _open_for_peer(self, request: Request) -> Work:
        """Return what is in memory, or restore what is on disk: a peer begins no experiment and ends none."""
        method = method_of(request, settings=self.settings)
        check_has_peers(method, site=self.settings.site)
        check_request(request, method)
        if self._work is None:
            check_has_state(state_folder(self.settings, request), site=self.settings.site)
            self._work = self._restore(request, method, prepare=lambda watched: None)
        self._work.check_peer_request(request)
        return self._work

    def _prepare(self, request: Request, watched: Watched, should_stop: ShouldStop) -> None:
        """Say that a request of the server is worked on, and fetch what it needs of the server's public set."""
        watched.begins(request)
        host, tell = self.surroundings.host, watched.fetching
        get_public_set(self.settings, request, host=host, should_stop=should_stop, tell=tell)

    def _restore(self, request: Request, method: Method, *, prepare: Callable[[Watched], None]) -> Work:
        """Lock the experiment's folder, and build and restore what a request needs; see `standing.restored`.

        Raises:
            ValueError: the experiment was begun with something else; or as `open_site`.
            InUse: another process works on it.
        """
        self._watched, settings = None, self.settings
        folder = SiteFolder(state_folder(settings, request), site=settings.site)
        watched = self._watched = Watched(folder.path, site=settings.site)  # not before the folder is ours

        def opened() -> Opened:
            prepare(watched)
            return open_site(settings, request, method, surroundings=self.surroundings)

        try:
            work = restored(folder, request, method, settings=settings, opened=opened)
        except BaseException:
            folder.close()
            raise
        watched.opened(work.opened)
        return work
