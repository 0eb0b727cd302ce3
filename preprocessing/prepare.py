"""Raw data to federation folder, in one call."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.cards import (
    Json,
    federation_card,
    image_set_card,
    program_version,
    public_digest,
    server_digest,
    site_card,
    site_digest,
    site_notes,
)
from mdhfl.preprocessing.folder.overview import draw_overview
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
from mdhfl.preprocessing.inputs import RawInput, fixed_label_space, private_inputs, public_input, with_defaults
from mdhfl.preprocessing.placing import PlacedSite, hold_out, place, sites_need, take_for_server
from mdhfl.preprocessing.pool.gather import (
    Pool,
    Reading,
    check_tables,
    label_space_of,
    list_inputs,
    notes_of,
    private_pool,
    public_pool,
    spellings_of,
)
from mdhfl.preprocessing.pool.read import Picture, Progress
from mdhfl.preprocessing.raw.archive import fingerprint
from mdhfl.preprocessing.raw.label_spaces import LabelSpace
from mdhfl.preprocessing.raw.records import PARTS
from mdhfl.seeds import stream

POOL = "pool"  # below the unfinished folder: every picture that could be read


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
        gathered = _gather(
            inputs,
            public=public,
            space=space,
            arguments=full,
            folder=folder,
            workers=workers,
            progress=progress,
            tell=tell,
        )
        federation = _write(gathered, arguments=full, raw=raw, folder=folder, progress=progress)
    return Prepared(full.out, up_to_date=False, federation=federation, seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class _Gathered:
    """All pictures, read and divided in public and private.

    Attributes:
        public_pool: where the public set has data of its own.
        notes: what the raw data was taken to be.
    """

    space: LabelSpace
    private: list[Picture]
    public: list[Picture]
    server: list[Picture]
    pool: Pool
    public_pool: Pool | None
    notes: list[str]


def _gather(
    inputs: Sequence[RawInput],
    *,
    public: RawInput | None,
    space: LabelSpace | None,
    arguments: PrepareArguments,
    folder: Path,
    workers: int | None,
    progress: Progress | None,
    tell: Callable[[str], object],
) -> _Gathered:
    listed = list_inputs(inputs)
    listed_public = list_inputs([public])[0] if public is not None else None
    every = [*listed, *([listed_public] if listed_public else [])]
    notes = notes_of(every)
    for note in notes:
        tell(note)
    check_tables(every, limit=arguments.bad_limit)
    found = label_space_of(listed, space=space, classes=arguments.classes)
    for note in (spellings := spellings_of(listed, space=found)):
        tell(note)
    notes += spellings
    how = Reading(folder / POOL, bad_limit=arguments.bad_limit, workers=workers, progress=progress)
    pool = private_pool(listed, space=found, how=how)
    if listed_public is None:
        held_out, rest = hold_out(pool.pictures, count=arguments.public_count, seed=arguments.seed)
        server, rest = _for_server(rest, arguments)
        return _Gathered(found, private=rest, public=held_out, server=server, pool=pool, public_pool=None, notes=notes)
    other = public_pool(listed_public, private=pool.pictures, how=how)
    chosen = stream(arguments.seed, "public").permutation(len(other.pictures))[: arguments.public_count]
    shared = [other.pictures[index] for index in chosen]
    server, rest = _for_server(pool.pictures, arguments)
    return _Gathered(found, private=rest, public=shared, server=server, pool=pool, public_pool=other, notes=notes)


def _for_server(pictures: list[Picture], arguments: PrepareArguments) -> tuple[list[Picture], list[Picture]]:
    count, keep = arguments.server_validation, sites_need(arguments)
    return take_for_server(pictures, count=count, seed=arguments.seed, keep=keep)


def _write(
    gathered: _Gathered,
    *,
    arguments: PrepareArguments,
    raw: Mapping[str, str],
    folder: Path,
    progress: Progress | None,
) -> Json:
    classes = gathered.space.classes
    sites = place(gathered.private, arguments=arguments, classes=classes)
    facts: dict[str, Json] = {}
    for site in sites:
        facts[site.name] = _write_one_site(site, arguments=arguments, gathered=gathered, folder=folder)
        report(progress, "writing sites", len(facts), len(sites))
    public = _write_public_set(gathered, arguments=arguments, folder=folder)
    server = _write_server_part(gathered, arguments=arguments, folder=folder)
    shutil.rmtree(folder / POOL)
    draw_overview(folder, classes=classes)
    report(progress, "drawing the overview", 1, 1)
    pools = [gathered.pool, *([gathered.public_pool] if gathered.public_pool else [])]
    federation = federation_card(
        arguments=arguments,
        space=gathered.space,
        sites=facts,
        public=public,
        server=server,
        pools=pools,
        used=len(gathered.public)
        + len(gathered.server)
        + sum(len(site.parts[part]) for site in sites for part in PARTS),
        raw=raw,
        notes=gathered.notes
        + [note for site in sites for note in site_notes(site, classes=classes, per_site=arguments.per_site)],
    )
    write_compact(folder / FEDERATION_FILE, federation)
    return federation


def _write_one_site(site: PlacedSite, *, arguments: PrepareArguments, gathered: _Gathered, folder: Path) -> Json:
    home = folder / "sites" / site.name
    datalist = write_site(site, folder=home, seed=arguments.seed)
    origins = {item.picture.input for part in PARTS for item in site.parts[part]}
    skips = {origin: skips for origin, skips in gathered.pool.skips.items() if origin in origins}
    card = site_card(site, classes=gathered.space.classes, image_size=arguments.image_size, skips=skips)
    write_compact(home / "card.json", card)
    return {**{part: len(datalist[part]) for part in PARTS}, "digest": site_digest(datalist)}


def _write_public_set(gathered: _Gathered, *, arguments: PrepareArguments, folder: Path) -> Json:
    home = folder / "public"
    digest = public_digest(write_public(gathered.public, folder=home, seed=arguments.seed))
    pool = gathered.public_pool or gathered.pool
    _write_set_card(home, gathered.public, digest=digest, pool=pool, gathered=gathered, arguments=arguments)
    return {"count": len(gathered.public), "digest": digest}


def _write_server_part(gathered: _Gathered, *, arguments: PrepareArguments, folder: Path) -> Json | None:
    if not gathered.server:
        return None
    home = folder / "server"
    digest = server_digest(write_server(gathered.server, folder=home, seed=arguments.seed))
    _write_set_card(home, gathered.server, digest=digest, pool=gathered.pool, gathered=gathered, arguments=arguments)
    return {"validation": len(gathered.server), "digest": digest}


def _write_set_card(
    home: Path,
    pictures: list[Picture],
    *,
    digest: str,
    pool: Pool,
    gathered: _Gathered,
    arguments: PrepareArguments,
) -> None:
    classes, size = gathered.space.classes, arguments.image_size
    card = image_set_card(pictures, digest=digest, classes=classes, image_size=size, skips=pool.skips)
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
