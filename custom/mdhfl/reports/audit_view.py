"""A run's audit as the page shows it, from the `audit.json` that `mdhfl audit` wrote beside the run's records."""

from pathlib import Path
from typing import Any

from mdhfl.files import read_checked
from mdhfl.reports.runs import Run, number_or_none
from mdhfl.runs.folder import results_in
from mdhfl.showing.texts import shown

FILE = "audit.json"
MEASURES = {
    "labels": "Label distribution",
    "messages": "Membership, from messages",
    "model": "Membership, from the model",
    "inversion": "Reconstruction",
    "counts": "Counts",
}
WORDS = {"green": "green", "amber": "amber", "red": "red", "grey": "not measured"}
CALIBRATED = "LiRA"
MOST_FIELDS = 6  # with the most bytes, of a site


def audit_view(run: Run) -> dict[str, Any] | None:
    """Return what the page shows of a run's audit; None without one, and a note where it cannot be read."""
    path = results_in(run.folder) / FILE
    if not path.is_file():
        return None
    try:
        found = shown(read_checked(path, schema="audit", missing=""), roots=(run.folder, Path(run.federation)))
    except (OSError, ValueError) as error:
        return {"problem": shown(f"{FILE} cannot be read: {error}", roots=(run.folder,)), "predicted": False}
    return {
        "problem": "",
        **{name: found[name] for name in ("shadows", "predicted", "explained")},
        "notes": [*found["notes"], *(f"{site['site']}: {note}" for site in found["sites"] for note in site["notes"])],
        "sites": [_site(site) for site in found["sites"]],
        "attacks": [_attack("all sites", one) for one in found["together"]["membership"]]
        + [_attack(site["site"], one) for site in found["sites"] for one in site["membership"]],
    }


def _site(site: dict[str, Any]) -> dict[str, Any]:
    counts = site["counts"]
    largest = sorted(counts["bytes"].items(), key=lambda each: -each[1])[:MOST_FIELDS]
    said = {
        "labels": _labels(site["labels"]),
        "messages": _membership(site["membership"], "receiver of the messages"),
        "model": _membership(site["membership"], "holder of the model"),
        "inversion": _inversion(site["inversion"]),
        "counts": ", ".join(counts["told"]) or "none",
    }
    lights = [(MEASURES[name], site["lights"].get(name, "grey"), said[name]) for name in MEASURES]
    return {
        "site": site["site"],
        "rounds": site["rounds"],
        "lights": [
            {"title": title, "light": light, "word": WORDS[light], "said": text} for title, light, text in lights
        ],
        "bytes": largest,
        "total": counts["total"],
    }


def _labels(labels: dict[str, Any] | None) -> str:
    if labels is None or labels["best"] is None:
        return ""
    return f"error {labels['errors'][labels['best']]:.2f} ({labels['best']}); a uniform guess {labels['uniform']:.2f}"


def _membership(attacks: list[dict[str, Any]], threat: str) -> str:
    own = [one for one in attacks if one["threat"] == threat]
    one = next((one for one in own if one["attack"] == CALIBRATED), own[0] if own else None)
    return "" if one is None else f"AUC {_interval(one['auc'])}"


def _inversion(inversion: dict[str, Any] | None) -> str:
    if inversion is None:
        return ""
    return (
        f"{inversion['gain']:+.1f} dB ({inversion['attack']}: PSNR {inversion['psnr']:.1f} dB, SSIM "
        f"{inversion['ssim']:.2f}; class mean {inversion['mean_psnr']:.1f} dB, {inversion['mean_ssim']:.2f})"
    )


def _attack(site: str, one: dict[str, Any]) -> dict[str, Any]:
    return {
        "site": site,
        **{name: one[name] for name in ("threat", "attack", "members", "non_members")},
        "auc": _interval(one["auc"]),
        "tpr": {rate: _share(one["tpr"].get(rate)) for rate in ("0.01", "0.001")},
    }


def _interval(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return "too few images"
    return "{value:.2f} (95 %: {low:.2f} to {high:.2f})".format(**estimate)


def _share(estimate: dict[str, Any] | None) -> str:
    value = None if estimate is None else number_or_none(estimate["value"])
    return "too few images" if value is None else f"{value:.1%}"
