"""Shadow models: trained as a site's own model was, on halves of the candidates, so that membership is known of them.

Each takes the site's part in the experiment: the bundle, the method's own training in every round, and in the last one
the lesson that was taught last. Where it cannot, there are none (`why_not_alike`). For a receiver, who has answers and
no model, a student is trained on them, equally on those of the site and on those of each shadow model, and the students
are attacked (the distillation-based attack of Shi et al., arXiv 2502.08001).
"""

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.audit.candidates import Candidates
from mdhfl.audit.evidence import Evidence, SiteEvidence
from mdhfl.audit.likelihood import balanced_halves
from mdhfl.digests import values_digest
from mdhfl.learning.bundle_digest import bundle_digest
from mdhfl.learning.images import Part, PrivateSet
from mdhfl.learning.model import Model
from mdhfl.methods import Method, name_of, parameters_of
from mdhfl.seeds import seed_from, stream
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.packing import wire_digest
from mdhfl.sharing.records import tagged
from mdhfl.site.round import SiteRound
from mdhfl.site.state import Progress
from mdhfl.site.work import Opened
from mdhfl.store.sealed import Damaged, read_sealed, write_sealed

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.swarm.member import Swarm

STUDENT = "resnet10"  # the receiver's own network
STUDENT_EPOCHS = 10
Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """What shadow models, and students of theirs, say of the candidates.

    Attributes:
        inside: (K, M), which candidates each was trained on.
        logits: (K, M, C) of the shadow models.
        students: (K, M, C) of the students that learned from their answers; None where the method shares no knowledge.
    """

    inside: NDArray[np.bool_]
    logits: Logits
    students: Logits | None


def open_model(evidence: Evidence, site: SiteEvidence, *, image_size: int, seed: int = 0) -> Model:
    """Build a site's network."""
    return Model.open(
        site.settings.bundle,
        num_classes=len(evidence.request.subject.classes),
        image_size=image_size,
        seed=seed,
        averaging=evidence.method.average_decay(),
        weights=site.settings.weights,
        changes=site.settings.bundle_changes,
    )


def why_not_alike(evidence: Evidence, site: SiteEvidence) -> str:
    """Say why shadow models would not be trained as a site's own was, so that LiRA would be off; empty if they are."""
    ways = {
        "under a privacy budget (DP-SGD)": site.settings.privacy is not None,
        "with a proxy beside it": evidence.method.proxy_bundle() is not None,
    }
    found = next((how for how, is_so in ways.items() if is_so), "")
    if not found:
        return ""
    return f"no LiRA: this site trains {found}, and shadow models do not; the confidence attack is a floor"


def shadows_of(evidence: Evidence, site: SiteEvidence, candidates: Candidates, *, count: int, cache: Path) -> Shadows:
    """Train the shadow models of a site, or read those that were trained before.

    Args:
        evidence: of the run.
        site: the one in question.
        candidates: its images.
        count: K, even.
        cache: folder for what they say.

    Raises:
        TrainingDiverged: the training of one diverges.
    """
    path = cache / f"{_key(evidence, site, candidates, count=count)}.npz"
    if path.exists():
        try:
            return read_sealed(path, _read)
        except Damaged:
            path.unlink()
    random = stream(evidence.request.seed, "audit", site.settings.site)
    inside = balanced_halves(len(candidates.labels), shadows=count, random=random)
    trained = [_shadow(evidence, site, candidates, inside[number], number=number) for number in range(count)]
    answers = [said for _, said in trained if said is not None]
    students = [student_of(candidates, said) for said in answers]
    found = Shadows(
        inside=inside,
        logits=np.stack([logits for logits, _ in trained]),
        students=np.stack(students) if students else None,
    )
    cache.mkdir(parents=True, exist_ok=True)
    write_sealed(path, lambda file: _write(file, found))
    return found


def student_of(candidates: Candidates, answers: NDArray[np.floating]) -> Logits:
    """Train a student on (N, C) probabilities of the public images; return its (M, C) logits of the candidates.

    All students begin with the same weights and see the images in the same order: what differs is the answers.
    """
    import torch

    from mdhfl.losses import knowledge_divergence

    def loss(logits: "Tensor", teacher: "Tensor") -> "Tensor":
        return knowledge_divergence(logits, teacher, temperature=1.0)

    student = Model.open(
        STUDENT,
        num_classes=answers.shape[1],
        image_size=candidates.images.shape[-1],
        seed=seed_from("audit", "student"),
    )
    targets = torch.from_numpy(answers.astype(np.float32))
    student.fit(candidates.public, targets, loss=loss, epochs=STUDENT_EPOCHS, seed=seed_from("audit", "order"))
    logits: Logits = student.predict(candidates.images).numpy()
    return logits


def answers_about_images(shared: Knowledge, *, images: int) -> NDArray[np.float64]:
    """Return (N, C) probabilities: what was said of the public images as they are, the first of all views."""
    values = shared.values[:images].astype(np.float64)
    if shared.subject.kind == "logits":
        values = np.exp(values - values.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = values / values.sum(axis=1, keepdims=True)
    return probabilities


def mean_of(said: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Return the mean of (N, C) probabilities over rounds or sites; None of none."""
    if not said:
        return None
    mean: NDArray[np.float64] = np.mean(said, axis=0)
    return mean


def _shadow(
    evidence: Evidence, site: SiteEvidence, candidates: Candidates, inside: NDArray[np.bool_], *, number: int
) -> tuple[Logits, NDArray[np.float64] | None]:
    """Train one; return its logits of the candidates, and the mean of what it would have said of the public images.

    The mean is over those rounds of which the site's own messages are at hand.
    """
    import torch

    name, chosen = f"shadow {number}", torch.from_numpy(np.flatnonzero(inside))
    half = Part(images=candidates.images[chosen], labels=candidates.labels[chosen])
    nothing = Part(images=candidates.images[:0], labels=candidates.labels[:0])
    size = candidates.images.shape[-1]
    model = open_model(evidence, site, image_size=size, seed=seed_from(evidence.request.seed, "audit", name))
    classes = candidates.classes
    opened = Opened(
        settings=replace(site.settings, site=name, withhold=("competences",)),
        model=_holding_on(model, half, method=evidence.method),
        private=PrivateSet(training=half, validation=nothing, test=nothing, classes=classes, missing_classes=()),
        training=half,
        public=candidates.public,
        folder=site.settings.state,
    )
    progress, said = None, []
    for round_number in range(evidence.request.round + 1):
        taught = 0 < round_number == evidence.request.round and evidence.lesson is not None
        request = replace(
            evidence.request,
            action="learn" if round_number else "warm_up",
            round=round_number,
            lesson=evidence.lesson if taught else None,
        )
        answer = SiteRound(
            opened=opened, request=request, method=evidence.method, progress=progress, open_swarm=_no_swarm
        ).run()
        progress = Progress(answer=answer, models={}, best_score=-1.0, recent=(), terms={}, lesson="")
        if isinstance(answer.shared, Knowledge) and round_number in site.shared:
            said.append(answers_about_images(answer.shared, images=len(candidates.public)))
    logits: Logits = model.predict(candidates.images).numpy()
    return logits, mean_of(said)


def _holding_on(model: Model, training: Part, *, method: Method) -> Model:
    """Return a model that holds on to what it says of its training images, if the method wants that of a site's own."""
    if not method.early_learning():
        return model
    from mdhfl.learning.early_learning import EarlyAnswers

    answers = EarlyAnswers(images=len(training.labels), classes=model.num_classes, device="cpu")
    return replace(model, early=answers)


def _no_swarm(encrypted: bool) -> "Swarm":
    raise ValueError("a shadow model has no peers")


def _key(evidence: Evidence, site: SiteEvidence, candidates: Candidates, *, count: int) -> str:
    """Identify everything that decides what the shadow models say."""
    request, settings = evidence.request, site.settings
    lesson = tagged(evidence.lesson)
    deciding: list[Any] = [
        2,  # of this way to train them
        candidates.digest,
        bundle_digest(settings.bundle, changes=settings.bundle_changes),
        name_of(evidence.method),
        parameters_of(evidence.method),
        [request.seed, request.round, count, settings.site, STUDENT, STUDENT_EPOCHS, sorted(site.shared)],
        "" if lesson is None else wire_digest(lesson),
        *([settings.defences.chosen] if settings.defences.chosen else []),
        *(["early answers"] if evidence.method.early_learning() else []),  # those trained before had none
        *([hashlib.sha256(settings.weights.read_bytes()).hexdigest()] if settings.weights is not None else []),
    ]
    return f"shadows-{values_digest(deciding)[:16]}"


def _write(file: IO[bytes], shadows: Shadows) -> None:
    arrays: dict[str, Any] = {name: values for name, values in vars(shadows).items() if values is not None}
    np.savez_compressed(file, **arrays)


def _read(path: Path, payload: bytes) -> Shadows:
    try:
        with np.load(BytesIO(payload), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        return Shadows(inside=found["inside"], logits=found["logits"], students=found.get("students"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise Damaged(f"{path}: expected what shadow models said, got {type(error).__name__}: {error}") from error
