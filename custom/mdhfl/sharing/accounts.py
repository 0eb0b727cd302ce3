"""What an answer tells beside what it shares: the site, its scores, its losses, its costs. Every field is checked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.checks import MOST_NAMES, MessageError, array, count, names, number, record, text
from mdhfl.sharing.limits import LARGEST_LOSS, LONGEST_PHASE, MOST_BYTES, MOST_ENTRIES, MOST_IMAGES

PHASES = ("align", "train", "score", "share", "merge", "encrypt", "decrypt")  # of a site's round, which take time
UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)


@dataclass(frozen=True, kw_only=True)
class About:
    """What an answer tells about its site.

    Attributes:
        bundle: name of the site's bundle.
        architecture: for people.
        parameters: how many the network has.
        training_images: how many the site has.
        missing_classes: without a training image, or with fewer than the site tells, see `SiteSettings.smallest_count`.
        layout: of the network's weights, see `Weights`.
        merged_by: who led the merge that this round began with; empty if none reached the site.
        withheld: what the site keeps to itself though methods ask for it, see `SiteSettings.withhold`.
    """

    bundle: str
    architecture: str
    parameters: int
    training_images: int
    missing_classes: tuple[str, ...]
    layout: str
    merged_by: str = ""
    withheld: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "missing_classes": list(self.missing_classes), "withheld": list(self.withheld)}

    @classmethod
    def from_plain(cls, values: Any) -> "About":
        """Rebuild it. Raises MessageError."""
        values = record(values, what="about", fields=cls.__dataclass_fields__)
        return cls(
            bundle=text(values["bundle"], what="about's bundle"),
            architecture=text(values["architecture"], what="about's architecture"),
            parameters=count(values["parameters"], what="about's parameters", high=MOST_ENTRIES),
            training_images=count(values["training_images"], what="about's training_images", high=MOST_IMAGES),
            missing_classes=names(values["missing_classes"], what="about's missing_classes"),
            layout=text(values["layout"], what="about's layout"),
            merged_by=text(values["merged_by"], what="about's merged_by"),
            withheld=names(values["withheld"], what="about's withheld"),
        )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a round cost a site.

    Attributes:
        seconds: phase -> seconds, for the phases that there were, see PHASES.
        peers_up: bytes sent to peers since the last answer.
        peers_down: bytes received from them.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    peers_up: int = 0
    peers_down: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return plain values."""
        return {"seconds": dict(self.seconds), "peers_up": self.peers_up, "peers_down": self.peers_down}

    @classmethod
    def from_plain(cls, values: Any) -> "Cost":
        """Rebuild it. Raises MessageError."""
        values = record(values, what="cost", fields=cls.__dataclass_fields__)
        seconds = values["seconds"]
        if not isinstance(seconds, Mapping) or not set(seconds) <= set(PHASES):
            raise MessageError(f"cost: expected seconds for phases among {', '.join(PHASES)}, got others")
        return cls(
            seconds={p: number(s, what=f"cost's {p}", low=0, high=LONGEST_PHASE) for p, s in seconds.items()},
            peers_up=count(values["peers_up"], what="cost's peers_up", high=MOST_BYTES),
            peers_down=count(values["peers_down"], what="cost's peers_down", high=MOST_BYTES),
        )


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Mean losses over a round, in the units of the method's losses; None for a phase that there was not."""

    train: float | None = None
    align: float | None = None

    @classmethod
    def from_plain(cls, values: Any) -> "Losses":
        """Rebuild them. Raises MessageError."""
        values = record(values, what="losses", fields=cls.__dataclass_fields__)
        bounds = {"low": -LARGEST_LOSS, "high": LARGEST_LOSS}
        known = {n: None if v is None else number(v, what=f"losses' {n}", **bounds) for n, v in values.items()}
        return cls(**known)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """A model's scores on the validation part, or on the test part, each in [0, 1]."""

    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    ece: float

    @classmethod
    def from_plain(cls, values: Any) -> "Validation":
        """Rebuild them. Raises MessageError."""
        values = record(values, what="validation", fields=cls.__dataclass_fields__)
        return cls(**{name: number(v, what=f"validation's {name}", low=0, high=1) for name, v in values.items()})


@dataclass(frozen=True, kw_only=True)
class Control:
    """How the twin does that trains beside a site's model, from the same start and batches, and learns from nobody.

    Attributes:
        validation: its scores on the validation part.
        confusion: (C, C) unsigned counts on the clean test part, rows the true class; None where the site tells less.
        test_ece: expected calibration error on the test part, with a confusion matrix.
        test: its scores on the test part, from a site that tells no confusion matrix.
        difference: the model's macro-F1 on the validation part less the twin's, in [-1, 1]: what sharing brought.
        low, high: the 95 % interval of the difference over validation images.
    """

    validation: Validation
    confusion: NDArray[np.unsignedinteger] | None
    test_ece: float
    difference: float
    low: float
    high: float
    test: Validation | None = None

    @property
    def harmed(self) -> bool:
        """Whether sharing did harm, by more than the noise of its estimate."""
        return self.high < 0

    def to_wire(self) -> dict[str, Any]:
        """Return plain values and numpy arrays."""
        return {**asdict(self), "confusion": self.confusion}

    @classmethod
    def from_wire(cls, wire: Any) -> "Control":
        """Rebuild it. Raises MessageError."""
        values = record(wire, what="control", fields=cls.__dataclass_fields__)
        return cls(
            validation=Validation.from_plain(values["validation"]),
            confusion=square(values["confusion"], what="control's confusion"),
            test=None if values["test"] is None else Validation.from_plain(values["test"]),
            test_ece=number(values["test_ece"], what="control's test_ece", low=0, high=1),
            **{n: number(values[n], what=f"control's {n}", low=-1, high=1) for n in ("difference", "low", "high")},
        )


def square(confusion: Any, *, what: str) -> NDArray[np.unsignedinteger] | None:
    """Check (C, C) counts of at most MOST_IMAGES in all, or none. Raises MessageError."""
    if confusion is None:
        return None
    counts = array(confusion, what=what, dtypes=UNSIGNED, shape=(None, None))
    if counts.shape[0] != counts.shape[1] or len(counts) > MOST_NAMES:
        raise MessageError(f"{what}: expected a square matrix of at most {MOST_NAMES} classes, got {counts.shape}")
    total = float(counts.sum(dtype=np.float64))  # whole numbers would overflow
    if total > MOST_IMAGES:
        raise MessageError(f"{what}: expected at most {MOST_IMAGES} images, got {total:.4g}")
    return counts
