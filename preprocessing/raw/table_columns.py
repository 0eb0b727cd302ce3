"""Which column of a table is what: by its usual names, or as the user says."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mdhfl.preprocessing.raw.table_text import check_encoding

ROLES = ("image", "class", "group", "split")
ENCODING = "encoding"
# Usual names, compared without case, spaces and signs. Of several lines the first that a table has counts: a file's
# path is finer than an id, a patient comprises slides and lesions, and folds divide what a split leaves.
USUAL: Mapping[str, tuple[str, ...]] = {
    "image": (
        "file filename filepath path fullpath imagepath imagefile imagefilename imgpath imgfile",
        "image img imageid imgid imagename imgname imageindex isicid idcode",
        "id name",
    ),
    "class": (
        "class classname classlabel label labels labelname category target dx diagnosis diagnostic celltype "
        "finding findings findinglabels groundtruth",
    ),
    "group": (
        "patient patientid patientno patientnumber pid subject subjectid group groupid",
        "case caseid slide slideid lesion lesionid study studyid specimen specimenid",
    ),
    "split": ("split part set subset partition", "fold folds cvfold kfold"),
}
FOLDS = USUAL["split"][1]
PAIR = re.compile(rf",(?=\s*(?:{'|'.join((*ROLES, ENCODING))})\s*=)")
MOST_NAMED = 200  # characters of a header in a message


@dataclass(frozen=True)
class Columns:
    """Which column is what.

    Attributes:
        header: the table's own names.
        image: place of the column that names the picture.
        classes: place of the column with the class; or, one-hot, of several, each called as its class.
        group: place of the column of what must stay together, or None.
        split: place of the column with a part or a fold, or None.
    """

    header: tuple[str, ...]
    image: int
    classes: tuple[int, ...]
    group: int | None
    split: int | None

    def used(self) -> dict[str, str]:
        """Role -> the column's own name."""
        places = {"image": (self.image,), "class": self.classes, "group": (self.group,), "split": (self.split,)}
        return {
            role: "+".join(self.header[place] for place in found if place is not None)
            for role, found in places.items()
            if found and found[0] is not None
        }

    def unused(self) -> tuple[str, ...]:
        """Names of the others."""
        taken = {self.image, *self.classes, self.group, self.split}
        return tuple(name for place, name in enumerate(self.header) if place not in taken and name)


def parse_columns(text: str) -> dict[str, str]:
    """ "image=image_id,class=dx,group=" as role -> column; "" means that there is none.

    A column's name may hold commas. Beside the roles `encoding` may be named: what a text is written in.

    Raises:
        ValueError: another form, an unknown role, or no image or class.
    """
    asked: dict[str, str] = {}
    for pair in PAIR.split(text) if text.strip() else []:
        role, separator, name = (piece.strip() for piece in pair.partition("="))
        if not separator or role not in (*ROLES, ENCODING) or role in asked:
            raise ValueError(
                f"columns {text!r}: expected image=..., class=..., group=..., split=... (and encoding=...), each "
                "at most once, for example image=image_id,class=dx,group=lesion_id"
            )
        if not name and role not in ("group", "split"):
            raise ValueError(f"columns {text!r}: {role} has no column; only group= and split= may be empty: not used")
        asked[role] = check_encoding(name) if role == ENCODING else name
    return asked


def known_columns(header: Sequence[str], *, asked: Mapping[str, str]) -> int:
    """How many names of a header mean something: usual ones, and those that the user names."""
    usual = {name for lines in USUAL.values() for line in lines for name in line.split()}
    wanted = usual | {_key(name) for text in asked.values() for name in (text, *text.split("+"))} - {""}
    return sum(_key(name) in wanted for name in header)


def find_columns(header: Sequence[str], *, asked: Mapping[str, str], fold: str, where: str) -> Columns:
    """Which column is what.

    Args:
        header: the table's names, padded or not.
        asked: as of `parse_columns`.
        fold: the fold that becomes the test part; "": none, then a column of folds is no split if there is one.
        where: what errors call the table.

    Returns:
        The columns; without `classes` where no column is a class's by its name.

    Raises:
        ValueError: no image, a column that is not there, or several that may be meant; says the way out.
    """
    names = tuple(unicodedata.normalize("NFC", name.strip()) for name in header)
    places: dict[str, tuple[int, ...]] = {}
    for role in ROLES:
        if role in asked:
            places[role] = _asked_places(names, asked[role], role=role, where=where)
    taken = {place for found in places.values() for place in found}
    for role in ROLES:
        if role not in places:
            places[role] = _usual_places(names, role=role, taken=taken, fold=fold, where=where)
    if not places["image"]:
        raise ValueError(
            f"table {where}: no column that names the picture; expected one of file, filename, path, image, image_id, "
            f"got {_named(names)} in the first row; say which: --columns image=NAME"
        )
    group, split = places["group"], places["split"]
    return Columns(
        names,
        image=places["image"][0],
        classes=places["class"],
        group=group[0] if group else None,
        split=split[0] if split else None,
    )


def is_fold(name: str) -> bool:
    """Whether a column's name says that it holds folds."""
    return _key(name) in FOLDS.split()


def _asked_places(names: tuple[str, ...], text: str, *, role: str, where: str) -> tuple[int, ...]:
    if not text:
        return ()
    several = text.split("+") if role == "class" and not _places(names, text) else [text]
    found = []
    for name in several:
        places = _places(names, name.strip())
        if len(places) != 1:
            got = f"it has {len(places)} of that name" if places else f"it has {_named(names)}"
            raise ValueError(f"table {where}: --columns {role}={text}: no single column {name.strip()!r}: {got}")
        found += places
    return tuple(found)


def _places(names: tuple[str, ...], name: str) -> list[int]:
    exact = [place for place, one in enumerate(names) if one == name]
    return exact or [place for place, one in enumerate(names) if _key(name) and _key(one) == _key(name)]


def _usual_places(names: tuple[str, ...], *, role: str, taken: set[int], fold: str, where: str) -> tuple[int, ...]:
    found = [
        [place for place, name in enumerate(names) if place not in taken and _key(name) in line.split()]
        for line in USUAL[role]
    ]
    if role == "split" and fold:
        found.reverse()  # the folds were asked for
        if all(found):
            found = [[*found[0], *found[1]]]
    best = next((places for places in found if places), [])
    if len(best) > 1:
        ignore = f", or none: --columns {role}=" if role in ("group", "split") else ""
        raise ValueError(
            f"table {where}: {' and '.join(names[place] for place in best[:5])} may each be the {role}; say which: "
            f"--columns {role}={names[best[0]]}{ignore}"
        )
    return tuple(best)


def _key(name: str) -> str:
    """A column's name without case, spaces and signs: "Image ID", "image_id" and "ImageID" are one."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())


def _named(names: Sequence[str]) -> str:
    return ", ".join(name for name in names if name)[:MOST_NAMED] or "nothing"
