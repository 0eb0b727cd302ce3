"""Labels that a model is sure are wrong, against the literal rule."""

import torch

from mdhfl.learning.images import Part
from mdhfl.learning.model import Model
from mdhfl.learning.relabelling import relabelled


def test_labels_that_a_model_is_sure_are_wrong_are_replaced_by_its_answers() -> None:
    """Against the literal rule, image by image, with the prior of the site's mix."""
    model = Model.open("resnet10", num_classes=3, image_size=32, seed=0, averaging=0.9)
    images = torch.randint(0, 255, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    part = Part(images=images, labels=torch.arange(40) % 3)
    prior = torch.tensor([0.3, -0.2, 0.1])
    model.settle(images)
    probabilities = (model.predict(images) + prior).softmax(dim=1)
    above = float(probabilities.max(dim=1).values.median())
    literal = [
        int(p.argmax()) if float(p.max()) > above else int(label)
        for p, label in zip(probabilities, part.labels, strict=True)
    ]
    labels = relabelled(model, part, prior=prior, above=above)
    assert labels.tolist() == literal
    assert 0 < int((labels != part.labels).sum()) <= 20
    assert torch.equal(relabelled(model, part, prior=prior, above=1.0), part.labels)
