"""The report's first pictures: cells with wrong labels, what was exchanged, what sharing changed. Plain values.

They need the images and what the sites keep to themselves, so they are there only where a run was simulated.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.files import read_json
from mdhfl.methods import create
from mdhfl.methods.knowledge_method import KnowledgeMethod
from mdhfl.reports.federations import Federation
from mdhfl.reports.gallery import photo
from mdhfl.reports.groups import Comparison, Group, is_alone
from mdhfl.reports.runs import Run
from mdhfl.runs.folder import site_folder_path
from mdhfl.server.shared_file import load_shared, shared_path
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.showing.texts import shown
from mdhfl.site.answers import Answers, load_answers
from mdhfl.store.sealed import Damaged

MOST_SITES = 4  # with pictures of their own
LABELLED = 8  # training images shown of a site, half of them with wrong labels
ASKED = 3  # public images shown
TURNED = 8  # test images shown of a site whose answer turned

Matrix = NDArray[np.float64]


def story_view(
    groups: Sequence[Group], comparisons: Sequence[Comparison], federations: Mapping[str, Federation]
) -> dict[str, Any]:
    """Return the pictures of the first federation, of the first run that shares, and of the first comparison."""
    sharing = [c.sharing for c in comparisons] or [group for group in groups if not is_alone(group.method)]
    exchanges = ({"label": g.label, "found": exchange(g.runs[0], federations[g.federation])} for g in sharing)
    changes = ({"comparison": c, "rows": turned(c, federations[c.federation])} for c in comparisons)
    return {
        "labels": label_rows(federations[groups[0].federation]),
        "exchange": next((one for one in exchanges if one["found"]), None),
        "turned": next((one for one in changes if one["rows"]), None),
    }


def label_rows(federation: Federation) -> list[dict[str, Any]]:
    """Return per site training images with the labels that they were given; half of them wrong ones, if there are."""
    rows = []
    for site in list(federation.sites)[:MOST_SITES]:
        folder, classes = Path(federation.folder) / "sites" / site, _classes(federation.sites[site])
        listed = _listed(folder, "training")
        wrong = [item for item in listed if item.get("clean_label", item["label"]) != item["label"]]
        right = [item for item in listed if item not in wrong]
        chosen = [*_spread(wrong, LABELLED // 2), *_spread(right, LABELLED - min(len(wrong), LABELLED // 2))]
        tiles = [
            {
                "source": source,
                "label": _name(classes, item["label"]),
                "clean": _name(classes, item.get("clean_label", item["label"])),
                "wrong": item in wrong,
            }
            for item in chosen
            if (source := photo(folder / str(item["image"])))
        ]
        if tiles:
            rows.append({"site": site, "tiles": tiles, "wrong": len(wrong), "all": len(listed)})
    return rows


def exchange(run: Run, federation: Federation) -> dict[str, Any] | None:
    """Return public images with what each site said of them in the last round, and what the teacher made of it."""
    found = _shared(run)
    if found is None:
        return None
    said, taught = found
    folder = Path(federation.folder) / "public"
    listed = _listed(folder, "public")
    names = list(said)
    answers = np.stack([values[: len(listed)] for values in said.values()])
    if answers.shape[1] != len(listed):
        return None
    rows = []
    for index in _disputed(answers, taught[: len(listed)]):
        source = photo(folder / str(listed[index]["image"]))
        if source:
            voices = [_voice(name, answers[k, index], run) for k, name in enumerate(names[:MOST_SITES])]
            rows.append({"source": source, "voices": voices, "teacher": _voice("teacher", taught[index], run)})
    return {"round": run.last_round, "rows": rows, "more": max(0, len(names) - MOST_SITES)} if rows else None


def turned(comparison: Comparison, federation: Federation) -> list[dict[str, Any]]:
    """Return per site the test images whose answer sharing turned right or wrong, against training alone."""
    pairs = [(run, alone) for run in comparison.sharing.runs if (alone := comparison.alone_of(run))]
    rows = []
    for site in pairs[0][0].sites[:MOST_SITES] if pairs else ():
        folder = Path(federation.folder) / "sites" / site
        listed, classes = _listed(folder, "test"), _classes(federation.sites.get(site, {}))
        both = [answers_kept(run, site) for run in pairs[0]]
        tests = [found.test for found in both if found is not None and len(found.test) == len(listed)]
        if len(tests) < 2 or not listed:
            continue
        truth = np.array([item["label"] for item in listed])
        sharing, alone = (test.argmax(axis=1) for test in tests)
        won, lost = np.flatnonzero((sharing == truth) & (alone != truth)), (sharing != truth) & (alone == truth)
        chosen = [*_spread(won.tolist(), TURNED // 2), *_spread(np.flatnonzero(lost).tolist(), TURNED // 2)]
        tiles = [
            {
                "source": source,
                "clean": _name(classes, truth[index]),
                "sharing": _name(classes, sharing[index]),
                "alone": _name(classes, alone[index]),
                "won": bool(sharing[index] == truth[index]),
            }
            for index in chosen
            if (source := photo(folder / str(listed[index]["image"])))
        ]
        rows.append({"site": site, "won": len(won), "lost": int(lost.sum()), "all": len(listed), "tiles": tiles})
    return rows


def answers_kept(run: Run, site: str) -> Answers | None:
    """Return what a simulated site's last models answer, None where it has not kept it."""
    with suppress(Damaged):
        return load_answers(site_folder_path(run.folder, experiment=str(run.experiment.get("id", "")), site=site))
    return None


def _shared(run: Run) -> tuple[dict[str, Matrix], Matrix] | None:
    """Return what each site said in the last round, as probabilities, and what is taught from it."""
    try:
        method = create(run.method, run.experiment["parameters"])
        shared = load_shared(shared_path(run.folder, run.last_round), number=run.last_round)
    except (Damaged, ValueError, TypeError, KeyError):
        return None
    said = {site: found for site, found in sorted(shared.items()) if isinstance(found, Knowledge)}
    if not said or not isinstance(method, KnowledgeMethod):
        return None
    taught = method.common_teacher(said)
    kinds = {found.subject.kind for found in said.values()}
    if taught is None or len(kinds) > 1:
        return None
    logits = kinds == {"logits"}
    return {site: _probabilities(found.values, logits) for site, found in said.items()}, _probabilities(taught, logits)


def _probabilities(values: NDArray[np.floating], logits: bool) -> Matrix:
    found: Matrix = values.astype(np.float64)
    if logits:
        found = np.exp(found - found.max(axis=1, keepdims=True))
        found /= found.sum(axis=1, keepdims=True)
    return found


def _disputed(answers: Matrix, taught: Matrix) -> list[int]:
    """Return the indices of the images that the (P, N, C) answers differ most about, each of another taught class."""
    spread = answers.std(axis=0).sum(axis=1)
    chosen: dict[int, int] = {}
    for index in np.argsort(-spread, kind="stable"):
        chosen.setdefault(int(taught[index].argmax()), int(index))
        if len(chosen) == ASKED:
            break
    return list(chosen.values())


def _voice(name: str, row: Matrix, run: Run) -> dict[str, Any]:
    top = int(row.argmax())
    return {
        "name": name,
        "architecture": "" if name == "teacher" else run.architecture(name),
        "answer": _name(run.classes, top),
        "percent": round(100 * float(row[top])),
    }


def _listed(folder: Path, part: str) -> list[Mapping[str, Any]]:
    """Return the items of a datalist's part, none where there is no such list."""
    try:
        listed = read_json(folder / "datalist.json")[part]
        return [item for item in listed if isinstance(item, Mapping) and "image" in item]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _classes(card: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in card.get("classes", ()))


def _name(classes: Sequence[str], index: Any) -> str:
    known = isinstance(index, int | np.integer) and 0 <= index < len(classes)
    return str(shown(classes[index])) if known else "?"


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """Return at most so many items, evenly spread over all."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] if count > 1 else items[0] for i in range(count)]
