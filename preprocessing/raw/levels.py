"""What each folder level above the pictures means: the class, the patient, the split. Found from the names, or told."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mdhfl.preprocessing.raw.label_spaces import natural, plain
from mdhfl.preprocessing.raw.table_values import PART_NAMES
from mdhfl.showing.texts import one_line

CLASS, GROUP, SPLIT, NOTHING = "class", "group", "split", "*"
ROLES = (CLASS, GROUP, SPLIT, NOTHING)
NAMING = ("words", "codes")  # kinds of levels that tell pictures apart
NAMED = 4  # folders of a level in a message
SETTING = re.compile(r"\d+(\.\d+)?_?x|x_?\d+|fold_?\d+")  # magnifications, folds
THINGS = "data|folder|images?|imgs?|seg|set|split"  # what the name of a split may say beside it: "train_images"
SPLIT_NAME = re.compile(rf"(?:(?:{THINGS})_)?({'|'.join(PART_NAMES)})(?:_?(?:{THINGS}))?")
WORD = re.compile(r"[^\W\d_]{3,}")
HEXADECIMAL = re.compile(r"[0-9a-f_]{8,}")
MOST = 0.9  # of the pictures that the fullest level holds: a level with fewer is not the class of all

Folders = tuple[str, ...]  # above a picture, from the top
Roles = tuple[str, ...]  # of the levels, from the top


def parse_levels(text: str) -> Roles:
    """ "split/class/group" as roles.

    Raises:
        ValueError: another word, or not exactly one class.
    """
    roles = tuple(part.strip().lower() for part in text.split("/"))
    once = all(roles.count(role) <= 1 for role in (GROUP, SPLIT)) and roles.count(CLASS) == 1
    if not once or not set(roles) <= set(ROLES):
        raise ValueError(
            f"levels {text!r}: expected a word for each folder level, from the top of the raw data: class once, group "
            "and split at most once, * for nothing; for example split/class/group"
        )
    return roles


def split_of(name: str) -> str | None:
    """The part that a folder's name tells: of "train", "TestSet" or "val images"; None: none."""
    found = SPLIT_NAME.fullmatch(plain(name))
    return PART_NAMES[found.group(1)] if found else None


def find_levels(chains: Mapping[Folders, int]) -> Roles:
    """The role of each folder level.

    A level with one name means nothing. A level of split names is the split. Levels of numbers or codes are not the
    class where another level has words; the highest level that is left beside the class is the group: what lies
    below a patient belongs to the patient.

    Args:
        chains: how many pictures lie in each folder; takes time in proportion to the folders.

    Raises:
        ValueError: several levels may be the class, or the split: names them and the way out.
    """
    levels = _levels(chains)
    splits = [level for level in levels if level.kind == SPLIT]
    rivals = _rivals(levels, chains=chains)
    mixed = [level for level in levels if level.mixed]
    if len(rivals) > 1 or len(splits) > 1 or mixed:
        raise ValueError(_ambiguous(levels, rivals=rivals, splits=splits, mixed=mixed))
    roles = [SPLIT if level in splits else CLASS if level in rivals else NOTHING for level in levels]
    others = _distinct([level for level in levels if level.kind in NAMING], chains=chains)
    group = next((level for level in others if level not in rivals), None)
    if group is not None:
        roles[group.number - 1] = GROUP
    while roles and roles[-1] == NOTHING:
        roles.pop()
    return tuple(roles)


def level_notes(chains: Mapping[Folders, int], roles: Roles) -> tuple[str, ...]:
    """What the levels were taken for, in sentences."""
    levels = _levels(chains)
    told = [f"{role}: {some(level.shown)}" for role, level in zip(roles, levels, strict=False) if role != NOTHING]
    simple = {GROUP, SPLIT}.isdisjoint(roles) and len([level for level in levels if level.kind != "one"]) == 1
    notes = [] if simple else [f"folder levels {'/'.join(roles)}; {'; '.join(told)}"]
    notes += [
        f"everything lies below {level.shown[0]!r}: taken for a name, not for a split"
        for role, level in zip(roles, levels, strict=False)
        if role == NOTHING and level.kind == "one" and split_of(level.shown[0])
    ]
    return tuple(notes)


def some(names: Sequence[str]) -> str:
    """A few names, and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(one_line, names[:NAMED])) + more


@dataclass(frozen=True)
class _Level:
    """One folder level.

    Attributes:
        number: from 1, the top.
        shown: its names, as they are written.
        kind: "one" name, "split", "setting", "codes" or "words".
        mixed: names of splits are among others.
        pictures: that lie below it.
    """

    number: int
    shown: tuple[str, ...]
    kind: str
    mixed: bool
    pictures: int

    def __str__(self) -> str:
        return f"level {self.number} ({some(self.shown)})"


def _levels(chains: Mapping[Folders, int]) -> list[_Level]:
    names: list[dict[str, Counter[str]]] = [{} for _ in range(max(map(len, chains), default=0))]
    pictures = [0] * len(names)
    for chain, count in sorted(chains.items()):
        for place, name in enumerate(chain):
            names[place].setdefault(plain(name), Counter())[name] += count
            pictures[place] += count
    kinds = [_kind(found) for found in names]
    return [
        _Level(place + 1, _shown(names[place].values()), kind, mixed, pictures[place])
        for place, (kind, mixed) in enumerate(zip(kinds, _mixed(names, kinds, chains=chains), strict=True))
    ]


def _shown(spellings: Iterable[Counter[str]]) -> tuple[str, ...]:
    """Each name as most pictures spell it."""
    return tuple(sorted((found.most_common(1)[0][0] for found in spellings), key=natural))


def _mixed(names: Sequence[Iterable[str]], kinds: Sequence[str], *, chains: Iterable[Folders]) -> list[bool]:
    """Which levels have splits beside other names: several, or one with folders below it that tell pictures apart."""
    splits = [
        set(filter(split_of, found)) if kind in NAMING else set() for found, kind in zip(names, kinds, strict=True)
    ]
    mixed = [len(found) > 1 for found in splits]
    for chain in chains:
        for place in range(len(chain) - 1):
            if splits[place] and plain(chain[place]) in splits[place]:
                mixed[place] |= any(kind in (*NAMING, SPLIT) for kind in kinds[place + 1 : len(chain)])
    return mixed


def _kind(names: Collection[str]) -> str:
    if len(names) == 1:
        return "one"
    if all(map(split_of, names)):
        return SPLIT
    if all(SETTING.fullmatch(name) for name in names):
        return "setting"
    numbered = all(re.search(r"\d", name) for name in names)
    words = {"" if HEXADECIMAL.fullmatch(name) else max(WORD.findall(name), key=len, default="") for name in names}
    return "codes" if numbered and len(words) <= len(names) / 2 else "words"


def _rivals(levels: Sequence[_Level], *, chains: Mapping[Folders, int]) -> list[_Level]:
    """The levels that may be the class; of several there is no telling."""
    total = sum(chains.values())
    naming = _distinct([level for level in levels if level.kind in NAMING], chains=chains)
    if any(level.kind == "words" and level.pictures > total / 2 for level in naming):
        naming = [level for level in naming if level.kind == "words"]
    others = [level for level in levels if level.kind == "setting"]
    if not naming and not others:
        return [level for level in levels if level.kind == "one" and level.pictures == levels[0].pictures][-1:]
    most = max(level.pictures for level in naming or others)
    rivals = [level for level in naming or others if level.pictures >= MOST * most]
    if len(rivals) > 1 and all(level.kind == "codes" for level in rivals) and _nested(rivals, chains=chains):
        return rivals[:1]
    return rivals


def _distinct(levels: Sequence[_Level], *, chains: Iterable[Folders]) -> list[_Level]:
    """The levels without those that only repeat the names of the one above: a folder in a folder of the same name."""
    repeats = {level.number for level in levels[1:]}
    for chain in chains:
        for above, level in pairwise(levels):
            if len(chain) >= level.number and plain(chain[above.number - 1]) != plain(chain[level.number - 1]):
                repeats.discard(level.number)
    return [level for level in levels if level.number not in repeats]


def _nested(levels: Sequence[_Level], *, chains: Mapping[Folders, int]) -> bool:
    """Whether each name of the lower levels lies below a single name of the highest, and there are more of them."""
    top = levels[0]
    for level in levels[1:]:
        above = defaultdict(set)
        for chain in chains:
            if len(chain) >= level.number:
                above[plain(chain[level.number - 1])].add(plain(chain[top.number - 1]))
        if len(above) <= len(top.shown) or any(len(names) > 1 for names in above.values()):
            return False
    return True


def _ambiguous(
    levels: Sequence[_Level], *, rivals: Sequence[_Level], splits: Sequence[_Level], mixed: Sequence[_Level]
) -> str:
    doubts = []
    if len(rivals) > 1:
        doubts.append(f"the class may be {' or '.join(map(str, rivals))}")
    if len(splits) > 1:
        doubts.append(f"the split may be {' or '.join(map(str, splits))}")
    doubts += [f"{level} has names of splits beside others" for level in mixed]
    codes = [level for level in levels if level.kind == "codes" and level not in rivals[:1]]
    example = "/".join(
        SPLIT if level in splits[:1] else CLASS if level in rivals[:1] else GROUP if level in codes[:1] else NOTHING
        for level in levels
    )
    return (
        f"source folder: {'; '.join(doubts)}. Say what each of the {len(levels)} folder levels is, from the top, with "
        f"--levels (class, group, split, or * for nothing), for example --levels '{example}'"
    )
