"""What is recorded of a round, a row a site, and what a run's rows come to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mdhfl.metrics import HEADLINES, SCORES, scores_from
from mdhfl.sharing.accounts import Control, Validation
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, divergence
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.packing import payload_bytes
from mdhfl.sharing.watch import Look

PAIRWISE_SITES = 50  # divergences between all pairs are recorded up to this many sites
COSTS = ("bytes_up", "bytes_down", "seconds")


def rows_of(finished: Round) -> list[dict[str, Any]]:
    """Turn a round into rows, one per site, as written to `results.jsonl`."""
    between = _divergences({s: said for s, said in finished.shared.items() if isinstance(said, Knowledge)})
    down = {id(request): payload_bytes(request) for request in finished.requests.values()}
    rows = [
        row_of(answer, divergences=between.get(site), down=down[id(finished.requests[site])])
        for site, answer in finished.answers.items()
    ]
    looks = {site: {"watch": look.to_plain()} for site, look in finished.looks.items()}
    return [{**row, **looks.get(row["site"], {})} for row in rows]


def row_of(answer: Answer, *, divergences: Mapping[str, float] | None, down: int) -> dict[str, Any]:
    """Turn an answer into a row.

    Args:
        answer: a site's.
        divergences: other site -> mean KL(other || site); None where there are none.
        down: bytes of the request.
    """
    row: dict[str, Any] = {"round": answer.round, "site": answer.site, "status": "ok", "reason": None}
    if answer.refusal or answer.about is None:
        return {**row, "status": "refused", "reason": answer.refusal}
    return {
        **row,
        "losses": asdict(answer.losses),
        "validation": _scores(answer.validation),
        "test": _test(answer),
        "divergence": dict(divergences) if divergences is not None else None,
        "seconds": dict(answer.cost.seconds),
        "bytes": {
            "up": payload_bytes(answer) + answer.cost.peers_up,
            "down": down + answer.cost.peers_down,
        },
        "best": answer.best,
        "about": answer.about.to_plain(),
        **({"control": _control(answer.control)} if answer.control else {}),
    }


def _control(control: Control) -> dict[str, Any]:
    """Return how a site's twin does, and what sharing brought, as in a row."""
    return {
        "validation": asdict(control.validation),
        "test": _test(control),
        **{name: getattr(control, name) for name in ("difference", "low", "high", "harmed")},
    }


def _test(told: Answer | Control) -> dict[str, Any]:
    """Return the scores on the test part as far as a site told them, None where it did not."""
    if told.confusion is None:
        return {**_scores(told.test), "recall": None, "confusion": None}
    scores = scores_from(told.confusion, ece=told.test_ece)
    return {name: getattr(scores, name) for name in (*SCORES, "recall", "confusion")}


def _scores(told: Validation | None) -> dict[str, float | None]:
    return dict.fromkeys(SCORES) if told is None else asdict(told)


def _divergences(knowledge: Mapping[str, Knowledge]) -> dict[str, dict[str, float]]:
    """Return site -> other -> mean KL(other || site) over the public set; nothing for logits or too many sites."""
    names = sorted(name for name, k in knowledge.items() if k.subject.kind == "probabilities")
    if not names or len(names) > PAIRWISE_SITES:
        return {}
    values = np.stack([knowledge[name].values for name in names])
    matrix = divergence(values, values)
    return {
        site: {other: float(matrix[j, k]) for j, other in enumerate(names) if j != k} for k, site in enumerate(names)
    }


def whole_rounds(rows: Sequence[Mapping[str, Any]], *, sites: Sequence[str]) -> list[dict[str, Any]]:
    """Keep the rows of rounds 0, 1, ... up to the last one that has a row for every site."""
    kept: list[dict[str, Any]] = []
    number = 0
    while True:
        found = [dict(row) for row in rows if row["round"] == number]
        if {row["site"] for row in found} != set(sites):
            return kept
        kept += found
        number += 1


def summary_of(
    rows: Sequence[Mapping[str, Any]], *, experiment: Mapping[str, Any], sites: Sequence[str], last_round: int
) -> dict[str, Any]:
    """Summarise recorded rows: per site the last round's scores on the clean test part, and the mean over sites.

    Args:
        rows: of `results.jsonl`, whole or not.
        experiment: its record: id, method, parameters, engine, seed, federation; what is missing stays out.
        sites: all of them, in order.
        last_round: the number of the experiment's last round.
    """
    found = {site: _site_summary([row for row in rows if row["site"] == site]) for site in sites}
    answered = [site for site in found.values() if "round" in site]
    rounds = max((int(row["round"]) for row in rows), default=0)
    kept = ("id", "method", "parameters", "engine", "seed", "federation")
    return {
        "version": 1,
        **{name: experiment[name] for name in kept if name in experiment},
        "rounds": rounds,
        "sites": found,
        "mean": {name: _mean([site[name] for site in answered]) for name in (*SCORES, *COSTS)} if answered else {},
        "status": "finished" if rows and rounds == last_round else "unfinished",
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _site_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    good = [row for row in rows if row["status"] == "ok"]
    refused = [{"round": row["round"], "reason": row["reason"]} for row in rows if row["status"] != "ok"]
    stood_out = stood_out_in(rows)
    if not good:
        return {"accuracy": None, "refused": refused, **stood_out}
    last = good[-1]
    best = next((row for row in reversed(good) if row.get("best")), last)  # the last one that beat those before it
    bytes_ = {way: sum((row.get("bytes") or {}).get(way, 0) for row in good) for way in ("up", "down")}
    return {
        **(last.get("about") or {}),
        **{name: (last.get("test") or {}).get(name) for name in (*SCORES, "recall")},
        "round": last["round"],
        "best": {"round": best["round"], **{name: (best.get("test") or {}).get(name) for name in HEADLINES}},
        "bytes_up": bytes_["up"],
        "bytes_down": bytes_["down"],
        "seconds": round(sum(sum(seconds_of(row).values()) for row in good), 3),
        "refused": refused,
        **stood_out,
    }


def stood_out_in(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the watch found against a site in these rows, and whether it is put aside; nothing if nothing."""
    looks = [(int(row["round"]), Look.from_plain(row["watch"])) for row in rows if row.get("watch")]
    found = [{"round": number, "reason": look.text} for number, look in looks if look.stands_out]
    aside = bool(looks) and looks[-1][1].aside
    return {"stood_out": found, "aside": aside} if found or aside else {}


def seconds_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return a row's seconds by phase; what is not a number is left out."""
    found = (row.get("seconds") or {}).items()
    return {phase: float(value) for phase, value in found if isinstance(value, int | float)}
