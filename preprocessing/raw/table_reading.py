"""What was understood of a table of labels: shown before anything is written, and kept in the federation's card."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_NAMED = 20  # columns and classes in a sentence
TOO_MANY = 0.5  # of the rows, or of the pictures: more lost than this is a mistake whatever --bad-limit says
NO_NAME, NO_FILE = "without a picture's name", "without a file"
SEVERAL, DAMAGED = "that several files fit", "with more cells than the header"
NO_CLASS, TWICE, CONTRADICTION = "without a class", "listed twice", "contradicting each other"
LOST = (NO_NAME, NO_FILE, SEVERAL, DAMAGED)  # reasons that count for --bad-limit


@dataclass(frozen=True)
class TableReading:
    """What was understood of a table, and what became of its rows: those read and those skipped are all.

    Attributes:
        where: the table's name, without its folder.
        form: how it is written, in words.
        columns: role ("image", "class", "group", "split") and the column's own name; one-hot: names with "+".
        unused: names of the other columns.
        rows: below the header, blank ones not counted.
        classes: class and pictures, in alphabetical order.
        skipped: reason and rows, in the order of this module's reasons.
        pictures: that are named with a class and exist.
        contradicting: of these, those that rows contradict each other about.
        loosely: rows whose picture is not called letter by letter as in the table.
        unlisted: pictures that no row with a class names.
        examples: of a few rows that count for --bad-limit, the name and the reason.
        notes: what else a reader should know, one sentence each.
    """

    where: str
    form: str
    columns: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]
    rows: int
    classes: tuple[tuple[str, int], ...]
    skipped: tuple[tuple[str, int], ...]
    pictures: int
    contradicting: int
    loosely: int
    unlisted: int
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def read(self) -> int:
        """Rows that gave a picture."""
        return self.rows - sum(count for _, count in self.skipped)

    @property
    def lost(self) -> int:
        """Rows that count for --bad-limit."""
        return sum(count for reason, count in self.skipped if reason in LOST)

    def sentences(self) -> list[str]:
        """What a person should look at before anything is written."""
        columns = ", ".join(f"{role} in {name}" for role, name in self.columns)
        unused = f"; not used: {_some(self.unused)}" if self.unused else ""
        gone = "; left out: " + ", ".join(f"{count} {reason}" for reason, count in self.skipped) if self.skipped else ""
        classes = _some([f"{name} {count}" for name, count in self.classes])
        facts = [f"{self.where} ({self.form}): {columns}{unused}"]
        facts.append(f"{self.where}: {self.rows} rows, {self.read} read ({classes}){gone}")
        if self.loosely:
            facts.append(
                f"{self.where}: {self.loosely} rows name their picture in another case, with other folders or without "
                "its suffix"
            )
        if self.unlisted:
            facts.append(f"{self.where}: {self.unlisted} pictures are in no row with a class, and not used")
        return [*facts, *(f"{self.where}: {note}" for note in self.notes)]

    def check(self, *, origin: str, limit: float) -> None:
        """Refuse a table that loses more than it may.

        Args:
            origin: what messages call the raw data.
            limit: share of the rows that may name no picture.

        Raises:
            ValueError: more rows are lost, or more than half are without a class, or of the pictures contradicted.
        """
        names, way_out = dict(self.columns), "--bad-limit 1 goes on with the others"
        if self.lost > limit * self.rows:
            raise ValueError(
                f"{origin}: {self.lost} of {self.rows} rows of {self.where} give no picture, more than the limit of "
                f"{limit:.0%} ({'; '.join(self.examples)}). Is it the table of these files, and does {names['image']} "
                f"name the picture (else --columns image=NAME)? {way_out}"
            )
        unlabelled = dict(self.skipped).get(NO_CLASS, 0)
        most = max(limit, TOO_MANY)
        if self.lost + unlabelled > most * self.rows:
            raise ValueError(
                f"{origin}: {unlabelled} of {self.rows} rows of {self.where} have no class in {names['class']}: too "
                f"many; name another column with --columns class=NAME; {way_out}"
            )
        if self.contradicting > most * self.pictures:
            raise ValueError(
                f"{origin}: rows of {self.where} contradict each other about {self.contradicting} of {self.pictures} "
                f"pictures: too many; several classes a picture are not learnt, one row a picture is; {way_out}"
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
