"""What holds the figures in the documents' sentences against the experiments' scores."""

from collections.abc import Sequence
from statistics import mean, stdev

from scipy.stats import t

from experiments.document import ROOT, scores

ALONE = "local, balanced and averaged"


def words_of(document: str) -> str:
    """Return a document's text as if it were one line."""
    return " ".join((ROOT / document).read_text(encoding="utf-8").split())


def gains_of(
    name: str, federation: str, column: str = "macro_f1", *, noise: str = "", method: str = "MDH-FL+", over: str = ALONE
) -> list[float]:
    """Return a method less another, seed by seed; without a noise, of a comparison that has one."""
    runs = {
        (row["method"], row["seed"]): float(row[column])
        for row in scores(name)
        if row["federation"] == federation and noise in ("", row["noise"])
    }
    seeds = sorted({seed for _, seed in runs})
    return [runs[method, seed] - runs[over, seed] for seed in seeds]


def interval_of(gains: Sequence[float]) -> str:
    """Return the 95 % t-interval of a mean over seeds, as the documents write it."""
    low, high = t.interval(0.95, len(gains) - 1, loc=mean(gains), scale=stdev(gains) / len(gains) ** 0.5)
    return f"{low:+.1f} to {high:+.1f}"
