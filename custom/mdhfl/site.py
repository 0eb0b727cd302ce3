"""One hospital: its images, its model, its state. The same object serves FLARE's executor and the in-process run."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl import __version__
from mdhfl.election import Turn
from mdhfl.knowledge import Knowledge
from mdhfl.messages import Answer, Request
from mdhfl.methods import create
from mdhfl.methods.method import KnowledgeMethod, Method
from mdhfl.metrics import Scores, confusion_matrix, expected_calibration_error, scores_from, smallest_counts
from mdhfl.peers import NoPeers
from mdhfl.site_settings import SiteSettings
from mdhfl.site_work import ShouldStop, Surroundings, Work, build_work, seed_of, state_path
from mdhfl.state import Progress, load_progress, save_progress, save_tensors
from mdhfl.teaching import Teaching
from mdhfl.weights import Merged, Weights

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.site_swarm import Swarm

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
        from mdhfl.training import Aborted, TrainingDiverged

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
        return work.swarm, self._weights(work, work.progress.answer.round)

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
        losses: dict[str, float | None] = {"align": None, "train": None}
        if progress is None:
            losses["train"] = self._train(work, epochs=work.method.warm_up_epochs, phase="warm_up")
        self._adopt(work)
        if request.action == "learn":
            losses["align"] = self._align(work, request.lesson)
            losses["train"] = self._train(work, epochs=work.method.local_epochs, phase="train")
        answer = self._score_and_share(work, losses)
        work.progress = self._keep(work, answer)
        if work.swarm is not None:
            work.swarm.commit()
        return work.progress.answer

    def _adopt(self, work: Work) -> None:
        """Take over a merged model, if the request or this site's peers have one. The optimiser goes on."""
        merged = work.request.lesson
        if isinstance(merged, Turn):
            if work.swarm is None:
                raise ValueError(f"site {self.settings.site!r}: {work.request.method!r} has no swarm's turns")
            merged = work.swarm.take(merged)
        if not isinstance(merged, Merged):
            return
        if merged.layout != work.layout:
            raise ValueError(
                f"site {self.settings.site!r}: expected weights of layout {work.layout[:8]} ({work.bundle.name}), got "
                f"{merged.layout[:8]}; is its mdhfl, and its bundle, the same version as the others'?"
            )
        from mdhfl.parameters import unflatten

        network = work.bundle.network
        network.load_state_dict(unflatten(merged.values, like=network.state_dict()))

    def _align(self, work: Work, teaching: object) -> float | None:
        if not isinstance(teaching, Teaching) or not isinstance(work.method, KnowledgeMethod):
            return None
        own = work.progress.answer.knowledge if work.progress else None
        teacher = work.method.teacher(teaching, own=own, site=self.settings.site)
        if teacher is None:
            return None
        import torch

        return self._fit(
            work,
            images=work.public,
            targets=torch.from_numpy(teacher),
            loss=work.method.alignment_loss,
            epochs=work.method.align_epochs,
            augment=None,
            phase="align",
        )

    def _train(self, work: Work, *, epochs: int, phase: str) -> float | None:
        transforms = work.bundle.random_transforms
        if transforms is not None:
            transforms.set_random_state(seed=seed_of(self.settings, work.request, f"{phase} transforms") % 2**32)
        training = work.pool or work.private.training
        return self._fit(
            work,
            images=training.images,
            targets=training.labels,
            images_per_epoch=len(work.private.training.labels),
            loss=work.method.training_loss,
            penalty=work.method.penalty(work.bundle.network),
            epochs=epochs,
            augment=None if transforms is None else transforms.batch,
            phase=phase,
        )

    def _fit(self, work: Work, *, phase: str, **arguments: Any) -> float | None:
        import torch

        from mdhfl.training import fit

        seed = seed_of(self.settings, work.request, phase)
        torch.manual_seed(seed)  # dropout
        with _timed(work.seconds, "align" if phase == "align" else "train"):
            return fit(
                work.bundle.network,
                optimizer=work.bundle.optimizer,
                batch_size=work.bundle.batch_size,
                intensity=work.bundle.intensity_transform,
                generator=torch.Generator().manual_seed(seed),
                should_stop=work.should_stop,
                **arguments,
            )

    def _score_and_share(self, work: Work, losses: dict[str, float | None]) -> Answer:
        with _timed(work.seconds, "score"):
            validation, _ = self._score(work, work.private.validation)
            test, confusion = self._score(work, work.private.test)
        with _timed(work.seconds, "share"):
            knowledge = self._knowledge(work, losses)
            shared = work.method.shares == "weights" and work.request.action != "adopt"
            weights = self._weights(work, work.request.round) if shared else None
        best_so_far = work.progress.best_score if work.progress else -1.0
        seconds, work.seconds = work.seconds, {}
        peer_bytes: dict[str, int] = {}
        if work.swarm is not None:
            peer_bytes, work.swarm.peer_bytes = work.swarm.peer_bytes, {"up": 0, "down": 0}
            seconds, work.swarm.seconds = {**seconds, **work.swarm.seconds}, {}
        return Answer(
            site=self.settings.site,
            round=work.request.round,
            knowledge=knowledge,
            weights=weights,
            peer_bytes=peer_bytes,
            validation={
                name: getattr(validation, name) for name in ("accuracy", "macro_f1", "balanced_accuracy", "ece")
            },
            confusion=confusion,
            test_ece=test.ece,
            losses=losses,
            seconds={phase: round(value, 3) for phase, value in seconds.items()},
            about={
                "bundle": work.bundle.name,
                "architecture": work.bundle.architecture,
                "parameters": work.bundle.parameters,
                "training_images": len(work.private.training.labels),
                "missing_classes": list(work.private.missing_classes),
                "layout": work.layout,
                **({"merged_by": work.swarm.merged_by} if work.swarm else {}),
            },
            best=validation.macro_f1 > best_so_far,
        )

    def _score(self, work: Work, part: Any) -> tuple[Scores, "np.ndarray"]:
        classes = len(work.private.classes)
        labels = part.labels.numpy()
        probabilities = (
            self._logits(work, part.images).softmax(dim=1).numpy() if len(labels) else np.zeros((0, classes))
        )
        confusion = confusion_matrix(labels, probabilities.argmax(axis=1), classes=classes)
        scores = scores_from(confusion, ece=expected_calibration_error(probabilities, labels))
        return scores, smallest_counts(confusion)

    def _knowledge(self, work: Work, losses: Mapping[str, float | None]) -> Knowledge | None:
        if not isinstance(work.method, KnowledgeMethod):
            return None
        before = work.progress.answer.losses.get("train") if work.progress else None
        return Knowledge(
            values=work.method.express(self._logits(work, work.public)).numpy().astype(np.float32),
            subject=work.request.subject,
            site=self.settings.site,
            round=work.request.round,
            confidence=work.method.confidence(before=before, now=losses["train"]),
        )

    def _weights(self, work: Work, round_: int) -> Weights:
        from mdhfl.parameters import flatten

        return Weights(
            values=flatten(work.bundle.network.state_dict()),
            layout=work.layout,
            bundle=work.bundle.name,
            images=len(work.private.training.labels),
            site=self.settings.site,
            round=round_,
        )

    def _logits(self, work: Work, images: "Tensor") -> "Tensor":
        from mdhfl.training import TrainingDiverged, predict

        logits = predict(
            work.bundle.network, images=images, intensity=work.bundle.intensity_transform, should_stop=work.should_stop
        )
        if not bool(logits.isfinite().all()):
            raise TrainingDiverged("the model's answers became NaN or infinite")
        return logits

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
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Leave torch's global generator as it was: a site is a guest in its process."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield
