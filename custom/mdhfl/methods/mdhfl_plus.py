"""MDH-FL+: MDH-FL for sites that see different classes, through different scanners, with wrong labels.

What is added to MDH-FL (arXiv 2308.00155), and why; docs/method.md has the equations:
* prior-free training (`local_plus.py`): a site without a class must not teach that the class does not exist;
* competences: each site counts, class by class, as far as its own out-of-fold answers agree with its labels;
* public images leave batch normalisation's statistics alone, and are answered with their own;
* public images are shown in the site's own stain, and asked about in several views;
* averaged weights answer.
Still only knowledge leaves, with one number per class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.blind_method import last_knowledge
from mdhfl.methods.knowledge_method import FULL, KnowledgeMethod
from mdhfl.methods.local_plus import LocalPlus
from mdhfl.methods.parameters import parameter
from mdhfl.methods.parties import Learner, Loss
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.competence import (
    ClassTeaching,
    check_competences,
    class_teacher,
    class_weighted_sum,
    class_weights,
    leave_one_out_class_sums,
)
from mdhfl.sharing.coupling import coupled_teachings
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.robust_teaching import robust_class_teachings
from mdhfl.sharing.teaching import Teaching, check_matrix, sharpened

if TYPE_CHECKING:
    from torch import Tensor


BLIND_ASSUMED = 0.5  # competence of a site that withholds its own


@dataclass(frozen=True, kw_only=True)
class MdhflPlus(LocalPlus, KnowledgeMethod):
    """L_align = align_weight * T^2 * KL(teacher || softmax(z / T)), after or within the local steps."""

    align_epochs: int = parameter(1, "epochs over the views of the public images in each round", at_least=1)
    align_weight: float = parameter(3.0, "weight of the alignment; 1 suits right labels, 0: local training", at_least=0)
    ramp_rounds: int = parameter(1, "rounds over which the alignment's weight rises evenly to its own", at_least=1)
    joint: bool = parameter(False, "whether each local step also aligns a public batch, instead of a phase before")
    temperature: float = parameter(1.0, "temperature of the softmax that makes knowledge", above=0)
    sharpening: float = parameter(1.0, "temperature that sharpens the teacher; 1: as it is", above=0, at_most=1)
    views: int = parameter(4, "views in which each public image is asked about", at_least=1, at_most=64)
    own_stain: bool = parameter(True, "whether public images are shown in the site's own stain")
    own_statistics: bool = parameter(True, "whether public images have batch statistics of their own")
    competence_epochs: int = parameter(4, "epochs of each fold that estimates competences; 0: all alike", at_least=0)
    competence_power: float = parameter(1.0, "to which competences are raised; above 1: experts speak more", at_least=0)
    coupled: bool = parameter(False, "whether the teacher fits the sites' comparisons of classes, instead of a mean")
    include_own: bool = parameter(True, "whether a site's own answers stay in its teacher")
    control: bool = parameter(False, "whether each site trains a twin alone beside, to tell what sharing brings it")
    patience: float = parameter(0.0, "share of the last answers in what a site shares", at_least=0, at_most=0.99)

    title: ClassVar[str] = "MDH-FL+"
    summary: ClassVar[str] = "MDH-FL for different classes, scanners and wrong labels: competent, prior-free teachers"
    shares: ClassVar[str | None] = "probabilities"
    rounds: ClassVar[int] = 8
    rows_of_weights: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coupled and self.robust != "mean":
            raise ValueError(f"robust: expected mean with coupled answers, got {self.robust}: a fit is no mean")

    def question_views(self) -> int:
        return self.views

    def trains_twin(self) -> bool:
        return self.control

    def express(self, logits: "Tensor") -> "Tensor":
        return (logits / self.temperature).softmax(dim=1)

    def alignment_loss(self, logits: "Tensor", teacher: "Tensor") -> "Tensor":
        from mdhfl.losses import knowledge_divergence

        scale = self.align_weight * self.temperature**2
        return scale * knowledge_divergence(logits, teacher, temperature=self.temperature)

    def alignment_loss_in(self, number: int) -> Loss:
        """Return the loss of a round's alignment: its weight rises over the first rounds."""
        risen = min(1.0, number / self.ramp_rounds)
        return lambda logits, teacher: risen * self.alignment_loss(logits, teacher)

    def asked_in(self, number: int) -> int:
        """Return the round whose views are asked about in a round: while learning comes to rest, always the same."""
        return self.cooling_from - 1 if self.cools(number) else number

    def check(self, answer: Answer, request: Request) -> None:
        super().check(answer, request)
        if isinstance(answer.shared, Knowledge) and answer.shared.competences is not None and answer.about is not None:
            check_competences(answer.shared.competences, images=answer.about.training_images)

    def combine(
        self, shared: Mapping[str, Any], *, sites: Sequence[str], trust: Mapping[str, float] = FULL
    ) -> Mapping[str, Lesson]:
        if len(shared) < 2 or not self.align_weight:
            return {}
        power = self.competence_power
        if self.coupled:
            return coupled_teachings(shared, sites=sites, include_own=self.include_own, power=power, trust=trust)
        if self.robust != "mean":
            how: dict[str, Any] = {"rule": self.robust, "cut": self.cut, "power": power, "own": self.include_own}
            return robust_class_teachings(shared, sites=sites, trust=trust, **how)
        if trust and not self.include_own:  # a site subtracts what it said with its full weight
            return leave_one_out_class_sums(shared, sites=sites, power=power, trust=trust)
        return dict.fromkeys(sites, class_weighted_sum(shared, power=power, trust=trust))

    def teaches_own(self) -> bool:
        return self.include_own

    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        raise TypeError("MDH-FL+ teaches class by class, see `learn`")

    def _teacher_of(self, lesson: Lesson) -> NDArray[np.float32] | None:
        if not isinstance(lesson, ClassTeaching):
            return None
        teacher = class_teacher(lesson, own=None, site="", include_own=True, power=self.competence_power)
        return None if teacher is None else sharpened(teacher, temperature=self.sharpening)

    def needs_each(self) -> str:
        return "coupled=true" if self.coupled else super().needs_each()

    def teaches(self) -> bool:
        return self.align_weight > 0

    def summands(self, knowledge: Knowledge) -> NDArray[np.float64]:
        weights = class_weights(
            knowledge.competences,
            classes=knowledge.values.shape[1],
            assumed=self._assumed(),
            power=self.competence_power,
        )
        return np.vstack([weights * knowledge.values.astype(np.float64), weights])

    def lesson_of(self, total: NDArray[np.float64], *, sites: Sequence[str], number: int) -> Lesson:
        return ClassTeaching(
            values=total[:-1].astype(np.float32),
            total=total[-1].astype(np.float32),
            sites=tuple(sites),
            assumed=self._assumed(),
            round=number,
        )

    def _assumed(self) -> float:
        """Return the competence, in a blind sum, of a site that says none: nobody can know the mean of the others'."""
        return BLIND_ASSUMED if self.competence_epochs else 1.0

    def learn(self, lesson: Lesson, learner: Learner) -> float | None:
        found = self.unveiled(lesson, learner)
        if found is None:
            return None
        if not isinstance(found, ClassTeaching):
            raise ValueError(f"site {learner.site!r}: expected a class teaching, got {found.kind}")
        teacher = class_teacher(
            found,
            own=last_knowledge(learner),
            site=learner.site,
            include_own=self.include_own or self.coupled,  # a coupled teacher comes without them already
            power=self.competence_power,
        )
        if teacher is None:
            return None
        check_matrix(teacher, shape=learner.request.subject.shape, what="teacher")
        teacher = sharpened(teacher, temperature=self.sharpening)
        own = last_knowledge(learner)
        learner.taught(teacher, own=own if own is not None and own.round == lesson.round else None)
        import torch

        images = learner.public(views=self.views, asked_in=self.asked_in(lesson.round), own_stain=self.own_stain)
        targets, loss = torch.from_numpy(teacher), self.alignment_loss_in(learner.request.round)
        if self.joint:
            learner.accompany(targets, images=images, loss=loss, keep_statistics=self.own_statistics)
            return None
        return learner.align(
            targets,
            images=images,
            loss=loss,
            epochs=self.align_epochs,
            keep_statistics=self.own_statistics,
        )

    def share(self, learner: Learner, *, losses: Losses) -> Shared | None:
        return Knowledge(
            values=self._values(learner),
            subject=learner.request.subject,
            site=learner.site,
            round=learner.request.round,
            competences=self._competences(learner),
        )

    def _values(self, learner: Learner) -> NDArray[np.float32]:
        """Answer, or say the last answers again while learning comes to rest: then the teacher stays.

        A site that missed the round whose views stay has answered about others: it answers once more, about those.
        Where the last answers are mixed in, the server's mean is the mean of its teachers over rounds.
        """
        last, number = last_knowledge(learner), learner.request.round
        if last is not None and self.cools(number) and self.asked_in(last.round) == self.asked_in(number):
            return last.values
        images = learner.public(views=self.views, asked_in=self.asked_in(number), own_stain=self.own_stain)
        answers = learner.answers(images=images, own_statistics=self.own_statistics)
        values = self.express(answers).numpy().astype(np.float32)
        if last is None or not self.patience:
            return values
        return (self.patience * last.values + (1 - self.patience) * values).astype(np.float32)

    def _competences(self, learner: Learner) -> NDArray[np.float32] | None:
        """Estimate them once, before the first round; then say the same, as long as the site's IT allows it."""
        if not self.competence_epochs or learner.withholds("competences"):
            return None
        last = last_knowledge(learner)
        if last is not None:
            return last.competences
        return learner.competences(epochs=self.competence_epochs, loss=self.local_loss(learner))
