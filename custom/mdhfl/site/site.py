"""One hospital: answers the server and its peers, and keeps its state. The same for FLARE and the in-process run."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mdhfl import __version__
from mdhfl.learning.tensors import save_tensors
from mdhfl.methods import create
from mdhfl.methods.method import Method
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.weights import Weights
from mdhfl.site.round import learn, weights_of
from mdhfl.site.settings import SiteSettings
from mdhfl.site.state import Progress, load_progress, save_progress
from mdhfl.site.work import ShouldStop, Surroundings, Work, build_work, state_path
from mdhfl.swarm.peers import NoPeers

if TYPE_CHECKING:
    from mdhfl.swarm.member import Swarm

PEER_PATIENCE = 60.0  # seconds that a peer's message waits for this site to finish what it is doing


class Site:
    """Answers requests: learns, scores itself, shares, saves its state, and restores it when it must."""

    def __init__(self, settings: SiteSettings, *, surroundings: Surroundings | None = None) -> None:
        self.settings = settings
        self.surroundings = surroundings or Surroundings(peers=NoPeers())
        self._work: Work | None = None
        self._busy = threading.Lock()

    def answer(self, request: Request, *, should_stop: ShouldStop = lambda: False) -> Answer:
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
                work = self._open(request, should_stop)
                if request.action == "finish":
                    return self._finish(work)
                if request.action == "merge":
                    return self._lead(work)
                return self._learn(work)
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
                work = self._open(Request.from_wire(message["request"]), lambda: False)
                swarm, own = self._swarm_of(work)
                return swarm.receive(sender, message, work.request, own)
        except (ValueError, OSError, RuntimeError, KeyError, TypeError) as error:
            return {"refusal": str(error) or type(error).__name__}
        finally:
            self._busy.release()

    def _lead(self, work: Work) -> Answer:
        swarm, own = self._swarm_of(work)
        swarm.lead(work.request, own)
        return Answer(site=self.settings.site, round=work.request.round)

    def _swarm_of(self, work: Work) -> "tuple[Swarm, Weights]":
        if work.swarm is None:
            raise ValueError(f"method {work.request.method!r} has no peers: its sites speak to the server only")
        if work.progress is None:
            raise ValueError(f"site {self.settings.site!r} has no model to share: it has not finished round 0")
        return work.swarm, weights_of(work, round_=work.progress.answer.round)

    def _learn(self, work: Work) -> Answer:
        request, progress = work.request, work.progress
        if progress is not None:
            if progress.stopped:
                return Answer(site=self.settings.site, round=request.round, refusal=progress.stopped)
            if progress.answer.round == request.round:
                return progress.answer
            if progress.answer.round > request.round:
                raise ValueError(
                    f"site {self.settings.site!r} has already finished round {progress.answer.round} of experiment "
                    f"{request.experiment!r}, but was asked for round {request.round}; give the new experiment "
                    f"another id, or delete {work.folder}"
                )
        work.progress = self._keep(work, learn(work))
        if work.swarm is not None:
            work.swarm.commit()
        return work.progress.answer

    def _keep(self, work: Work, answer: Answer) -> Progress:
        progress = Progress(
            answer=answer,
            model=work.bundle.network.state_dict(),
            optimizer=work.bundle.optimizer.state_dict(),
            best_score=max(answer.validation["macro_f1"], work.progress.best_score if work.progress else -1.0),
        )
        if answer.best:
            save_tensors(work.folder / "best.pt", self._checkpoint(progress))
        save_progress(state_path(self.settings, work.request), progress)
        return progress

    def _finish(self, work: Work) -> Answer:
        if work.progress is not None:
            save_tensors(work.folder / "last.pt", self._checkpoint(work.progress))
        return Answer(site=self.settings.site, round=work.request.round)

    @staticmethod
    def _checkpoint(progress: Progress) -> dict[str, Any]:
        answer = progress.answer
        return {"model": dict(progress.model), "round": answer.round, "scores": dict(answer.validation)}

    def _stop(self, request: Request, *, reason: str) -> Answer:
        """Keep the last good state, mark it as final, and say so now and in every later round."""
        self._work = None
        path = state_path(self.settings, request)
        reason = (
            f"site {self.settings.site!r} stopped in round {request.round}: {reason}. Its last good state is kept in "
            f"{path.parent}. Lower the learning rate in its bundle, or look for wrong images, then start anew"
        )
        progress = load_progress(path)
        if progress is not None:
            with suppress(OSError):  # a full disk: the site would find out again what is wrong with it
                save_progress(path, replace(progress, stopped=reason))
        return Answer(site=self.settings.site, round=request.round, refusal=reason)

    def _open(self, request: Request, should_stop: ShouldStop) -> Work:
        """Return what is in memory for this experiment, or build it and restore the site's progress into it."""
        if request.version != __version__:
            raise ValueError(
                f"site {self.settings.site!r} runs mdhfl {__version__}, the server {request.version}; "
                "install the same version on both"
            )
        method = create(request.method, request.parameters)
        self._check_permission(method)
        work = self._work
        if work is None or work.request.experiment != request.experiment:
            work = build_work(self.settings, request, should_stop=should_stop, surroundings=self.surroundings)
        work.request, work.method, work.should_stop = request, method, should_stop
        self._work = work
        return work

    def _check_permission(self, method: Method) -> None:
        wanted, allowed = method.permission, self.settings.may_share
        if wanted is not None and wanted not in allowed:
            raise ValueError(
                f"site {self.settings.site!r} forbids what this method needs: {type(method).__name__} shares "
                f"{method.shares}, the site allows {', '.join(allowed) or 'nothing'}. To take part, its IT adds "
                f'"{wanted}" to "may_share" in site.json'
            )

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
