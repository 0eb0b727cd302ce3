"""What sharing brought to a site: its model beside the twin that trained alone, on the site's own images."""

import numpy as np
from numpy.typing import NDArray

from mdhfl.learning.calibration import OwnMix
from mdhfl.learning.images import Part, PrivateSet
from mdhfl.learning.model import Model, ShouldStop
from mdhfl.metrics import Scores, macro_f1_gain, smallest_counts
from mdhfl.sharing.accounts import Control, Validation

OwnMixes = tuple[OwnMix | None, OwnMix | None]


def compare_with_twin(
    model: Model, twin: Model, private: PrivateSet, *, own_mixes: OwnMixes, should_stop: ShouldStop
) -> Control:
    """Score the twin, and the difference on the validation part with its interval over the images.

    Args:
        model: the site's.
        twin: the one that learns from nobody.
        private: the site's images.
        own_mixes: of the model and of the twin, see `Model.score`.
        should_stop: asked before every batch.

    Raises:
        TrainingDiverged, Aborted: as `Model.predict`.
    """
    own, twins = own_mixes
    validation, _ = twin.score(private.validation, own_mix=twins, should_stop=should_stop)
    test, confusion = twin.score(private.test, own_mix=twins, should_stop=should_stop)
    difference, low, high = macro_f1_gain(
        private.validation.labels.numpy(),
        _answers(model, private.validation, own_mix=own, should_stop=should_stop),
        _answers(twin, private.validation, own_mix=twins, should_stop=should_stop),
        classes=model.num_classes,
    )
    return Control(
        validation=validation_of(validation),
        confusion=smallest_counts(confusion),
        test_ece=test.ece,
        difference=difference,
        low=low,
        high=high,
    )


def validation_of(scores: Scores) -> Validation:
    """Return the scores of the validation part as a site tells them."""
    return Validation(**{name: getattr(scores, name) for name in Validation.__dataclass_fields__})


def _answers(model: Model, part: Part, *, own_mix: OwnMix | None, should_stop: ShouldStop) -> NDArray[np.int64]:
    if not len(part.labels):
        return np.zeros(0, dtype=np.int64)
    logits = model.predict(part.images, should_stop=should_stop)
    answers: NDArray[np.int64] = (logits if own_mix is None else own_mix(logits)).argmax(dim=1).numpy()
    return answers
