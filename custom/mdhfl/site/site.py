"""One hospital: answers the server and its peers, and keeps its state. The same for FLARE and the in-process run."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from mdhfl import __version__
from mdhfl.learning.model import ShouldStop, never
from mdhfl.learning.tensors import save_tensors
from mdhfl.methods import Method, create, name_of, parameters_of
from mdhfl.sharing.accounts import Validation
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.round import SiteRound
from mdhfl.site.settings import SiteSettings
from mdhfl.site.state import Progress, answering, load_progress, save_progress
from mdhfl.site.work import Opened, Surroundings, open_site, state_path
from mdhfl.swarm.member import Swarm
from mdhfl.swarm.peers import NoPeers

PEER_PATIENCE = 60.0  # seconds that a peer's message waits for this site to finish what it is doing


@dataclass(kw_only=True)
class _Work:
    """What a site has in memory for one experiment; `progress` is what lies on its disk, and `swarm` comes with use."""

    experiment: str
    method: Method
    opened: Opened
    progress: Progress | None
    swarm: Swarm | None = None


class Site:
    """Answers requests: learns, scores itself, shares, saves its state, and restores it when it must."""

    def __init__(self, settings: SiteSettings, *, surroundings: Surroundings | None = None) -> None:
        self.settings = settings
        self.surroundings = surroundings or Surroundings(peers=NoPeers())
        self._work: _Work | None = None
        self._busy = threading.Lock()

    def answer(self, request: Request, *, should_stop: ShouldStop = never) -> Answer:
        """Do what the server asks.

        A request for the round that the site has finished last is answered from its state, without training again.
        A failure leaves the last good state on disk and in use, and is told in the answer's `refusal`.

        Raises:
            Aborted: `should_stop` said so.
        """
        from mdhfl.learning.training import Aborted, TrainingDiverged

        self._use_threads()
        try:
            with self._busy, _own_random_numbers():
                work = self._open(request)
                if request.action == "open":
                    return Answer(site=self.settings.site, round=request.round)
                if request.action == "finish":
                    return self._finish(work, request)
                if request.action == "merge":
                    work.method.lead(self._between_rounds(work, request))
                    return Answer(site=self.settings.site, round=request.round)
                return self._learn(work, request, should_stop)
        except TrainingDiverged as error:
            return self._stop(request, reason=str(error))
        except Aborted:
            self._work = None
            raise
        except (ValueError, OSError, RuntimeError) as error:
            if request.action != "merge":  # which changes nothing
                self._work = None  # the next request starts from the last good state on disk
            return Answer(site=self.settings.site, round=request.round, refusal=str(error))

    def receive(self, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """Answer another site of the same swarm.

        Returns:
            The reply; one with "refusal" if there is none to give.
        """
        if not self._busy.acquire(timeout=PEER_PATIENCE):
            return {"refusal": f"site {self.settings.site!r} is busy training"}
        try:
            with _own_random_numbers():
                request = Request.from_wire(message["request"])
                work = self._open(request)
                return work.method.receive(sender, message, self._between_rounds(work, request))
        except (ValueError, OSError, RuntimeError, KeyError, TypeError) as error:
            return {"refusal": str(error) or type(error).__name__}
        finally:
            self._busy.release()

    def _learn(self, work: _Work, request: Request, should_stop: ShouldStop) -> Answer:
        progress = work.progress
        if progress is not None:
            if progress.stopped:
                return Answer(site=self.settings.site, round=request.round, refusal=progress.stopped)
            if progress.answer.round == request.round:
                return progress.answer
            if progress.answer.round > request.round:
                raise ValueError(
                    f"site {self.settings.site!r} has already finished round {progress.answer.round} of experiment "
                    f"{request.experiment!r}, but was asked for round {request.round}; give the new experiment "
                    f"another id, or delete {work.opened.folder}"
                )
        answer = self._round(work, request, should_stop=should_stop).run()
        if work.swarm is not None and answer.about is not None:
            about = replace(answer.about, merged_by=work.swarm.merged_by)
            answer = replace(answer, cost=work.swarm.spent(answer.cost), about=about)
        work.progress = self._keep(work, request, answer)
        if work.swarm is not None:
            work.swarm.commit()
        return answer

    def _round(self, work: _Work, request: Request, *, should_stop: ShouldStop = never) -> SiteRound:
        return SiteRound(
            opened=work.opened,
            request=request,
            method=work.method,
            progress=work.progress,
            open_swarm=lambda encrypted: self._swarm_of(work, encrypted=encrypted),
            should_stop=should_stop,
        )

    def _between_rounds(self, work: _Work, request: Request) -> SiteRound:
        if work.progress is None:
            raise ValueError(f"site {self.settings.site!r} has no model to share: it has not finished round 0")
        return self._round(work, request)

    def _swarm_of(self, work: _Work, *, encrypted: bool) -> Swarm:
        if work.swarm is None:
            work.swarm = Swarm(
                site=self.settings.site,
                experiment=work.experiment,
                folder=work.opened.folder,
                peers=self.surroundings.peers,
                encrypted=encrypted,
            )
        return work.swarm

    def _keep(self, work: _Work, request: Request, answer: Answer) -> Progress:
        score = answer.validation.macro_f1 if answer.validation else 0.0
        progress = Progress(
            answer=answer,
            models={name: model.state() for name, model in work.opened.models().items()},
            best_score=max(score, work.progress.best_score if work.progress else -1.0),
        )
        if answer.best:
            best = self._checkpoint(work, request, progress, name="model", scores=answer.validation)
            save_tensors(work.opened.folder / "best.pt", best)
        save_progress(work.opened.folder / "state.pt", progress)
        return progress

    def _finish(self, work: _Work, request: Request) -> Answer:
        progress, folder = work.progress, work.opened.folder
        if progress is not None:
            last = self._checkpoint(work, request, progress, name="model", scores=progress.answer.validation)
            save_tensors(folder / "last.pt", last)
            if "twin" in progress.models and progress.answer.control is not None:
                scores = progress.answer.control.validation
                alone = self._checkpoint(work, request, progress, name="twin", scores=scores)
                save_tensors(folder / "alone.pt", alone)
        return Answer(site=self.settings.site, round=request.round)

    def _checkpoint(
        self, work: _Work, request: Request, progress: Progress, *, name: str, scores: Validation | None
    ) -> dict[str, Any]:
        """Return what is exported: the answering network, and what is added to its logits for the site's own mix."""
        return {
            "model": dict(answering(progress.models[name])),
            "prior": work.method.own_prior(self._round(work, request)),
            "round": progress.answer.round,
            "scores": dict(vars(scores)) if scores else {},
        }

    def _stop(self, request: Request, *, reason: str) -> Answer:
        """Keep the last good state, mark it as final, and say so now and in every later round."""
        self._work = None
        path = state_path(self.settings, request)
        reason = (
            f"site {self.settings.site!r} stopped in round {request.round}: {reason}. Its last good state is kept in "
            f"{path.parent}. Lower the learning rate in its bundle, or look for wrong images, then start a new run"
        )
        progress = load_progress(path)
        if progress is not None:
            with suppress(OSError):  # a full disk: the site would find out again what is wrong with it
                save_progress(path, replace(progress, stopped=reason))
        return Answer(site=self.settings.site, round=request.round, refusal=reason)

    def _open(self, request: Request) -> _Work:
        """Return what is in memory for this experiment, or build it and restore the site's progress into it."""
        if request.version != __version__:
            raise ValueError(
                f"site {self.settings.site!r} runs mdhfl {__version__}, the server {request.version}; "
                "install the same version on both"
            )
        work = self._work
        if work is None or work.experiment != request.experiment:
            work = self._restore(request, self._method(request))
        elif (name_of(work.method), parameters_of(work.method)) != (request.method, dict(request.parameters)):
            work.method = self._method(request)
        self._work = work
        return work

    def _restore(self, request: Request, method: Method) -> _Work:
        opened = open_site(self.settings, request, method, surroundings=self.surroundings)
        progress = load_progress(state_path(self.settings, request))
        if progress is not None:
            for name, model in opened.models().items():
                model.restore(progress.models[name])
        return _Work(experiment=request.experiment, method=method, opened=opened, progress=progress)

    def _method(self, request: Request) -> Method:
        """Return the request's method, if the site trusts its module and allows what it shares."""
        method = create(request.method, request.parameters, trusted=self.settings.methods)
        wanted, allowed = method.permission, self.settings.may_share
        if wanted is not None and wanted not in allowed:
            raise ValueError(
                f"site {self.settings.site!r} forbids what this method needs: {type(method).__name__} shares "
                f"{method.shares}, the site allows {', '.join(allowed) or 'nothing'}. To take part, its IT adds "
                f'"{wanted}" to "may_share" in site.json'
            )
        return method

    def _use_threads(self) -> None:
        import torch

        if torch.get_num_threads() != self.settings.threads:
            torch.set_num_threads(self.settings.threads)


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Leave torch's global generator as it was: a site is a guest in its process."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield
