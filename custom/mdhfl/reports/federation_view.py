"""A federation as the page shows it: class counts, injected label noise, contact sheets. Plain values."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mdhfl.reports.federations import Federation
from mdhfl.reports.figures import draw_heat_map, draw_stacked
from mdhfl.reports.gallery import Gallery, Picture
from mdhfl.reports.runs import number_or_none
from mdhfl.showing.texts import shown

MOST_SHEETS = 12
MOST_NOISE_MAPS = 12
PARTS = ("training", "validation", "test")


def federation_view(
    federation: Federation, *, gallery: Gallery, prefix: str, colours: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything that the page says about one federation folder."""
    notes = list(federation.notes)
    sheets = _sheets(federation, gallery=gallery, prefix=prefix, notes=notes)
    counts = count_rows(federation)
    drawn = [] if not counts else [_draw_counts(federation, counts, gallery=gallery, prefix=prefix, colours=colours)]
    return {
        "name": federation.name,
        "notes": notes,
        "found": bool(federation.card or federation.sites),
        "sites": list(federation.sites),
        "counts": counts,
        "largest_count": max((cell["training"] for row in counts for cell in row["cells"]), default=0),
        "count_pictures": drawn,
        "noise": noise_rows(federation),
        "noise_pictures": _draw_noise(federation, gallery=gallery, prefix=prefix),
        "sheets": sheets,
        "public": public_facts(federation),
        "sources": [source for source in federation.card.get("sources", ()) if isinstance(source, Mapping)],
        "understood": [line for line in federation.card.get("understood", ()) if isinstance(line, Mapping)],
        "arguments": dict(federation.card.get("arguments") or {}),
    }


def count_rows(federation: Federation) -> list[dict[str, Any]]:
    """Return a row per class: images in each part at each site; a site without training images of it lacks it."""
    rows = []
    for name in _classes(federation):
        cells = []
        for card in federation.sites.values():
            counts = card.get("counts") or {}
            cell = {part: int((counts.get(part) or {}).get(name, 0)) for part in PARTS}
            cells.append({**cell, "lacks": cell["training"] == 0})
        rows.append({"name": name, "cells": cells, "total": sum(cell[part] for cell in cells for part in PARTS)})
    return rows


def noise_rows(federation: Federation) -> list[dict[str, Any]]:
    """Return a row per site: kind, asked rate and realised rate of the label noise injected into its training part."""
    rows = []
    for site, card in federation.sites.items():
        noise = card.get("noise") or {}
        kind = str(noise.get("kind") or "none")
        rows.append(
            {
                "site": site,
                "kind": kind,
                "rate": number_or_none(noise.get("rate")),
                "realised": number_or_none(noise.get("realised_rate")),
                "noisy": kind != "none",
            }
        )
    return rows


def public_facts(federation: Federation) -> dict[str, Any]:
    """Return source, count and digest of the public set, as far as known."""
    known = {**(federation.card.get("public") or {}), **federation.public}
    return {name: known.get(name) for name in ("source", "count", "digest")}


def _classes(federation: Federation) -> list[str]:
    cards = [federation.card, *federation.sites.values()]
    return [str(name) for name in next((card["classes"] for card in cards if card.get("classes")), ())]


def _draw_counts(
    federation: Federation,
    counts: list[dict[str, Any]],
    *,
    gallery: Gallery,
    prefix: str,
    colours: Mapping[str, str],
) -> Picture:
    series = {site: [row["cells"][i]["training"] for row in counts] for i, site in enumerate(federation.sites)}
    names = [row["name"] for row in counts]
    png = draw_stacked(
        names, series, colours=colours, title="Training images by class", x_label="images, sites stacked"
    )
    return gallery.add_chart(f"{prefix}-classes", png, alt="Training images of each class, stacked by site")


def _draw_noise(federation: Federation, *, gallery: Gallery, prefix: str) -> list[Picture]:
    pictures = []
    noisy = {row["site"]: row for row in noise_rows(federation) if row["noisy"]}
    for site, row in list(noisy.items())[:MOST_NOISE_MAPS]:
        classes = _classes(federation)
        counts = np.asarray(federation.sites[site]["noise"].get("matrix") or [], dtype=np.float64)
        if counts.shape != (len(classes), len(classes)) or not counts.size:
            continue
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
        png = draw_heat_map(
            shares,
            rows=classes,
            columns=classes,
            title=site,
            x_label="label given",
            y_label="clean label (% of its images)",
        )
        realised = "unknown" if row["realised"] is None else f"{100 * row['realised']:.1f} %"
        caption = f"{row['kind']}, realised rate {realised}, {int(counts.sum())} training images."
        alt = f"Injected label noise of {site}: share of each clean class given each label"
        pictures.append(gallery.add_chart(f"{prefix}-noise-{site}", png, alt=alt, caption=caption))
    return pictures


def _sheets(federation: Federation, *, gallery: Gallery, prefix: str, notes: list[str]) -> list[Picture]:
    sheets = []
    for path in federation.overview[:MOST_SHEETS]:
        try:
            name = f"{prefix}-overview-{path.stem}"
            sheet = gallery.add_sheet(path, name=name, alt=f"Overview picture {path.stem}", caption=path.stem)
        except (OSError, SyntaxError) as error:
            notes.append(shown(f"{path.name} cannot be shown: {error}."))
        else:
            sheets.append(sheet)
    if len(federation.overview) > MOST_SHEETS:
        notes.append(f"{MOST_SHEETS} of {len(federation.overview)} overview pictures are shown.")
    return sheets
