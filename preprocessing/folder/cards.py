"""Cards: what each site, the public set and the whole federation say about themselves, as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

from mdhfl.digests import list_digest
from mdhfl.files import FEDERATION_FORMAT
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.provenance import Provenance
from mdhfl.preprocessing.folder.reading_facts import read_as
from mdhfl.preprocessing.placing.draw import Drawn
from mdhfl.preprocessing.placing.plan import PUBLIC, SERVER
from mdhfl.preprocessing.placing.sites import Item, PlacedSite
from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.raw.label_spaces import LabelSpace
from mdhfl.preprocessing.raw.records import PARTS, Skip
from mdhfl.preprocessing.raw.understood import Finding

MANY = 20  # images that hang together: more are worth a note

VERSION = FEDERATION_FORMAT

Json = dict[str, Any]


def site_digest(datalist: Mapping[str, Any]) -> str:
    """Digest over training, validation and test items in order, each as "digest label"."""
    return list_digest(f"{item['digest']} {item['label']}" for part in PARTS for item in datalist[part])


def public_digest(datalist: Mapping[str, Any]) -> str:
    """Digest over the public images in order: what sites compare before they share knowledge."""
    return list_digest(item["digest"] for item in datalist["public"])


def site_card(
    site: PlacedSite,
    *,
    classes: Sequence[str],
    image_size: int,
    skips: Mapping[str, Sequence[Skip]],
    provenance: Provenance,
) -> Json:
    """A site's card. Counts are of true classes; `noise.matrix` says what the training labels became."""
    pictures = [item.picture for part in PARTS for item in site.parts[part]]
    sources = sorted({picture.candidate.source for picture in pictures})
    counts = {part: _class_counts(site.parts[part], classes=classes) for part in PARTS}
    return {
        "version": VERSION,
        "site": site.name,
        "source": sources,
        "origin": sorted({picture.candidate.origin for picture in pictures}),
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
        "read_as": read_as(pictures),
        "skipped": _skip_list(skips),
        **provenance.of(sources),
    }


def image_set_card(
    pictures: Sequence[Picture],
    *,
    digest: str,
    classes: Sequence[str],
    image_size: int,
    skips: Mapping[str, Sequence[Skip]],
    provenance: Provenance,
) -> Json:
    """The card of the public set, or of the server's part: no labels, no file names of its images."""
    sources = sorted({picture.candidate.source for picture in pictures})
    return {
        "version": VERSION,
        "source": sources,
        "count": len(pictures),
        "digest": digest,
        "classes": list(classes),
        "image_size": image_size,
        "read_as": read_as(pictures),
        "skipped": _skip_list(skips),
        **provenance.of(sources),
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
    sources: Sequence[Json],
    drawn: Drawn,
    skipped: int,
    dropped: Mapping[str, int],
    unused: int,
    raw: Mapping[str, str],
    understood: Sequence[Finding],
    reading: Mapping[str, Json],
    notes: Sequence[str],
) -> Json:
    """The card of the whole federation, `federation.json`.

    Args:
        arguments: as given, without defaults filled in: what a rerun is compared with.
        sites: site -> its counts and digest.
        public: its count and digest.
        server: count and digest of its labelled images, None if it has none.
        sources: facts about each source.
        drawn: what was drawn, and what was found on the way.
        skipped: files and images that were left out.
        dropped: code -> images that the label space drops on purpose.
        unused: images beyond what was asked for.
        raw: origin -> fingerprint of its raw data.
        understood: how the raw data was read.
        reading: origin -> how its samples became 0..255, see `reading_facts`.
        notes: what a reader should know, one sentence each.
    """
    return {
        "version": VERSION,
        "name": arguments.name or arguments.out.resolve().name,
        "classes": list(space.classes),
        "label_space": space.name,
        "image_size": arguments.image_size,
        "public": public,
        **({"server": server} if server else {}),
        "sites": dict(sites),
        "sources": list(sources),
        "arguments": arguments.recorded(),
        "raw": dict(raw),
        "understood": [{"what": one.what, "found": one.found} for one in understood],
        "skipped": skipped,
        "duplicates": drawn.duplicates,
        "alike": {"within": arguments.near, "images": drawn.alike, "moved": drawn.moved, "left_out": drawn.parted},
        "dropped": dict(dropped),
        "unused": unused,
        "reading": dict(reading),
        "notes": list(notes),
        "prepared_with": {"mdhfl": program_version()},
    }


def program_version() -> str:
    """The version of mdhfl that is installed."""
    return metadata.version("mdhfl")


def set_notes(drawn: Drawn, *, public: Json, arguments: PrepareArguments) -> list[str]:
    """What a reader should know about the whole: sets smaller than asked for, pictures that hang together."""
    notes = []
    if public.get("at_server"):
        notes.append(
            "the public set's images are at the server: only identical ones were looked for among the site's own"
        )
    for place, name, wanted in (
        (PUBLIC, "public set", arguments.public_count),
        (SERVER, "server", arguments.server_validation),
    ):
        got = len(drawn.pictures.get(place, []))
        if wanted and got < wanted:
            notes.append(f"{name}: {got} images instead of {wanted}")
    if drawn.largest > MANY:
        notes.append(
            f"{drawn.largest} images hang together as nearly identical and lie on one side: copies, or data whose "
            "images look alike; if so, look at fewer bits with --near, or at none with --near 0"
        )
    if drawn.parted:
        notes.append(
            f"{drawn.parted} images left out, since the raw data or the split by source puts them on another side than "
            "what is nearly identical, or of their group"
        )
    return notes


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


def _class_counts(items: Iterable[Item], *, classes: Sequence[str]) -> dict[str, int]:
    counts = dict.fromkeys(classes, 0)
    for item in items:
        counts[classes[item.clean]] += 1
    return counts


def _skip_list(skips: Mapping[str, Sequence[Skip]]) -> list[Json]:
    return [{"file": skip.file, "reason": skip.reason} for one in skips.values() for skip in sorted(one)]
