"""Realistic run folders and federation cards for tests of whatever reads them; no images, no training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl.server.journal import lines_of
from mdhfl.store.sealed import write_sealed_json

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
SITES = ("site-1", "site-2", "site-3", "site-4")
BUNDLES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")
PARAMETERS = {
    "mdhfl": {
        "warm_up_epochs": 1,
        "local_epochs": 1,
        "align_epochs": 1,
        "temperature": 1.0,
        "ce_weight": 0.1,
        "rce_weight": 1.0,
    },
    "local": {"warm_up_epochs": 1, "local_epochs": 1, "ce_weight": 1.0, "rce_weight": 0.0},
}
SCORES = ("accuracy", "macro_f1", "balanced_accuracy", "ece")


def write_federation(
    folder: Path,
    *,
    sites: Sequence[str] = SITES,
    classes: Sequence[str] = CLASSES,
    noise: str = "symmetric",
    lacking: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write federation.json and the cards; `lacking` says which classes a site has no training image of."""
    rng = np.random.default_rng(0)
    card = {
        "version": 1,
        "name": folder.name,
        "classes": list(classes),
        "label_space": "test",
        "image_size": 32,
        "public": {"count": 500, "digest": "ab" * 32},
        "sites": {site: {"training": 100, "validation": 20, "test": 40, "digest": "cd" * 32} for site in sites},
        "sources": [
            {"name": "synthetic", "title": "Drawn cells", "licence": "Apache-2.0", "citation": "none", "url": ""}
        ],
        "arguments": {"seed": 0, "noise": noise},
        "skipped": 0,
        "duplicates": 0,
        "prepared_with": {"mdhfl": "0.1.0"},
    }
    _write(folder / "federation.json", card)
    for site in sites:
        without = list((lacking or {}).get(site, ()))
        counts = {name: 0 if name in without else int(rng.integers(10, 90)) for name in classes}
        matrix = np.diag([counts[name] * 4 // 5 for name in classes]) + np.roll(
            np.diag([counts[name] - counts[name] * 4 // 5 for name in classes]), 1, axis=1
        )
        realised = 1 - np.trace(matrix) / max(matrix.sum(), 1)
        injected: dict[str, Any] = {"kind": "none", "rate": 0.0}
        if noise != "none":
            injected = {"kind": noise, "rate": 0.2, "realised_rate": float(realised), "matrix": matrix.tolist()}
        site_card = {
            "version": 1,
            "site": site,
            "source": ["synthetic"],
            "classes": list(classes),
            "image_size": 32,
            "counts": {
                "training": {name: n for name, n in counts.items() if n},
                "validation": dict.fromkeys(classes, 4),
                "test": dict.fromkeys(classes, 8),
            },
            "noise": injected,
            "skipped": [],
            "licence": "Apache-2.0",
            "citation": "none",
            "missing_classes": without,
        }
        _write(folder / "sites" / site / "card.json", site_card)
    public = {"version": 1, "source": "synthetic", "count": 500, "digest": "ab" * 32, "classes": [], "image_size": 32}
    _write(folder / "public" / "card.json", {**public, "licence": "Apache-2.0", "citation": "none", "skipped": []})
    return folder


def _record(bundles: Mapping[str, str], *, method: str, seed: int, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "version": 1,
        "id": f"{method}-{seed}",
        "method": method,
        "seed": seed,
        "classes": list(classes),
        "sites": {site: {"bundle": bundle} for site, bundle in bundles.items()},
        "public": {"count": 500, "digest": "ab" * 32},
        "versions": {"python": "3.11.2", "mdhfl": "0.1.0", "torch": "2.9.0", "monai": "1.6.0", "nvflare": "2.9.0"},
        "threads": 1,
        "started": "2026-01-01T00:00:00+00:00",
    }


def write_run(
    folder: Path,
    *,
    federation: Path,
    method: str = "mdhfl",
    seed: int = 0,
    rounds: int = 3,
    recorded: int | None = None,
    sites: Sequence[str] = SITES,
    classes: Sequence[str] = CLASSES,
    refused: Mapping[tuple[int, str], str] | None = None,
    absent: Sequence[str] = (),
    lacking: Mapping[str, Sequence[str]] | None = None,
    parameters: Mapping[str, Any] | None = None,
    engine: str = "inprocess",
) -> Path:
    """Write a run folder.

    Args:
        folder: to write to.
        federation: the folder that the run names.
        method: "mdhfl" or "local".
        seed: of the numbers, too.
        rounds: asked for.
        recorded: last recorded round; fewer than `rounds` leaves the run unfinished, without summary.json.
        sites: names.
        classes: names.
        refused: (round, site) -> reason.
        absent: classes without test images.
        lacking: site -> classes without training images.
        parameters: instead of the method's.
        engine: "inprocess" or "flare".
    """
    bundles = {site: BUNDLES[i % len(BUNDLES)] for i, site in enumerate(sites)}
    experiment = {
        **_record(bundles, method=method, seed=seed, classes=classes),
        "parameters": dict(parameters or PARAMETERS[method]),
        "engine": engine,
        "rounds": rounds,
        "federation": str(federation),
        "command": f"mdhfl run {method} --federation {federation} --seed {seed} --out {folder}",
    }
    write_sealed_json(folder / "experiment.json", experiment)
    rng = np.random.default_rng([seed, *method.encode()])
    last = rounds if recorded is None else recorded
    rows = [
        _row(
            number,
            site,
            rng=rng,
            names=(sites, classes),
            why=(refused or {}).get((number, site)),
            absent=absent,
            about=_about(bundles[site], missing=(lacking or {}).get(site, ())),
            shares=method != "local",
        )
        for number in range(last + 1)
        for site in sites
    ]
    (folder / "results.jsonl").write_bytes(lines_of(rows))
    if last == rounds:
        write_sealed_json(folder / "summary.json", _summary(rows, experiment=experiment))
    return folder


def _about(bundle: str, *, missing: Sequence[str]) -> dict[str, Any]:
    return {
        "bundle": bundle,
        "architecture": bundle.title(),
        "parameters": 1234567,
        "training_images": 800,
        "missing_classes": list(missing),
    }


def _row(
    number: int,
    site: str,
    *,
    rng: np.random.Generator,
    names: tuple[Sequence[str], Sequence[str]],
    why: str | None,
    absent: Sequence[str],
    about: Mapping[str, Any],
    shares: bool,
) -> dict[str, Any]:
    sites, classes = names
    row: dict[str, Any] = {"round": number, "site": site, "status": "ok", "reason": None}
    skill = 1 - 0.6 * 0.75**number - 0.03 * (list(sites).index(site) % 5)
    images = np.array([0 if name in absent else 40 for name in classes])
    right = rng.binomial(images, min(skill, 0.97))
    confusion = np.diag(right) + np.roll(np.diag(images - right), 1, axis=1)
    if why is not None:
        return {**row, "status": "refused", "reason": why}
    recall = [int(hit) / int(n) if n else None for hit, n in zip(right, images, strict=True)]
    answered = confusion.sum(axis=0)
    f1 = [2 * int(h) / int(n + a) for h, n, a in zip(right, images, answered, strict=True) if n + a]
    known = [value for value in recall if value is not None]
    test = {
        "accuracy": int(right.sum()) / max(int(images.sum()), 1),
        "macro_f1": sum(f1) / max(len(f1), 1),
        "balanced_accuracy": sum(known) / max(len(known), 1),
        "ece": float(rng.uniform(0.02, 0.1)),
    }
    spread = {other: float(1.2 * 0.8**number * rng.uniform(0.8, 1.2)) for other in sites if other != site}
    return {
        **row,
        "losses": {"train": 1.5 * 0.8**number, "align": 0.5 * 0.8**number if shares and number else None},
        "validation": dict(test),
        "test": {**test, "recall": recall, "confusion": confusion.tolist()},
        "divergence": spread if shares else None,
        "seconds": {
            "align": 0.8 if shares and number else 0.0,
            "train": 3.1,
            "score": 0.4,
            "share": 0.2 if shares else 0.0,
        },
        "bytes": {"up": 26321 if shares else 320, "down": 26011 if shares and number else 512},
        "best": True,
        "about": dict(about),
    }


def _summary(rows: Sequence[Mapping[str, Any]], *, experiment: Mapping[str, Any]) -> dict[str, Any]:
    sites: dict[str, dict[str, Any]] = {}
    for site in experiment["sites"]:
        good = [row for row in rows if row["site"] == site and row["status"] == "ok"]
        if not good:
            sites[site] = {"accuracy": None, "refused": []}
            continue
        test = good[-1]["test"]
        sites[site] = {
            **good[-1]["about"],
            **{name: test[name] for name in (*SCORES, "recall")},
            "best": {"round": good[-1]["round"], **{name: test[name] for name in SCORES[:3]}},
            "bytes_up": sum(row["bytes"]["up"] for row in good),
            "bytes_down": sum(row["bytes"]["down"] for row in good),
            "seconds": round(sum(sum(row["seconds"].values()) for row in good), 3),
        }
    scored = [values for values in sites.values() if values["accuracy"] is not None]
    names = (*SCORES, "bytes_up", "bytes_down", "seconds")
    mean = {name: float(np.mean([values[name] for values in scored])) for name in names}
    kept = {name: experiment[name] for name in ("method", "engine", "seed", "rounds", "federation")}
    return {"version": 1, **kept, "sites": sites, "mean": mean, "status": "finished"}


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
