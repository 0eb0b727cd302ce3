"""The messages of honest runs, sent again with an attack put in: what it does to the lesson, and when it is named.

No training: it takes seconds. What a lesson does to models, only whole runs tell (`poison.py`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from experiments.attacks import ATTACKS, Values
from experiments.document import ROOT, table
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.watch import NOBODY, Looks, watched
from mdhfl.showing.sheets import read_csv, to_csv

REPLAYED = ROOT / "experiments" / "poison_replay.csv"
FIELDS = ("split", "seed", "attack", "defence", "moved", "named_in", "false_alarms", "looked_at")
NONE = "none"
DEFENCES: Mapping[str, tuple[str, str]] = {  # title -> rule of the teacher, what the watch does
    "mean": ("mean", "tell"),
    "trimmed": ("trimmed", "tell"),
    "median": ("median", "tell"),
    "filter": ("filter", "tell"),
    "weigh": ("mean", "weigh"),
    "put aside": ("mean", "put_aside"),
}
Messages = Mapping[int, Mapping[str, Knowledge]]  # round -> site -> what it said


def keep_messages(path: Path, rounds: Iterable[Round]) -> None:
    """Write what every site said in every round of a run."""
    kept: dict[str, Any] = {}
    for finished in rounds:
        for site, said in finished.shared.items():
            assert isinstance(said, Knowledge)
            kept[f"{finished.number} {site}"] = said.values
            if said.competences is not None:
                kept[f"{finished.number} {site} competences"] = said.competences
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **kept)


def read_messages(path: Path) -> Messages:
    """Read what `keep_messages` wrote."""
    found: dict[int, dict[str, Knowledge]] = {}
    with np.load(path, allow_pickle=False) as kept:
        for name in kept.files:
            if (parts := re.fullmatch(r"(\d+) (\S+)", name)) is None:
                continue
            values, told = kept[name], f"{name} competences"
            found.setdefault(int(parts[1]), {})[parts[2]] = Knowledge(
                values=values,
                subject=Subject(
                    kind="probabilities",
                    public_digest="0" * 64,
                    public_count=len(values),
                    classes=tuple(f"class {c}" for c in range(values.shape[1])),
                ),
                site=parts[2],
                round=int(parts[1]),
                competences=kept[told] if told in kept.files else None,
            )
    return found


def replay_all(folder: Path) -> None:
    """Replay every run whose messages are there and that is not in the CSV yet."""
    done = {(row["split"], row["seed"]) for row in (read_csv(REPLAYED) if REPLAYED.is_file() else [])}
    for path in sorted(folder.glob("*.npz")):
        split, seed = path.stem.split("-")
        if (split, seed) not in done:
            append(REPLAYED, FIELDS, [{"split": split, "seed": seed, **row} for row in replay(read_messages(path))])


def replay(messages: Messages) -> Iterator[dict[str, Any]]:
    """Yield a row for each attack by the last site, and each defence."""
    attacker = max(messages[0])
    for attack in (NONE, *ATTACKS):
        sent = {number: _attacked(said, attack, attacker, number) for number, said in messages.items()}
        for defence, (rule, mode) in DEFENCES.items():
            yield {
                "attack": attack,
                "defence": defence,
                **_judged(sent, attack, attacker, MdhflPlus(robust=rule), mode),
            }


def _attacked(said: Mapping[str, Knowledge], attack: str, attacker: str, number: int) -> dict[str, Knowledge]:
    if attack == NONE:
        return dict(said)
    others = {site: knowledge.values.astype(np.float64) for site, knowledge in said.items() if site != attacker}
    own = said[attacker]
    values = ATTACKS[attack](own.values.astype(np.float64), number, others, np.random.default_rng(number))
    changed = Knowledge(
        values=values.astype(np.float32),
        subject=own.subject,
        site=attacker,
        round=number,
        competences=own.competences,
    )
    return {**said, attacker: changed}


def _judged(sent: Messages, attack: str, attacker: str, method: MdhflPlus, mode: str) -> dict[str, Any]:
    """Return how far the lesson is from that without the site, mean over rounds from 1 on, and what the watch named."""
    looks: Looks = NOBODY
    moved, stood = [], []
    for number, said in sorted(sent.items()):
        looks = watched(said, before=looks, sites=tuple(sorted(said)), number=number, mode=mode)
        stood += [(site, number) for site, look in looks.items() if look.stands_out]
        trust = {site: look.trust for site, look in looks.items()}
        heard = {site: knowledge for site, knowledge in said.items() if trust[site] > 0}
        without = {site: knowledge for site, knowledge in said.items() if site != attacker}
        if number:
            moved.append(_distance(_lesson(method, heard, trust), _lesson(MdhflPlus(), without, {})))
    named = [number for site, number in stood if site == attacker]
    spared = {attacker} if attack != NONE else set()
    if attack == "copy":
        spared.add(min(sent[0]))  # the original is named with its copy
    honest = [site for site in sent[0] if site not in spared]
    return {
        "moved": round(100 * mean(moved), 3),
        "named_in": ("" if attack == NONE else min(named, default="never")),
        "false_alarms": sum(site in honest for site, _ in stood),
        "looked_at": len(honest) * len(sent),
    }


def _lesson(method: MdhflPlus, said: Mapping[str, Knowledge], trust: Mapping[str, float]) -> Values:
    lesson = method.combine(said, sites=("",), trust=trust)[""]
    rows: Values = (lesson.values / lesson.total).astype(np.float64)  # type: ignore[attr-defined]
    normed: Values = rows / rows.sum(axis=1, keepdims=True)
    return normed


def _distance(first: Values, second: Values) -> float:
    return float(np.abs(first - second).sum(axis=1).mean() / 2)


def append(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a CSV, with its head if it is new."""
    head, _, lines = to_csv(list(rows), columns=names).partition("\n")
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(lines if path.stat().st_size else f"{head}\n{lines}")


def replay_table() -> str:
    """Return attack x defence: how far the lesson moves, in percent; and in which rounds the site was named."""
    rows = read_csv(REPLAYED) if REPLAYED.is_file() else []
    head = ["the last site sends", *DEFENCES, "named in round", "false alarms"]
    lines = []
    for attack in (NONE, *ATTACKS):
        own = [row for row in rows if row["attack"] == attack]
        if not own:
            continue
        cells = [mean(float(row["moved"]) for row in own if row["defence"] == defence) for defence in DEFENCES]
        seen = [row for row in own if row["defence"] == "mean"]
        named = {split: _named(seen, split) for split in dict.fromkeys(row["split"] for row in seen)}
        alarms, looked = (sum(int(row[name]) for row in seen) for name in ("false_alarms", "looked_at"))
        shown = "; ".join(f"{split}: {rounds}" for split, rounds in sorted(named.items()) if rounds) or "-"
        lines.append([attack, *(f"{c:.1f}" for c in cells), shown, f"{alarms} of {looked}"])
    return table([head, *lines])


def _named(rows: Sequence[Mapping[str, str]], split: str) -> str:
    """Return the rounds in which the attacker was named, a seed each."""
    return ", ".join(row["named_in"] for row in rows if row["split"] == split and row["named_in"])
