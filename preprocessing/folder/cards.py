"""Cards: what each site, the public set and the whole federation say about themselves, as JSON."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

from mdhfl.digests import list_digest
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.placing import Item, PlacedSite
from mdhfl.preprocessing.pool.gather import Pool
from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.raw.label_spaces import LabelSpace
from mdhfl.preprocessing.raw.records import PARTS, Skip
from mdhfl.preprocessing.raw.scaling import DEPTH, OWN_RANGE, RULE
from mdhfl.preprocessing.sources import find_source

VERSION = 1  # of all files in a federation folder

Json = dict[str, Any]


def site_digest(datalist: Mapping[str, Any]) -> str:
    """Digest over training, validation and test items in order, each as "digest label"."""
    return list_digest(f"{item['digest']} {item['label']}" for part in PARTS for item in datalist[part])


def public_digest(datalist: Mapping[str, Any]) -> str:
    """Digest over the public images in order: what sites compare before they share knowledge."""
    return list_digest(item["digest"] for item in datalist["public"])


def site_card(
    site: PlacedSite, *, classes: Sequence[str], image_size: int, skips: Mapping[str, Sequence[Skip]]
) -> Json:
    """A site's card. Counts are of true classes; `noise.matrix` says what the training labels became."""
    pictures = [item.picture for part in PARTS for item in site.parts[part]]
    sources = sorted({picture.source for picture in pictures})
    counts = {part: _class_counts(site.parts[part], classes=classes) for part in PARTS}
    return {
        "version": VERSION,
        "site": site.name,
        "source": sources,
        "origin": sorted({picture.origin for picture in pictures}),
        "classes": list(classes),
        "image_size": image_size,
        "counts": counts,
        "missing_classes": [name for name in classes if counts["training"][name] == 0],
        "noise": {
            "kind": site.noise_kind,
            "rate": round(site.noise_rate, 6),
            "realised_rate": round(site.realised_rate, 6),
            "matrix": site.confusion,
        },
        "read_as": _read_as(pictures),
        "skipped": _skip_list(skips),
        **_provenance(sources),
    }


def image_set_card(
    pictures: Sequence[Picture],
    *,
    digest: str,
    classes: Sequence[str],
    image_size: int,
    skips: Mapping[str, Sequence[Skip]],
) -> Json:
    """The card of the public set, or of the server's part: no labels, no file names of its images."""
    sources = sorted({picture.source for picture in pictures})
    return {
        "version": VERSION,
        "source": sources,
        "count": len(pictures),
        "digest": digest,
        "classes": list(classes),
        "image_size": image_size,
        "read_as": _read_as(pictures),
        "skipped": _skip_list(skips),
        **_provenance(sources),
    }


def server_digest(datalist: Mapping[str, Any]) -> str:
    """Digest over the server's validation images in order, each as "digest label"."""
    return list_digest(f"{item['digest']} {item['label']}" for item in datalist["validation"])


def federation_card(
    *,
    arguments: PrepareArguments,
    space: LabelSpace,
    sites: Mapping[str, Json],
    public: Json,
    server: Json | None,
    pools: Sequence[Pool],
    used: int,
    raw: Mapping[str, str],
    notes: Sequence[str],
) -> Json:
    """The card of the whole federation, `federation.json`.

    Args:
        arguments: as given, without defaults filled in: what a rerun is compared with.
        sites: site -> its counts and digest.
        public: its count and digest.
        server: count and digest of its labelled images, None if it has none.
        pools: private, and public where it has data of its own.
        used: pictures that went to a site or to the public set.
        raw: origin -> fingerprint of its raw data.
        notes: what a reader should know, one sentence each.
    """
    pictures = [picture for pool in pools for picture in pool.pictures]
    return {
        "version": VERSION,
        "name": arguments.name or arguments.out.resolve().name,
        "classes": list(space.classes),
        "label_space": space.name,
        "image_size": arguments.image_size,
        "public": public,
        **({"server": server} if server else {}),
        "sites": dict(sites),
        "sources": [_source_facts(name) for name in sorted({picture.source for picture in pictures})],
        "arguments": arguments.recorded(),
        "raw": dict(raw),
        "skipped": sum(len(skips) for pool in pools for skips in pool.skips.values()),
        "duplicates": sum(pool.duplicates for pool in pools),
        "dropped": {code: count for pool in pools for code, count in pool.dropped.items()},
        "unused": len(pictures) - used,
        "reading": {origin: facts for pool in pools for origin, facts in _reading(pool).items()},
        "notes": [*notes, *(note for pool in pools for note in _reading_notes(pool))],
        "prepared_with": {"mdhfl": program_version()},
    }


def program_version() -> str:
    """The version of mdhfl that is installed."""
    return metadata.version("mdhfl")


def site_notes(site: PlacedSite, *, classes: Sequence[str], per_site: int | None) -> list[str]:
    """What a reader should know about a site: too few images, single images, missing classes and parts."""
    counts = _class_counts(site.parts["training"], classes=classes)
    notes = []
    if per_site is not None and len(site.parts["training"]) < per_site:
        notes.append(f"{site.name}: {len(site.parts['training'])} training images instead of {per_site}")
    for part in PARTS:
        if not site.parts[part]:
            notes.append(f"{site.name}: no {part} images")
    totals = _class_counts([item for part in PARTS for item in site.parts[part]], classes=classes)
    single = [name for name in classes if totals[name] == 1]
    if single:
        notes.append(f"{site.name}: a single image of {', '.join(single)}, used for training and not tested")
    missing = [name for name in classes if counts[name] == 0]
    if missing:
        notes.append(f"{site.name}: no training images of {', '.join(missing)}")
    return notes


def _reading(pool: Pool) -> dict[str, Json]:
    """How each origin's samples became 0..255, and what else reading did, with the number of pictures."""
    return {
        origin: {
            "rule": RULE,
            "window": None if scaling.window is None else list(scaling.window),
            "nan": scaling.nan,
            "read_as": _read_as([picture for picture in pool.pictures if picture.input == origin]),
        }
        for origin, scaling in sorted(pool.scalings.items())
    }


def _reading_notes(pool: Pool) -> list[str]:
    """What a reader should know about an origin's depths: several, or none that its files tell."""
    notes = []
    for origin, facts in _reading(pool).items():
        depths = {said: count for said, count in facts["read_as"].items() if said.startswith(DEPTH)}
        if len(depths) > 1:
            listed = ", ".join(f"{said.removeprefix(DEPTH)} {count}" for said, count in depths.items())
            notes.append(
                f"{origin}: pictures of different depths, each scaled by its own ({listed}); if one device took them "
                "all, give its range with --window, for example 0,4095"
            )
        if OWN_RANGE in facts["read_as"]:
            notes.append(f"{origin}: {facts['read_as'][OWN_RANGE]} pictures of {OWN_RANGE}; give one with --window")
    return notes


def _read_as(pictures: Iterable[Picture]) -> dict[str, int]:
    return dict(sorted(Counter(note for picture in pictures for note in picture.notes).items()))


def _class_counts(items: Iterable[Item], *, classes: Sequence[str]) -> dict[str, int]:
    counts = dict.fromkeys(classes, 0)
    for item in items:
        counts[classes[item.clean]] += 1
    return counts


def _skip_list(skips: Mapping[str, Sequence[Skip]]) -> list[Json]:
    return [{"file": skip.file, "reason": skip.reason} for one in skips.values() for skip in sorted(one)]


def _provenance(sources: Sequence[str]) -> Json:
    cards = [find_source(name).card for name in sources]
    return {
        "licence": "; ".join(sorted({card.licence for card in cards})),
        "citation": "; ".join(sorted({card.citation for card in cards})),
    }


def _source_facts(name: str) -> Json:
    card = find_source(name).card
    return {"name": name, "title": card.title, "licence": card.licence, "citation": card.citation, "url": card.url}
