"""A site's policy on its answers: what it says less precisely, of fewer images, or no more; and what it may not lose.

Plain values with their checks. `guarding.py` applies the defences, `budget.py` holds the site to its privacy budget.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mdhfl.sharing.coarsening import HALF, MOST_BITS, whole_units


@dataclass(frozen=True, kw_only=True)
class Defences:
    """How a site lessens what its knowledge says; None for a defence that it does not use.

    They are applied in the order of this list, the precision last, since it is what travels.

    Attributes:
        temperature: of the answers that leave, above 1, up to 100.
        top_k: classes of a row that are said; the rest of its sum is spread evenly. At least 1.
        confidence: the largest probability that is said, above 0 and below 1; above 1 / C, see `problem_with`.
        answered: share of the public images that are answered in a round, above 0 and below 1.
        precision: bits of each number: 1 to 8, or 16 for float16. Either way a number takes two bytes.
        rounds: in how many rounds, the warm-up's included, the site says something new; then it repeats its last
            answers. At least 1. An experiment counts by itself.

    Raises:
        ValueError: a value is out of range, or not a number.
    """

    temperature: float | None = None
    top_k: int | None = None
    confidence: float | None = None
    answered: float | None = None
    precision: int | None = None
    rounds: int | None = None

    def __post_init__(self) -> None:
        _check("defences", self, "temperature", low=1, high=100, above=True)
        _check("defences", self, "top_k", low=1, high=10**6, whole=True)
        _check("defences", self, "confidence", low=0, high=1, above=True, below=True)
        _check("defences", self, "answered", low=0, high=1, above=True, below=True)
        _check("defences", self, "rounds", low=1, high=10**6, whole=True)
        _check("defences", self, "precision", low=1, high=HALF, whole=True)
        if self.precision is not None and MOST_BITS < self.precision < HALF:
            raise ValueError(f"defences: precision: expected 1 to {MOST_BITS} bits, or {HALF}, got {self.precision}")

    @property
    def chosen(self) -> dict[str, Any]:
        """The defences in use, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def bits(self) -> int | None:
        """Bits of a number on a grid, None for none."""
        return None if self.precision in (None, HALF) else self.precision

    def problem_with(self, *, kind: str, classes: int) -> tuple[str, str] | None:
        """Return the defence that cannot be met with such knowledge, and why; None if all can.

        Args:
            kind: of the knowledge, "probabilities" or "logits".
            classes: C.
        """
        if kind == "logits":
            for name in ("top_k", "confidence", *(("precision",) if self.bits else ())):
                if getattr(self, name) is not None:
                    return name, "this method shares logits, for which it is not defined; choose one of probabilities"
            return None
        if self.confidence is not None and self.confidence <= 1 / classes:
            return "confidence", f"expected above {1 / classes:.3g}, one of {classes} classes, got {self.confidence:g}"
        if self.confidence is not None and self.bits is not None:
            units = whole_units(self.confidence, bits=self.bits)
            if units * classes < 2**self.bits - 1:
                return "confidence", (
                    f"{self.bits} bits have no rows of {classes} numbers of at most {self.confidence:g} that sum to 1; "
                    "take more of either"
                )
        return None

    def in_words(self) -> list[str]:
        """Return what is done, a phrase each; empty for nothing."""
        of = self.chosen
        said = {
            "temperature": "temperature {:g}",
            "top_k": "the {} likeliest classes, the rest spread evenly",
            "confidence": "no probability above {:g}",
            "answered": "{:.0%} of the public images in a round",
            "precision": "{} bits a number",
            "rounds": "new answers in {} rounds, then the last again",
        }
        return [text.format(of[name]) for name, text in said.items() if name in of]


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Differential privacy of a site's training: (epsilon, delta) for one training image, added or removed.

    Attributes:
        epsilon: what all experiments of the site's `state` folder may spend together, above 0.
        delta: above 0, below one over the number of training images.
        clipping: the largest norm of one image's gradient, above 0.
        rounds: after the warm-up, for which an experiment's noise is chosen, at least 1.

    Raises:
        ValueError: a value is out of range, or not a number.
    """

    epsilon: float
    delta: float
    clipping: float = 1.0
    rounds: int = 8

    def __post_init__(self) -> None:
        _check("privacy", self, "epsilon", low=0, high=1e6, above=True)
        _check("privacy", self, "delta", low=0, high=1, above=True, below=True)
        _check("privacy", self, "clipping", low=0, high=1e6, above=True)
        _check("privacy", self, "rounds", low=1, high=10**6, whole=True)

    def in_words(self) -> str:
        """Return the promise in a phrase."""
        return (
            f"epsilon {self.epsilon:g} at delta {self.delta:g} for each training image, over all experiments; noise "
            f"for {self.rounds} rounds"
        )


def defences_from(values: Mapping[str, Any]) -> Defences:
    """Return the policy that plain values name. Raises ValueError: an unknown name, or a value out of range."""
    return Defences(**_known("defences", values, Defences))


def privacy_from(values: Mapping[str, Any] | None) -> Privacy | None:
    """Return the budget that plain values name, None for none.

    Raises:
        ValueError: an unknown name, a value out of range, or no epsilon or delta.
    """
    if not values:
        return None
    if missing := [name for name in ("epsilon", "delta") if name not in values]:
        raise ValueError(f"privacy: expected epsilon and delta, lacks {' and '.join(missing)}")
    return Privacy(**_known("privacy", values, Privacy))


def _known(where: str, values: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    if unknown := sorted(set(values) - set(names)):
        raise ValueError(f"{where}: expected {', '.join(names)}, got {', '.join(unknown)}")
    return dict(values)


def _check(
    where: str, policy: Any, name: str, *, low: float, high: float, above: bool = False, below: bool = False,
    whole: bool = False,
) -> None:  # fmt: skip
    value = getattr(policy, name)
    if value is None:
        return
    kinds = (int,) if whole else (int, float)
    fits = type(value) in kinds and low <= value <= high  # NaN is in no range
    if not fits or (above and value == low) or (below and value == high):
        kind = "a whole number" if whole else "a number"
        ends = f"{'above' if above else 'from'} {low:g} {'and below' if below else 'up to'} {high:g}"
        raise ValueError(f"{where}: {name}: expected {kind} {ends}, got {value!r}")
