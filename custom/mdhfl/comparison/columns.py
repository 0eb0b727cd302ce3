"""The columns of scores in a comparison, from the one list of scores."""

from dataclasses import dataclass

from mdhfl.metrics import SCORES, UNSEEN_RECALL, Score

MAIN = "macro_f1"  # the score that methods are compared by
OWN = "own_"  # before a score's name: on each site's own test images, with its own mix of classes


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of scores.

    Attributes:
        score: which.
        own: whether on each site's own test images, instead of those of all sites together.
    """

    score: Score
    own: bool

    @property
    def title(self) -> str:
        """What it says, in full."""
        where = "each site's own test images" if self.own else "the test images of all sites"
        return f"{_lower(self.score.title)} on {where}, %"

    @property
    def short(self) -> str:
        """What it says, for a narrow column."""
        return f"{_lower(self.score.title)}, {'own' if self.own else 'all sites'}"


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]


COLUMNS: dict[str, Column] = {
    **{name: Column(score=SCORES[name], own=False) for name in ("macro_f1", "balanced_accuracy", "accuracy")},
    "unseen_recall": Column(score=UNSEEN_RECALL, own=False),
    **{f"{OWN}{name}": Column(score=SCORES[name], own=True) for name in ("macro_f1", "accuracy")},
}
