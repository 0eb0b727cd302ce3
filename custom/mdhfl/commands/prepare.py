"""`mdhfl prepare`: raw images to a federation folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mdhfl.files import read_json
from mdhfl.preprocessing.arguments import HOLDOUT, PrepareArguments
from mdhfl.preprocessing.partition.noise import NOISE_KINDS
from mdhfl.preprocessing.partition.sites import SPLIT_KINDS
from mdhfl.preprocessing.prepare import Prepared, prepare
from mdhfl.preprocessing.raw.limits import DEFAULTS
from mdhfl.preprocessing.raw.scaling import NAN, REFUSE
from mdhfl.preprocessing.sources import source_names
from mdhfl.showing.console import InertConsole, open_console
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
  manifest    a CSV with file, class, optional group and split
  medmnist    an .npz of the MedMNIST family
  nifti       NIfTI with a CSV of labels

Pictures may be PNG, JPEG, TIFF, DICOM, WebP, GIF, BMP or PPM, of any depth.

The same arguments give identical files. A rerun with the same arguments does nothing.

\b
Examples:
  mdhfl prepare synthetic --out fed/
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
@click.option("--labels", type=EXISTING, help="CSV of labels for manifest and nifti, if not beside the data.")
@click.option("--label-space", help="A name (cytomorphology13, acevedo8, common5, common4), auto, or a JSON file.")
@click.option("--classes", callback=class_names, metavar="A,B,...", help="Keep only these classes of the label space.")
@click.option(
    "--public",
    default=HOLDOUT,
    show_default=True,
    help="Source of the public set, or holdout to take it from the private data.",
)
@click.option("--public-raw", type=EXISTING, help="Raw data of the public set's source.")
@click.option(
    "--public-count",
    type=int,
    help="Images in the public set.  [default: a fifth of the pool for holdout, else all available]",
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
def prepare_command(workers: int | None, **options: Any) -> None:
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
        prepared = prepare(arguments, progress=_bar_updater(bars), workers=workers)
    print_summary(prepared, console=console)


def print_summary(prepared: Prepared, *, console: InertConsole) -> None:
    """Print a class-by-site table, label noise as realised, and what was left out."""
    federation = prepared.federation
    cards = {site: read_json(prepared.folder / "sites" / site / "card.json") for site in federation["sites"]}
    table = Table(title=f"{federation['name']}: images per site (training / validation / test)")
    table.add_column("class")
    for site in cards:
        table.add_column(site, justify="right")
    for name in federation["classes"]:
        counts = [card["counts"] for card in cards.values()]
        table.add_row(name, *(" / ".join(str(one[part].get(name, 0)) for part in one) for one in counts))
    table.add_section()
    sums = federation["sites"].values()
    table.add_row("all", *(" / ".join(str(one[part]) for part in ("training", "validation", "test")) for one in sums))
    table.add_row("label noise", *(_noise_text(card["noise"]) for card in cards.values()))
    console.print(table)
    console.print(f"public set: {federation['public']['count']} images, digest {federation['public']['digest'][:16]}")
    dropped = sum(federation.get("dropped", {}).values())
    console.print(
        f"left out: {federation['skipped']} files ({federation['duplicates']} of them duplicates), "
        f"{dropped} outside the label space, {federation.get('unused', 0)} not needed"
    )
    for origin, facts in federation.get("reading", {}).items():
        if facts["read_as"]:
            read_as = ", ".join(f"{said}: {count}" for said, count in facts["read_as"].items())
            console.print(f"pictures of {one_line(origin)}: {one_line(read_as)}")
    for note in federation.get("notes", []):
        console.print(f"note: {one_line(note)}")
    done = "up to date" if prepared.up_to_date else f"written in {prepared.seconds:.1f} s"
    console.print(f"{done}: {one_line(prepared.folder)}; see its overview folder")


def _bar_updater(bars: Progress) -> Callable[[str, int, int], None]:
    tasks: dict[str, Any] = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    return update


def _noise_text(noise: dict[str, Any]) -> str:
    return "none" if noise["kind"] == "none" else f"{noise['kind']} {noise['realised_rate']:.3f}"
