"""`mdhfl restart-site`: lift the mark of a site that stopped because its own training diverged."""

from pathlib import Path

import click

from mdhfl.showing.terminal import say


@click.command(name="restart-site", short_help="Let a site that stopped go on from its last good state.")
@click.argument("folder", type=click.Path(path_type=Path))
def restart_site_command(folder: Path) -> None:
    """Let a site that stopped go on from its last good state, in the next round of the same experiment.

    FOLDER is the experiment's folder below "state" in site.json. Mend the cause first (the learning rate in the bundle,
    wrong images): otherwise the site stops again. Bundle and data may change for it; the optimiser begins anew.

    \b
    Example:
      mdhfl restart-site /srv/mdhfl/state/mdhfl-0-1a2b3c4d
    """
    from mdhfl.site.folder import lift_stop

    say(f"it had stopped: {lift_stop(folder)}")
    say(f"{folder}: the mark is lifted; the site goes on when the server asks it next")
