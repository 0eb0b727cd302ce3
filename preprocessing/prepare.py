"""Raw data to federation folder, in one call."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdhfl.preprocessing.arguments import PREPARED, PrepareArguments
from mdhfl.preprocessing.folder.cards import (
    Json,
    federation_card,
    image_set_card,
    program_version,
    public_digest,
    server_digest,
    set_notes,
    site_card,
    site_digest,
    site_notes,
)
from mdhfl.preprocessing.folder.given import copy_given, read_given
from mdhfl.preprocessing.folder.overview import draw_overview
from mdhfl.preprocessing.folder.provenance import Provenance
from mdhfl.preprocessing.folder.reading_facts import reading_facts, reading_notes
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.folder.writing import (
    FEDERATION_FILE,
    beside,
    earlier_federation,
    write_compact,
    write_public,
    write_server,
    write_site,
)
from mdhfl.preprocessing.gathering import Gathered, gather
from mdhfl.preprocessing.inputs import fixed_label_space, private_inputs, public_input, with_defaults
from mdhfl.preprocessing.placing.plan import PUBLIC, SERVER
from mdhfl.preprocessing.placing.sites import PlacedSite, place_sites
from mdhfl.preprocessing.pool.given import Given
from mdhfl.preprocessing.pool.read import Picture, Progress
from mdhfl.preprocessing.pool.summary import summary
from mdhfl.preprocessing.raw.archive import fingerprint
from mdhfl.preprocessing.raw.records import PARTS

POOL = "pool"  # below the unfinished folder: the pictures that were read


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made, or found up to date.

    Attributes:
        folder: the federation folder.
        up_to_date: nothing had to be done.
        federation: the content of `federation.json`.
        seconds: wall-clock time.
    """

    folder: Path
    up_to_date: bool
    federation: Json
    seconds: float


def prepare(
    arguments: PrepareArguments,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    tell: Callable[[str], object] = lambda note: None,
) -> Prepared:
    """Make a federation folder from raw data: same arguments and same data give the same bytes.

    Args:
        arguments: what to make.
        progress: called with a stage's name, steps done, steps in all.
        workers: processes that read images; None: one per core.
        tell: called with each sentence on what the raw data was taken to be, before a picture is read.

    Raises:
        ValueError: arguments that cannot be, raw data that cannot be read, or an `out` that must not be replaced.
    """
    started = time.perf_counter()
    full = with_defaults(arguments)
    space = fixed_label_space(full)
    inputs, public = private_inputs(full, space=space), public_input(full, space=space)
    limits = full.limits()
    raw = {one.origin: fingerprint(one.raw, limits=limits) for one in [*inputs, *([public] if public else [])]}
    raw.update({name: fingerprint(path, limits=limits) for name, path in full.files().items()})
    old = earlier_federation(full.out)
    if old is not None and _is_up_to_date(old, arguments=full, raw=raw):
        return Prepared(full.out, up_to_date=True, federation=old, seconds=time.perf_counter() - started)
    with beside(full.out) as folder:
        gathered = gather(
            inputs,
            public=public,
            given=_given(full),
            space=space,
            arguments=full,
            folder=folder / POOL,
            workers=workers,
            progress=progress,
            tell=tell,
        )
        federation = _write(gathered, arguments=full, raw=raw, folder=folder, progress=progress)
    return Prepared(full.out, up_to_date=False, federation=federation, seconds=time.perf_counter() - started)


def _given(arguments: PrepareArguments) -> Callable[[Sequence[str]], Given] | None:
    """Return what reads a public set that was prepared before, if there is one."""
    folder = arguments.public_raw
    if arguments.public != PREPARED or folder is None:
        return None
    size, near = arguments.image_size, arguments.near > 0
    return lambda classes: read_given(folder, classes=classes, image_size=size, likeness=near)


def _write(
    gathered: Gathered,
    *,
    arguments: PrepareArguments,
    raw: Mapping[str, str],
    folder: Path,
    progress: Progress | None,
) -> Json:
    classes = gathered.space.classes
    sites = place_sites(gathered.drawn.pictures, arguments=arguments, classes=classes)
    facts: dict[str, Json] = {}
    for site in sites:
        facts[site.name] = _write_one_site(site, arguments=arguments, gathered=gathered, folder=folder)
        report(progress, "writing sites", len(facts), len(sites))
    public = _write_public_set(gathered, arguments=arguments, folder=folder)
    server = _write_server_part(gathered, arguments=arguments, folder=folder)
    shutil.rmtree(folder / POOL)
    draw_overview(folder, classes=classes)
    report(progress, "drawing the overview", 1, 1)
    candidates, drawn, skips = gathered.candidates, gathered.drawn, gathered.skips()
    left_out = [skip for one in skips.values() for skip in one]
    used = [picture for mine in drawn.pictures.values() for picture in mine]
    reading = reading_facts(gathered.inputs, gathered.reader.pictures.values())
    own = Provenance(arguments.licence, citation=arguments.citation)
    federation = federation_card(
        arguments=arguments,
        space=gathered.space,
        sites=facts,
        public=public,
        server=server,
        sources=[own.facts(name) for name in sorted({picture.candidate.source for picture in used})],
        drawn=drawn,
        skipped=len(left_out),
        dropped=candidates.dropped,
        unused=len(candidates.listed) - len(used) - len(drawn.left_out),
        raw=raw,
        understood=summary(
            gathered.inputs,
            candidates=candidates,
            space=gathered.space,
            traits=gathered.reader.traits,
            skips=left_out,
            examples=False,
        ),
        reading=reading,
        notes=[
            *gathered.notes,
            *reading_notes(reading),
            *set_notes(drawn, public=public, arguments=arguments),
            *(note for site in sites for note in site_notes(site, classes=classes, per_site=arguments.per_site)),
        ],
    )
    write_compact(folder / FEDERATION_FILE, federation)
    return federation


def _write_one_site(site: PlacedSite, *, arguments: PrepareArguments, gathered: Gathered, folder: Path) -> Json:
    home = folder / "sites" / site.name
    datalist = write_site(site, folder=home, seed=arguments.seed)
    origins = {item.picture.candidate.input for part in PARTS for item in site.parts[part]}
    card = site_card(
        site,
        classes=gathered.space.classes,
        image_size=arguments.image_size,
        skips={origin: skips for origin, skips in gathered.skips().items() if origin in origins},
        provenance=Provenance(arguments.licence, citation=arguments.citation),
    )
    write_compact(home / "card.json", card)
    return {**{part: len(datalist[part]) for part in PARTS}, "digest": site_digest(datalist)}


def _write_public_set(gathered: Gathered, *, arguments: PrepareArguments, folder: Path) -> Json:
    home, pictures = folder / "public", gathered.pictures(PUBLIC)
    if arguments.public == PREPARED and arguments.public_raw is not None:
        return copy_given(arguments.public_raw, to=home)
    if not pictures:
        raise ValueError("public set: no images left: does --public-raw repeat --raw?")
    digest = public_digest(write_public(pictures, folder=home, seed=arguments.seed))
    _write_set_card(home, pictures, digest=digest, gathered=gathered, arguments=arguments)
    return {"count": len(pictures), "digest": digest}


def _write_server_part(gathered: Gathered, *, arguments: PrepareArguments, folder: Path) -> Json | None:
    home, pictures = folder / "server", gathered.pictures(SERVER)
    if not pictures:
        return None
    digest = server_digest(write_server(pictures, folder=home, seed=arguments.seed))
    _write_set_card(home, pictures, digest=digest, gathered=gathered, arguments=arguments)
    return {"validation": len(pictures), "digest": digest}


def _write_set_card(
    home: Path, pictures: list[Picture], *, digest: str, gathered: Gathered, arguments: PrepareArguments
) -> None:
    inputs = {one.candidate.input for one in pictures}
    private = any(one.candidate.label is not None for one in pictures)
    card = image_set_card(
        pictures,
        digest=digest,
        classes=gathered.space.classes,
        image_size=arguments.image_size,
        skips={origin: skips for origin, skips in gathered.skips().items() if origin in inputs},
        provenance=Provenance(arguments.licence, citation=arguments.citation) if private else Provenance(),
    )
    write_compact(home / "card.json", card)


def _is_up_to_date(old: Json, *, arguments: PrepareArguments, raw: Mapping[str, str]) -> bool:
    """Whether a federation folder is what the arguments ask for, complete; other arguments are an error.

    Raises:
        ValueError: it was prepared with other arguments or data, and may not be overwritten.
    """
    asked = {"arguments": arguments.recorded(), "raw": dict(raw), "prepared_with": {"mdhfl": program_version()}}
    if all(old.get(key) == value for key, value in asked.items()):
        return not verify_federation(arguments.out, pixels=False)
    if arguments.overwrite:
        return False
    before, now = old.get("arguments", {}), asked["arguments"]
    differences = [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    raise ValueError(
        f"out {arguments.out}: already contains a federation prepared with other "
        f"{'arguments: ' + '; '.join(differences) if differences else 'raw data or another version of mdhfl'}. "
        "Choose another --out, or replace it with --overwrite"
    )


def report(progress: Progress | None, stage: str, done: int, total: int) -> None:
    """Call the progress function, if there is one."""
    if progress is not None:
        progress(stage, done, total)
