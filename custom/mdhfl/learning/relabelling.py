"""Labels that a model is sure are wrong: its own answer replaces them for one phase of training."""

from typing import TYPE_CHECKING

from mdhfl.learning.model import Model, ShouldStop, never

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.learning.images import Part


def relabelled(
    model: Model, part: "Part", *, prior: "Tensor | None", above: float, should_stop: ShouldStop = never
) -> "Tensor":
    """Return the (M,) labels of a part, each replaced by the model's answer where that is sure enough.

    Args:
        model: answers with its averaged weights, if it has them; their statistics are measured anew.
        part: images and their possibly wrong labels.
        prior: (C,), added to the logits of a network that carries no prior.
        above: the probability that an answer must exceed, in (0, 1).
        should_stop: asked before every batch.

    Source: Tanaka et al., "Joint Optimization Framework for Learning with Noisy Labels", CVPR 2018, in its hard form,
    and with a threshold.
    """
    model.settle(part.images)
    logits = model.predict(part.images, should_stop=should_stop)
    sure, answers = (logits if prior is None else logits + prior).softmax(dim=1).max(dim=1)
    return answers.where(sure > above, part.labels)
