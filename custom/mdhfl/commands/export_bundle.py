"""`mdhfl export-bundle`: a site's model, for others to use with MONAI alone."""

from pathlib import Path

import click

from mdhfl.showing.terminal import say

EXAMPLES = """
\b
Example:
  mdhfl export-bundle runs/a --site site-1 --out shared_bundle/
  mdhfl export-bundle /srv/mdhfl/state/mdhfl_plus-0-4f1c2a90 --out shared_bundle/   # at a site
\b
Whoever gets the folder needs MONAI, not mdhfl:
  cd shared_bundle/
  python -m monai.bundle run --config_file configs/inference.yaml --bundle_root . \\
         --input_dir images --output_file predictions.csv
"""


@click.command(name="export-bundle", epilog=EXAMPLES, short_help="Share a site's model as a MONAI bundle.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--site", help="Whose model of a run; not for a site's own folder, which is one site's.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write; must not exist.")
@click.option(
    "--which",
    type=click.Choice(["best", "last", "alone"]),
    help="The model that was best on the site's validation images (mean of 3 rounds, 50 images at least), that of the "
    "last round, or, of a run with a control, the twin that trained alone.  [default: best, or last where there is no "
    "best; alone, where sharing did harm beyond the noise]",
)
def export_bundle_command(folder: Path, site: str | None, out: Path, which: str | None) -> None:
    """Write a site's model as a self-contained MONAI bundle.

    FOLDER is that of a finished run, or an experiment's folder below "state" in site.json. The bundle holds the
    weights, the class names, a model card with the scores on the site's clean test images, and a configuration that
    classifies a folder of images to CSV.
    """
    from mdhfl.export.bundle import export_bundle

    export_bundle(folder, site=site, out=out, which=which)
    say(f"bundle written: {out}    read {out / 'docs' / 'README.md'} before you share it")
