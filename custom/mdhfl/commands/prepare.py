"""`mdhfl prepare`: raw images to a federation folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mdhfl.commands.prepared import print_look, print_summary
from mdhfl.preprocessing.arguments import HOLDOUT, MOST_NEAR, NEAR, PrepareArguments
from mdhfl.preprocessing.look import look
from mdhfl.preprocessing.partition.noise import NOISE_KINDS
from mdhfl.preprocessing.partition.sites import SPLIT_KINDS
from mdhfl.preprocessing.prepare import prepare
from mdhfl.preprocessing.raw.limits import DEFAULTS
from mdhfl.preprocessing.raw.scaling import NAN, REFUSE
from mdhfl.preprocessing.sources import source_names
from mdhfl.showing.console import open_console
from mdhfl.showing.texts import one_line

EXISTING = click.Path(exists=True, path_type=Path)
NEW = click.Path(path_type=Path)

HELP = """Make a federation folder from raw images: private sets of the sites, a public set, cards and contact sheets.

SOURCE is a known dataset or a general format:

\b
  synthetic   generated cells; needs no data
  acevedo20   8 blood cell folders, finer classes in the file names
  matek19     15 blood cell codes
  int20       the folders of INT_20
  folder      one folder per class
  manifest    a table (CSV, Excel) of files and classes, optional groups and split
  medmnist    an .npz of the MedMNIST family
  nifti       NIfTI with a table of labels

Pictures may be PNG, JPEG, TIFF, DICOM, WebP, GIF, BMP or PPM, of any depth.

The same arguments give identical files. A rerun with the same arguments does nothing.

\b
Examples:
  mdhfl prepare synthetic --out fed/
  mdhfl prepare folder --raw cells.zip --out fed/ --dry-run
  mdhfl prepare folder --raw cells.zip --label-space auto --sites 2 --public holdout --out fed/
  mdhfl prepare acevedo20 --raw PBC.zip --label-space cytomorphology13 \\
        --public matek19 --public-raw AML.zip --sites 4 --split dirichlet --alpha 0.5 \\
        --per-site 800 --noise symmetric --noise-rate 0.2 --image-size 32 --seed 0 --out fed/
  mdhfl prepare nifti --raw scans/ --labels labels.csv --window -160,240 --out fed/
  mdhfl prepare acevedo20 --raw PBC.zip --also matek19=AML.zip --also manifest=jtsc.zip \\
        --also manifest=bccd.zip --label-space common4 --split by_source --per-site 100 --out fed/
"""


def noise_rates(context: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...]:
    """ "0.2" or "0.1,0.2,0.3,0" as numbers."""
    try:
        return tuple(float(text) for text in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r}: expected 0.2, or one rate per site: 0.1,0.2,0.3,0") from None


def class_names(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...]:
    """ "monocyte,eosinophil" as names."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if value else ()


@click.command("prepare", help=HELP)
@click.argument("source", type=click.Choice(source_names()), metavar="SOURCE")
@click.option("--out", type=NEW, required=True, help="The federation folder to write.")
@click.option("--raw", type=EXISTING, help="The raw data: a folder, a zip or an .npz.")
@click.option("--also", multiple=True, metavar="NAME=PATH", help="More private data from another source; repeatable.")
@click.option("--labels", type=EXISTING, help="Table of labels for manifest and nifti, if not beside the data.")
@click.option(
    "--columns",
    default="",
    metavar="WHAT=NAME,...",
    help="Which column of a table is what: image=image_id,class=dx,group=lesion_id; group= or split= for none.  "
    "[default: found by their usual names]",
)
@click.option("--fold", metavar="FOLD", help="Of a table with folds: make this one the test part, and nothing else.")
@click.option(
    "--levels",
    metavar="A/B/...",
    help="For folder: what each level is, from the top: class, group, split or *.  [default: found in the names]",
)
@click.option("--label-space", help="A name (cytomorphology13, acevedo8, common5, common4), auto, or a JSON file.")
@click.option("--classes", callback=class_names, metavar="A,B,...", help="Keep only these classes of the label space.")
@click.option(
    "--public",
    default=HOLDOUT,
    show_default=True,
    help="Source of the public set; holdout to take it from the private data; prepared for the `public` folder of "
    "another federation (--public-raw), as it is.",
)
@click.option("--public-raw", type=EXISTING, help="Raw data of the public set's source.")
@click.option(
    "--public-count",
    type=int,
    help="Images in the public set.  [default: for holdout as many as --per-site, at most a fifth of the pool; "
    "else all available]",
)
@click.option("--server-validation", default=0, metavar="N", help="Labelled images for the server (required by FedDF).")
@click.option("--sites", type=int, help="Number of sites.  [default: 4; by_source: one per source]")
@click.option("--split", type=click.Choice(SPLIT_KINDS), help="How images are divided among sites.  [default: iid]")
@click.option(
    "--alpha",
    default=0.5,
    show_default=True,
    help="Concentration for dirichlet and quantity splits; smaller means more skew.",
)
@click.option("--minimum", default=10, show_default=True, help="Minimum number of images per site.")
@click.option("--per-site", type=int, help="Training images per site.  [default: all available]")
@click.option("--validation", default=0.1, show_default=True, help="Share of each site's images used for validation.")
@click.option("--test", default=0.2, show_default=True, help="Share of each site's images used for testing.")
@click.option(
    "--noise", type=click.Choice(NOISE_KINDS), default="none", show_default=True, help="Noise on training labels."
)
@click.option(
    "--noise-rate", callback=noise_rates, metavar="RATE[,RATE...]", help="One rate for all sites, or one per site."
)
@click.option(
    "--noise-matrix",
    type=click.Path(path_type=Path),
    help="CSV or JSON (row: true class, column: probability of the given label), or a name: morphology.",
)
@click.option("--image-size", default=32, show_default=True, help="Side length of the square images in pixels.")
@click.option(
    "--crop", multiple=True, metavar="CROP", help="Centre crop: 0.8 (share), 200 (pixels) or matek19=200 (one source)."
)
@click.option(
    "--window",
    metavar="LOW,HIGH",
    help="Values that become black and white where pictures have more than 8 bits: -160,240 in their own units; for "
    "volumes also percentiles of the data set: 1%,99%.  [default: by depth; volumes: the data set's range]",
)
@click.option(
    "--nan",
    type=click.Choice(NAN),
    default=REFUSE,
    show_default=True,
    help="Values that are not finite, such as a masked background: leave the picture out, or take them as black.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option("--name", help="Name of the federation.  [default: the folder's name]")
@click.option(
    "--near",
    type=click.IntRange(0, MOST_NEAR),
    default=NEAR,
    show_default=True,
    metavar="BITS",
    help="Keep pictures on one side whose perceptual hashes differ in at most so many of 64 bits; 0: only equal ones.",
)
@click.option("--licence", help="Licence of your own data, for the cards.")
@click.option("--citation", help="How your own data is to be cited, for the cards.")
@click.option(
    "--bad-limit", default=0.1, show_default=True, help="Stop if more than this share of images is unreadable."
)
@click.option(
    "--max-pixels",
    default=DEFAULTS.max_pixels,
    show_default=True,
    help="Leave out pictures with more pixels than this.",
)
@click.option(
    "--max-unpacked",
    default=DEFAULTS.max_unpacked,
    show_default=True,
    metavar="GIB",
    help="Refuse an archive or packed volume that takes more than this when unpacked.",
)
@click.option(
    "--max-files", default=DEFAULTS.max_files, show_default=True, help="Refuse raw data with more files than this."
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read images.  [default: one per core]")
@click.option("--overwrite", is_flag=True, help="Replace a federation prepared with other arguments.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only say what was understood, and write one contact sheet beside the folder: OUT-look.png.",
)
def prepare_command(workers: int | None, dry_run: bool, **options: Any) -> None:
    """Run `prepare` with a progress bar and print what came out."""
    arguments = PrepareArguments(**options)
    console = open_console()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        told: list[str] = []

        def tell(note: str) -> None:
            told.append(note)
            console.print(f"note: {one_line(note)}")

        if dry_run:
            seen = look(arguments, progress=_bar_updater(bars), workers=workers)
        else:
            prepared = prepare(arguments, progress=_bar_updater(bars), workers=workers, tell=tell)
    if dry_run:
        print_look(seen, console=console)
    else:
        print_summary(prepared, console=console, told=told)


def _bar_updater(bars: Progress) -> Callable[[str, int, int], None]:
    tasks: dict[str, Any] = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    return update
