"""The arguments of `prepare`, checked before anything is read."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mdhfl.preprocessing.partition.noise import NOISE_KINDS, find_matrix
from mdhfl.preprocessing.partition.sites import SPLIT_KINDS
from mdhfl.preprocessing.raw.cropping import parse_crops
from mdhfl.preprocessing.raw.levels import parse_levels
from mdhfl.preprocessing.raw.limits import DEFAULTS, Limits
from mdhfl.preprocessing.raw.scaling import NAN, REFUSE, Scaling
from mdhfl.preprocessing.raw.table_columns import parse_columns
from mdhfl.preprocessing.raw.window import parse_window
from mdhfl.preprocessing.sources import find_source, source_names

HOLDOUT, PREPARED = "holdout", "prepared"
NEAR = 8  # see docs/data.md for how it was chosen
MOST_NEAR = 16
LIMITS = tuple(field.name for field in fields(Limits))
NOT_RECORDED = ("out", "overwrite")  # do not change what is prepared


@dataclass(frozen=True)
class PrepareArguments:
    """Everything that decides what a federation folder holds.

    Attributes:
        source: name of the private data's source.
        out: the federation folder to write.
        raw: the source's raw data, a folder or a file; None only for `synthetic`.
        also: more private data, each "name=path"; every one is an origin of its own.
        labels: table of labels for `manifest` and `nifti`, where it does not lie beside the data.
        columns: which column of the private data's tables is what, "image=image_id,class=dx"; the others are found.
        fold: the fold, of a table's column of folds, whose pictures are the test part, and no others.
        levels: what each folder level means for `folder`, for example "split/class/group"; None: found in the names.
        label_space: a name, a JSON file, or "auto"; None: "auto", for `synthetic` "cytomorphology13".
        classes: keep only these classes of the label space; empty: all.
        public: "holdout" (a part of the private data, taken away first), the name of another source, or "prepared": a
            public set that was prepared before, taken as it is.
        public_raw: raw data of that source.
        public_count: images in the public set; None: for a holdout as many as a site trains on (`per_site`), at most
            a fifth of the pool; else all available.
        server_validation: labelled images for the server, taken away before the sites' split; required by FedDF.
        sites: number of sites; None: 4, split by source: one per origin.
        split: "iid", "dirichlet", "by_source" or "quantity"; None: "by_source" with several origins, else "iid".
        alpha: concentration of the skewed splits, above 0.
        minimum: minimum number of images per site, all parts together.
        per_site: training images per site; None: all available.
        validation: share of a site's images, from 0 to below 1.
        test: share of a site's images, from 0 to below 1.
        noise: "none", "symmetric", "pairflip" or "matrix"; on training labels only.
        noise_rate: one rate for all sites, or one per site.
        noise_matrix: CSV or JSON file for "matrix", or the name of one in `meta/noise`.
        image_size: side of the square images in pixels.
        crop: "0.8" (fraction), "200" (pixels), or "matek19=0.5" for one source; several may be given.
        window: values that become black and white in pictures of more than 8 bits: "-160,240", in the files' own units;
            for volumes also percentiles of the data set, "1%,99%"; None: by the picture's depth, for volumes from the
            smallest to the largest value of the data set.
        nan: values that are not finite (a masked background): "refuse" the picture, or take them as "black".
        seed: random seed.
        name: name of the federation; None: the folder's.
        near: bits of 64 of a perceptual hash in which nearly identical pictures differ at most; 0: only the same
            pixels are looked for.
        licence: of own data, whose source states none.
        citation: of own data, whose source states none.
        bad_limit: share of unreadable images of a source above which prepare stops.
        max_pixels: most pixels of one picture; larger ones are left out.
        max_unpacked: most GiB that an archive, or a packed volume, may take unpacked.
        max_files: most files or pictures of one source.
        overwrite: replace a federation folder that was prepared with other arguments.
    """

    source: str
    out: Path
    raw: Path | None = None
    also: tuple[str, ...] = ()
    labels: Path | None = None
    levels: str | None = None
    columns: str = ""
    fold: str | None = None
    label_space: str | None = None
    classes: tuple[str, ...] = ()
    public: str = HOLDOUT
    public_raw: Path | None = None
    public_count: int | None = None
    server_validation: int = 0
    sites: int | None = None
    split: str | None = None
    alpha: float = 0.5
    minimum: int = 10
    per_site: int | None = None
    validation: float = 0.1
    test: float = 0.2
    noise: str = "none"
    noise_rate: tuple[float, ...] = ()
    noise_matrix: Path | None = None
    image_size: int = 32
    crop: tuple[str, ...] = ()
    window: str | None = None
    nan: str = REFUSE
    seed: int = 0
    name: str | None = None
    near: int = NEAR
    licence: str | None = None
    citation: str | None = None
    bad_limit: float = 0.1
    max_pixels: int = DEFAULTS.max_pixels
    max_unpacked: int = DEFAULTS.max_unpacked
    max_files: int = DEFAULTS.max_files
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check each argument by itself.

        Raises:
            ValueError: the first that cannot be right.
        """
        _check_choice("source", self.source, source_names())
        _check_choice("public", self.public, [HOLDOUT, PREPARED, *source_names()])
        _check_choice("noise", self.noise, NOISE_KINDS)
        if self.split is not None:
            _check_choice("split", self.split, SPLIT_KINDS)
        _check_range("image_size", self.image_size, low=4, high=4096)
        _check_range("seed", self.seed, low=0, high=2**63 - 1)
        _check_range("bad_limit", self.bad_limit, low=0, high=1)
        _check_range("minimum", self.minimum, low=1, high=10**9)
        _check_range("near", self.near, low=0, high=MOST_NEAR)
        _check_range("server_validation", self.server_validation, low=0, high=10**9)
        for name in LIMITS:
            _check_range(name, getattr(self, name), low=1, high=10**12)
        for name in ("sites", "per_site", "public_count"):
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), low=1, high=10**9)
        if self.validation < 0 or self.test < 0 or self.validation + self.test >= 1:
            raise ValueError(
                f"validation={self.validation}, test={self.test}: expected shares of at least 0 with a sum below 1"
            )
        if self.public == PREPARED and self.public_count is not None:
            raise ValueError("public_count: a prepared public set is taken whole; leave --public-count out")
        if self.public != HOLDOUT and self.public != "synthetic" and self.public_raw is None:
            raise ValueError(f"public set from {self.public}: give its raw data with --public-raw")
        if self.noise in ("symmetric", "pairflip") and not self.noise_rate:
            raise ValueError(f"noise {self.noise}: give its rate with --noise-rate, for example 0.2")
        if self.noise == "matrix" and self.noise_matrix is None:
            raise ValueError("noise matrix: give a CSV or JSON file, or a name, with --noise-matrix")
        parse_crops(self.crop)
        if self.levels is not None:
            parse_levels(self.levels)
        parse_columns(self.columns)
        self._check_provenance()
        _check_choice("nan", self.nan, NAN)
        self.scaling()

    def files(self) -> dict[str, Path]:
        """The files, beside the raw data, whose content decides what is prepared."""
        own_space = Path(self.label_space) if self.label_space and self.label_space.endswith(".json") else None
        matrix = find_matrix(self.noise_matrix) if self.noise == "matrix" and self.noise_matrix is not None else None
        public = self.public_raw if self.public == PREPARED else None
        named = {"labels": self.labels, "noise matrix": matrix, "label space": own_space, "public set": public}
        return {name: path for name, path in named.items() if path is not None}

    def recorded(self) -> dict[str, Any]:
        """The arguments as JSON values: those that change what is prepared; of the limits, those that were changed."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in NOT_RECORDED}
        raised = {name for name in LIMITS if values[name] != getattr(DEFAULTS, name)}
        return {name: _plain(value) for name, value in values.items() if name not in LIMITS or name in raised}

    def limits(self) -> Limits:
        """How much raw data may take."""
        return Limits(**{name: getattr(self, name) for name in LIMITS})

    def scaling(self) -> Scaling:
        """How samples of more than 8 bits become 0..255."""
        if self.window is None:
            return Scaling(nan=self.nan)
        low, high, percent = parse_window(self.window)
        return Scaling(percentiles=(low, high), nan=self.nan) if percent else Scaling((low, high), nan=self.nan)

    def _check_provenance(self) -> None:
        cards = [find_source(name).card for name in (self.source, *(parse_also(text)[0] for text in self.also))]
        if (self.licence is not None or self.citation is not None) and all(card.is_stated for card in cards):
            raise ValueError(
                f"licence or citation given, but {', '.join(card.name for card in cards)} has its own "
                f"({cards[0].licence}): leave --licence and --citation out; they are for own data"
            )
        for name in ("licence", "citation"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise ValueError(f"{name}={value!r}: expected some words, or leave --{name} out")


def parse_also(text: str) -> tuple[str, Path]:
    """ "matek19=AML.zip" as source name and path.

    Raises:
        ValueError: another form, or no such source.
    """
    name, separator, path = text.partition("=")
    if not separator or not path:
        raise ValueError(f"also {text!r}: expected name=path, for example matek19=AML.zip")
    _check_choice("also", name, source_names())
    return name, Path(path)


def _check_choice(name: str, value: str, choices: tuple[str, ...] | list[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(choices)}")


def _check_range(name: str, value: float, *, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}={value}: expected a value from {low} to {high}")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
