"""From arguments to raw inputs: which data is read, under which name, how it is cropped."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from mdhfl.preprocessing.arguments import HOLDOUT, PREPARED, PrepareArguments, parse_also
from mdhfl.preprocessing.raw.cropping import parse_crops
from mdhfl.preprocessing.raw.label_spaces import AUTO, LabelSpace, load_label_space, map_codes, reduced
from mdhfl.preprocessing.raw.records import OpenSource, SourceOptions
from mdhfl.preprocessing.raw.scaling import Scaling
from mdhfl.preprocessing.sources import find_source

DRAWING = "synthetic"  # the source that makes its own pictures: as many as are asked for
VOLUMES = "nifti"  # the source that lists its values before it reads pictures
DRAWN_PER_SITE, DRAWN_PUBLIC = 400, 400


@dataclass(frozen=True)
class RawInput:
    """One raw dataset and how its pictures are to be made square.

    Attributes:
        origin: name of this raw data, unique in a run (two manifests have two origins).
        crop: as in `cropping.crop_side`.
        size: side of the finished images in pixels.
    """

    origin: str
    source: str
    raw: Path | None
    options: SourceOptions
    crop: float | None
    size: int

    def open(self) -> OpenSource:
        """Open the source on its raw data."""
        return find_source(self.source).open(self.raw, options=self.options)


def with_defaults(arguments: PrepareArguments) -> PrepareArguments:
    """Fill in what depends on other arguments: label space, split, number of sites, sizes of a drawn federation."""
    drawing = arguments.source == DRAWING and not arguments.also
    inputs = 1 + len(arguments.also)
    split = arguments.split or ("by_source" if inputs > 1 or drawing else "iid")
    sites = arguments.sites or (inputs if split == "by_source" and not drawing else 4)
    per_site = arguments.per_site or (DRAWN_PER_SITE if drawing else None)
    draws_public = arguments.public != PREPARED and (drawing or arguments.public == DRAWING)
    return replace(
        arguments,
        label_space=arguments.label_space or ("cytomorphology13" if arguments.source == DRAWING else AUTO),
        split=split,
        sites=sites,
        per_site=per_site,
        public_count=arguments.public_count or ((per_site or DRAWN_PUBLIC) if draws_public else None),
        name=arguments.name or arguments.out.resolve().name,
    )


def fixed_label_space(arguments: PrepareArguments) -> LabelSpace | None:
    """The label space, reduced to the classes asked for; None for `auto`, which is known after the listing.

    Raises:
        ValueError: unknown space or class.
    """
    if arguments.label_space in (None, AUTO):
        return None
    return reduced(load_label_space(str(arguments.label_space)), classes=arguments.classes)


def private_inputs(arguments: PrepareArguments, *, space: LabelSpace | None) -> list[RawInput]:
    """The private raw data, each with an origin name of its own."""
    pairs = [(arguments.source, arguments.raw), *(parse_also(text) for text in arguments.also)]
    sources = [source for source, _ in pairs]
    inputs = []
    for source, raw in pairs:
        generic = find_source(source).card.url == "" or sources.count(source) > 1
        origin = raw.stem if generic and raw is not None else source
        inputs.append(_raw_input(arguments, source=source, raw=raw, origin=origin, space=space))
    names = [one.origin for one in inputs]
    if len(set(names)) < len(names):
        raise ValueError(f"raw data {', '.join(names)}: names must be unique; rename a file")
    return inputs


def public_input(arguments: PrepareArguments, *, space: LabelSpace | None) -> RawInput | None:
    """The public raw data; None for a held-out part of the private data, and for a set that was prepared before."""
    if arguments.public in (HOLDOUT, PREPARED):
        return None
    one = _raw_input(
        arguments, source=arguments.public, raw=arguments.public_raw, origin=f"public {arguments.public}", space=space
    )
    if arguments.public != DRAWING:
        return one
    count = arguments.public_count or DRAWN_PUBLIC
    return replace(one, options=replace(one.options, seed=arguments.seed + 1_000_003, origins=1, images=count))


def _raw_input(
    arguments: PrepareArguments, *, source: str, raw: Path | None, origin: str, space: LabelSpace | None
) -> RawInput:
    crops = parse_crops(arguments.crop)
    sources = [arguments.source, arguments.public, *(parse_also(text)[0] for text in arguments.also)]
    strangers = sorted(set(crops) - {""} - set(sources))
    if strangers:
        raise ValueError(
            f"crop for {', '.join(strangers)}: not a source of this run; expected one of {', '.join(sources)}"
        )
    public = origin == f"public {source}"
    options = SourceOptions(
        seed=arguments.seed,
        size=arguments.image_size,
        classes=_drawable(source, space),
        origins=arguments.sites or 1,
        images=_drawn_images(arguments),
        labels=None if public else arguments.labels,
        columns="split=" if public else arguments.columns,  # of a public table no part is used
        fold=None if public or arguments.fold is None else str(arguments.fold),  # a number, where YAML says it
        levels=arguments.levels or "",
        unlabelled=public,
        limits=arguments.limits(),
        scaling=_scaling(arguments, source=source),
    )
    crop = crops.get(source, crops.get(""))
    return RawInput(origin=origin, source=source, raw=raw, options=options, crop=crop, size=arguments.image_size)


def _scaling(arguments: PrepareArguments, *, source: str) -> Scaling:
    scaling = arguments.scaling()
    if scaling.percentiles is not None and source not in (VOLUMES, DRAWING):
        raise ValueError(
            f"window {arguments.window!r}: percentiles are of a data set of volumes, source {VOLUMES}; for {source} "
            "give LOW,HIGH in the files' own units"
        )
    return scaling


def _drawable(source: str, space: LabelSpace | None) -> tuple[str, ...]:
    if source != DRAWING or space is None:
        return ()
    mapped = map_codes(find_source(source).card.codes, source=source, space=space)
    return tuple(code for code in find_source(source).card.codes if mapped[code] is not None)


def _drawn_images(arguments: PrepareArguments) -> int:
    training = 1 - arguments.validation - arguments.test
    public = (arguments.public_count or DRAWN_PUBLIC) if arguments.public == HOLDOUT else 0
    a_site = public / (arguments.sites or 1)  # the holdout takes more from one site than from another: leave a margin
    return math.ceil((arguments.per_site or DRAWN_PER_SITE) / training + a_site + 4 * math.sqrt(a_site)) + 4
