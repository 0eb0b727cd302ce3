"""One hospital: its images, its model, its state. The same object serves FLARE's executor and the in-process run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl import __version__
from mdhfl.knowledge import Knowledge
from mdhfl.messages import Answer, Request
from mdhfl.methods import create
from mdhfl.methods.method import SharingMethod
from mdhfl.metrics import Scores, confusion_matrix, expected_calibration_error, scores_from, smallest_counts
from mdhfl.site_settings import SiteSettings
from mdhfl.site_work import ShouldStop, Work, build_work, seed_of, state_path
from mdhfl.state import Progress, load_progress, save_progress, save_tensors
from mdhfl.teaching import Teaching

if TYPE_CHECKING:
    from torch import Tensor


class Site:
    """Answers requests: learns, scores itself, shares, saves its state, and restores it when it must."""

    def __init__(self, settings: SiteSettings) -> None:
        self.settings = settings
        self._work: Work | None = None

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
            with _own_random_numbers():
                work = self._open(request, should_stop)
                if request.action == "finish":
                    return self._finish(work)
                return self._learn(work)
        except TrainingDiverged as error:
            return self._stop(request, reason=str(error))
        except Aborted:
            self._work = None
            raise
        except (ValueError, OSError, RuntimeError) as error:
            self._work = None  # the next request starts from the last good state on disk
            return Answer(site=self.settings.site, round=request.round, refusal=str(error))

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
        losses: dict[str, float | None] = {"align": None}
        if progress is None:
            losses["train"] = self._train(work, epochs=work.method.warm_up_epochs, phase="warm_up")
        if request.action == "learn":
            losses["align"] = self._align(work, request.teaching)
            losses["train"] = self._train(work, epochs=work.method.local_epochs, phase="train")
        answer = self._score_and_share(work, losses)
        work.progress = self._keep(work, answer)
        return work.progress.answer

    def _align(self, work: Work, teaching: Teaching | None) -> float | None:
        if teaching is None or not isinstance(work.method, SharingMethod):
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
        training = work.private.training
        return self._fit(
            work,
            images=training.images,
            targets=training.labels,
            loss=work.method.training_loss,
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
            knowledge = self._share(work)
        best_so_far = work.progress.best_score if work.progress else -1.0
        seconds, work.seconds = work.seconds, {}
        return Answer(
            site=self.settings.site,
            round=work.request.round,
            knowledge=knowledge,
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

    def _share(self, work: Work) -> Knowledge | None:
        if not isinstance(work.method, SharingMethod):
            return None
        values = work.method.express(self._logits(work, work.public)).numpy().astype(np.float32)
        return Knowledge(values=values, subject=work.request.subject, site=self.settings.site, round=work.request.round)

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
        work = self._work
        if work is None or work.request.experiment != request.experiment:
            work = build_work(self.settings, request, should_stop=should_stop)
        work.request, work.method, work.should_stop = request, create(request.method, request.parameters), should_stop
        self._work = work
        return work

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
