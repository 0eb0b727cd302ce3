"""Federation folders as the report reads them: what is missing is noted, not raised."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdhfl.files import read_json
from mdhfl.reports.runs import name_of
from mdhfl.showing.texts import shown


@dataclass(frozen=True, kw_only=True)
class Federation:
    """What is left of a federation folder; its texts are `shown`.

    Attributes:
        folder: where the runs say it is.
        place: its name among the federations of a report.
        card: the content of federation.json; empty if it is not there.
        sites: site -> the content of its card.json.
        public: the public set's card; empty if it is not there.
        overview: contact sheets and charts.
        notes: what is missing and why.
    """

    folder: str
    place: str
    card: Mapping[str, Any] = field(default_factory=dict)
    sites: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    public: Mapping[str, Any] = field(default_factory=dict)
    overview: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.card.get("name") or self.place)


def read_report_federation(folder: str) -> Federation:
    """Read the cards of a federation; what is missing is noted, not raised."""
    place = Path(folder)
    name = name_of(place)
    if (place / "card.json").is_file():
        return _read_own_data(place)
    if not folder or not place.is_dir():
        missing = f"The federation folder {name if folder else '(unknown)'} is not there (moved?)."
        return Federation(folder=folder, place=name, notes=(missing,))
    notes: list[str] = []
    card = _read_if_possible(place / "federation.json", notes)
    names = [str(site) for site in card.get("sites", ())]
    if not names and (place / "sites").is_dir():
        names = sorted(path.name for path in (place / "sites").iterdir() if path.is_dir())
    cards = {name: _read_if_possible(place / "sites" / name / "card.json", notes) for name in names}
    return Federation(
        folder=folder,
        place=name,
        card=card,
        sites={name: content for name, content in cards.items() if content},
        public=_read_if_possible(place / "public" / "card.json", notes),
        overview=tuple(sorted((place / "overview").glob("*.png"))),
        notes=tuple(shown(note, roots=(place,)) for note in notes),
    )


def _read_own_data(place: Path) -> Federation:
    """Read the card of one site's data, all that the site itself has of a federation."""
    notes: list[str] = []
    card = _read_if_possible(place / "card.json", notes)
    source = {"name": ", ".join(card.get("source", ())), **{name: card.get(name) for name in ("licence", "citation")}}
    sites = {str(card["site"]): card} if "site" in card else {}
    return Federation(
        folder=str(place),
        place=name_of(place),
        card={"sources": [source], "classes": card.get("classes", [])},
        sites=sites,
        notes=tuple(notes),
    )


def _read_if_possible(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return dict(shown(read_json(path)))
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        notes.append(f"{path} is {'missing' if missing else 'unreadable: ' + str(error)}.")
        return {}
