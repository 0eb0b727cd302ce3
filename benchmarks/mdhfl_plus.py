"""What each ingredient of MDH-FL+ adds to a site's work, against the site's own training."""

import statistics
import time
from collections.abc import Callable
from typing import Any

ARCHITECTURES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")
CLASSES = 8
ROUNDS = 20  # of the run that one-time work is a share of


def measure(*, images: int = 256, image_size: int = 32, repetitions: int = 7) -> list[dict[str, Any]]:
    """Time private epochs, the same with a companion, and the same with averaged weights, in turns; then the rest.

    As many public images as private ones; one thread.

    Returns:
        Per architecture: a joint step in private steps; a private epoch with averaged weights in epochs without; the
        shares of competences, of renewed statistics and of restaining in a run of 20 rounds with the default epochs.
    """
    import torch

    torch.set_num_threads(1)
    return [_measure(name, images=images, image_size=image_size, repetitions=repetitions) for name in ARCHITECTURES]


def _measure(name: str, *, images: int, image_size: int, repetitions: int) -> dict[str, Any]:
    import torch

    from mdhfl.learning.crossfit import out_of_fold_answers
    from mdhfl.learning.images import Part
    from mdhfl.learning.model import Model, never
    from mdhfl.learning.stain import restained, stain_of
    from mdhfl.learning.training import Companion
    from mdhfl.methods.mdhfl_plus import MdhflPlus

    method = MdhflPlus()
    pixels = torch.randint(0, 255, (images, 3, image_size, image_size), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (images,))
    targets = torch.rand(images, CLASSES).softmax(dim=1)

    def opened(averaging: float = 0.0) -> Model:
        return Model.open(name, num_classes=CLASSES, image_size=image_size, seed=0, averaging=averaging)

    def companion() -> Companion:
        generator = torch.Generator().manual_seed(0)
        return Companion(images=pixels, targets=targets, loss=method.alignment_loss, generator=generator)

    plain, joint, averaged = opened(), opened(), opened(method.averaging)
    loss = torch.nn.functional.cross_entropy
    how: dict[str, Any] = {"loss": loss, "epochs": 1, "seed": 0, "transforms_seed": 0}
    works: dict[str, Callable[[], Any]] = {
        "private": lambda: plain.fit(pixels, labels, **how),
        "joint": lambda: joint.fit(pixels, labels, companion=companion(), **how),
        "averaged": lambda: averaged.fit(pixels, labels, **how),
        "align": lambda: plain.fit(pixels, targets, loss=method.alignment_loss, epochs=1, seed=0, keep_statistics=True),
        "settle": lambda: averaged.settle(pixels),
    }
    turns = [{each: _seconds(work) for each, work in works.items()} for _ in range(1 + repetitions)][1:]
    seconds = {each: statistics.median(turn[each] for turn in turns) for each in works}

    def competences() -> None:
        out_of_fold_answers(
            Part(images=pixels, labels=labels),
            open_model=opened,
            loss=loss,
            epochs=method.competence_epochs,
            seed=0,
            should_stop=never,
        )

    def restain() -> None:
        restained(pixels.numpy(), to=stain_of(pixels.numpy()))

    private_epochs = method.warm_up_epochs + ROUNDS * method.local_epochs
    run = private_epochs * seconds["averaged"] + ROUNDS * method.align_epochs * method.views * seconds["align"]
    return {
        "architecture": name,
        "joint step": _ratio(turns, "joint"),
        "averaged weights": _ratio(turns, "averaged"),
        "competences": f"{_seconds(competences) / run:.1%}",
        "renewed statistics": f"{(1 + ROUNDS) * seconds['settle'] / run:.1%}",
        "restaining": f"{_seconds(restain) / run:.2%}",
    }


def _ratio(turns: list[dict[str, float]], name: str) -> float:
    return round(statistics.median(turn[name] / turn["private"] for turn in turns), 2)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
