"""`mdhfl leaves`: what left a site in an experiment, field by field."""

from pathlib import Path

import click

from mdhfl.reports.left import print_left
from mdhfl.site.left import LEFT, read_left


@click.command(name="leaves", short_help="List what left a site in an experiment, field by field, with bytes.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def leaves_command(folder: Path) -> None:
    """List what left a site in an experiment, field by field, with bytes.

    FOLDER is the experiment's folder in the site's state folder, or one that holds several sites', like a run's.

    \b
    Examples:
      mdhfl leaves /srv/mdhfl/state/mdhfl_plus-0-4f1c2a90
      mdhfl leaves runs/a
    """
    found = sorted(folder.rglob(LEFT))
    if not found:
        raise ValueError(
            f"{folder}: expected a folder with {LEFT}, which a site writes as its answers leave; give the experiment's "
            'folder below "state" of site.json'
        )
    for path in found:
        print_left(path.parent, read_left(path))
