"""Licence and citation of what a card describes: the sources' own, or what the user says of own data."""

from collections.abc import Iterable
from dataclasses import dataclass

from mdhfl.preprocessing.raw.records import SourceCard
from mdhfl.preprocessing.sources import find_source


@dataclass(frozen=True)
class Provenance:
    """What the user says of data whose source states nothing; None: nothing either."""

    licence: str | None = None
    citation: str | None = None

    def of(self, sources: Iterable[str]) -> dict[str, str]:
        """Licence and citation of data from some sources."""
        cards = [find_source(name).card for name in sources]
        return {
            "licence": "; ".join(sorted({self._licence(card) for card in cards})),
            "citation": "; ".join(sorted({self._citation(card) for card in cards})),
        }

    def facts(self, source: str) -> dict[str, str]:
        """Everything that is to be known about one source."""
        card = find_source(source).card
        return {
            "name": card.name,
            "title": card.title,
            "licence": self._licence(card),
            "citation": self._citation(card),
            "url": card.url,
        }

    def _licence(self, card: SourceCard) -> str:
        return card.licence if card.is_stated or self.licence is None else self.licence

    def _citation(self, card: SourceCard) -> str:
        return card.citation if card.is_stated or self.citation is None else self.citation
