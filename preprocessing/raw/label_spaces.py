"""Label spaces: the ordered classes that a federation shares, and how each source's codes map to them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mdhfl.files import read_json, shipped_folder
from mdhfl.showing.texts import one_line

AUTO = "auto"
NAMES = "names"  # the map for sources without one of their own: folders, manifests


@dataclass(frozen=True)
class LabelSpace:
    """Classes in order, and one map of codes a source.

    Attributes:
        maps: source name -> code -> class, or None for a code that is dropped on purpose.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    maps: Mapping[str, Mapping[str, str | None]]


def label_space_names() -> list[str]:
    """Names of the label spaces that ship with mdhfl."""
    return sorted(path.stem for path in (shipped_folder("meta") / "label_spaces").glob("*.json"))


def load_label_space(name: str) -> LabelSpace:
    """A label space by name, or from a JSON file of your own in the same form.

    Raises:
        ValueError: no such name or file, or a file that is not a label space.
    """
    path = Path(name) if name.endswith(".json") else shipped_folder("meta") / "label_spaces" / f"{name}.json"
    if not path.is_file():
        raise ValueError(
            f"unknown label space {name!r}: expected one of {', '.join([AUTO, *label_space_names()])}, "
            "or the path of a JSON file like those in meta/label_spaces"
        )
    try:
        content = read_json(path)
        classes, maps = tuple(content["classes"]), content.get("sources", {})
        space = LabelSpace(name=content["name"], title=content.get("title", ""), classes=classes, maps=maps)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"label space {path}: expected JSON with name, classes and sources ({error!r})") from error
    _check(space, path)
    return space


def found_label_space(codes: Iterable[str], *, order: Sequence[str] = ()) -> LabelSpace:
    """The label space `auto`: the codes found, each spelling of a class once ("/" in a finer code becomes "_").

    Codes that differ in case, Unicode form, spaces or hyphens only are one class, called as most pictures call it;
    of equally common spellings the first in the alphabet.

    Args:
        codes: of all pictures, with repetitions.
        order: of codes, as a dataset gives it; what it does not name follows in natural order ("2" before "10").

    Raises:
        ValueError: fewer than two classes, or one without a name.
    """
    counts = Counter(codes)
    spellings: dict[str, Counter[str]] = {}
    for code in sorted(counts):
        name = _name_of(code)
        if not name:
            raise ValueError(f"label space auto: {counts[code]} picture(s) of a class without a name; give it a name")
        spellings.setdefault(plain(name), Counter())[name] += counts[code]
    names = {key: min(found, key=lambda name: (-found[name], name)) for key, found in spellings.items()}
    ranks = {plain(code): rank for rank, code in enumerate(order)}
    classes = tuple(sorted(names.values(), key=lambda name: (ranks.get(plain(name), len(ranks)), natural(name))))
    if len(classes) < 2:
        raise ValueError(f"label space auto: found the classes {list(classes)}, a federation needs at least 2")
    maps = {code: names[plain(_name_of(code))] for code in sorted(counts)}
    return LabelSpace(name=AUTO, title="the classes found in the data", classes=classes, maps={NAMES: maps})


def spelling_notes(codes: Iterable[str]) -> list[str]:
    """One sentence for each class that the codes spell in several ways."""
    counts = Counter(codes)
    spellings: dict[str, list[str]] = {}
    for code in sorted(counts):
        spellings.setdefault(plain(_name_of(code)), []).append(code)
    return [
        "one class in several spellings: " + ", ".join(f"{code!a} ({counts[code]} pictures)" for code in same)
        for same in spellings.values()
        if len(same) > 1
    ]


@lru_cache(1 << 16)
def plain(code: str) -> str:
    """What is left of a code where case, Unicode form, spaces and hyphens do not matter."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", code).casefold())
    return folded.strip().replace(" ", "_").replace("-", "_")


def natural(name: str) -> tuple[tuple[int, float, str], ...]:
    """A key that sorts numbers by their value, before words, and numbers within words by theirs."""
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", name):
        return ((0, float(name), name),)
    pieces = re.split("([0-9]+)", name)  # words and numbers in turns
    folded = [
        (2, 0.0, piece.casefold()) if place % 2 == 0 else (1, float(piece), "") for place, piece in enumerate(pieces)
    ]
    return (*folded, (3, 0.0, name))


def reduced(space: LabelSpace, *, classes: tuple[str, ...]) -> LabelSpace:
    """The label space with only these classes (in its own order); codes of the others are dropped.

    Raises:
        ValueError: a class that the space lacks, or fewer than two.
    """
    if not classes:
        return space
    strangers = [name for name in classes if name not in space.classes]
    if strangers or len(set(classes)) < 2:
        raise ValueError(
            f"classes {', '.join(classes)}: expected at least 2 of label space {space.name}: {', '.join(space.classes)}"
        )
    kept = tuple(name for name in space.classes if name in classes)
    gone = {name: None for name in space.classes if name not in classes}
    maps = {
        source: {**gone, **{code: name if name in kept else None for code, name in codes.items()}}
        for source, codes in {"names": {}, **space.maps}.items()
    }
    return LabelSpace(name=space.name, title=space.title, classes=kept, maps=maps)


def map_codes(codes: Iterable[str], *, source: str, space: LabelSpace) -> dict[str, int | None]:
    """The class index of each code of a source, None where it is dropped on purpose.

    A finer code ("ig/MMY") without an entry of its own counts as its coarser one ("ig"). Case, spaces and hyphens do
    not matter. A code that is a class's own name is that class.

    Raises:
        ValueError: codes without an entry: lists them and the ways out.
    """
    entries = {plain(name): name for name in space.classes}
    table: dict[str, str | None] = {**entries}
    table.update({plain(code): name for code, name in space.maps.get(source, space.maps.get(NAMES, {})).items()})
    mapped: dict[str, int | None] = {}
    unknown = []
    for code in sorted(set(codes)):
        key = plain(code)
        while key not in table and "/" in key:
            key = key.rpartition("/")[0]
        if key in table:
            name = table[key]
            mapped[code] = None if name is None else space.classes.index(name)
        else:
            unknown.append(code)
    if unknown:
        raise ValueError(
            f"source {source}: label space {space.name!r} has no entry for {len(unknown)} code(s): "
            f"{', '.join(unknown)}. "
            f"Known: {', '.join(sorted(table))}. Options: use --label-space auto for the classes as found; "
            "or copy the label space's JSON, add the codes (null drops one) and pass the file with --label-space; "
            "or rename the folders"
        )
    return mapped


def _name_of(code: str) -> str:
    return one_line(unicodedata.normalize("NFC", code).strip().replace("/", "_"))


def _check(space: LabelSpace, path: Path) -> None:
    if len(space.classes) < 2 or len({plain(name) for name in space.classes}) != len(space.classes):
        raise ValueError(f"label space {path}: expected at least 2 classes, each once, got {list(space.classes)}")
    if hidden := [name for name in space.classes if one_line(name) != name]:
        raise ValueError(f"label space {path}: class {hidden[0]!r}: expected visible characters; give it another name")
    for source, codes in space.maps.items():
        told: dict[str, str | None] = {}
        for code, name in codes.items():
            if told.setdefault(plain(code), name) != name:
                raise ValueError(
                    f"label space {path}: the map of {source} spells one code in two ways with two classes: {code!r}"
                )
        strangers = sorted({name for name in codes.values() if name is not None and name not in space.classes})
        if strangers:
            raise ValueError(
                f"label space {path}: the map of {source} names {', '.join(strangers)}, not among its classes "
                f"{', '.join(space.classes)}"
            )
