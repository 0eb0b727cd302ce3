"""`mdhfl status`: how an experiment stands, at the server or at a site, in the terminal or as a page."""

import sys
from pathlib import Path

import click

from mdhfl.showing.terminal import say


@click.command(name="status", short_help="Show how an experiment stands, at the server or at a site.")
@click.argument("place", default=".")
@click.option("--serve", metavar="ADDRESS:PORT", help="Show it as a page that keeps itself up to date.")
@click.option("--remote", is_flag=True, help="With --serve: let other machines read the page.")
def status_command(place: str, *, serve: str | None, remote: bool) -> None:
    """Show how the experiments in PLACE stand: rounds, sites, last scores, refusals, seconds by phase, disk.

    PLACE is a run's folder, a server's or a site's startup kit, the server's `experiments`, a site's state folder, or
    an experiment's id in the current folder. Files are only read: nobody who works on them is disturbed.

    \b
    Examples:
      mdhfl status runs/a
      mdhfl status kits/server                     # its experiments, the last changed one in full
      mdhfl status mdhfl_plus-0-4f1c2a90           # in a kit's folder: one of its experiments
      mdhfl status kits/server --serve 127.0.0.1:8080
    """
    from mdhfl.status.places import READABLE, locate, read_all

    where = locate(place)
    if serve is not None:
        _serve(where, address=serve, remote=remote)
        return
    found = read_all(where)
    if not found:
        raise ValueError(f"{where}: no experiment here; expected {READABLE}")
    from mdhfl.status.terminal import print_status

    print_status(found)


def _serve(place: Path, *, address: str, remote: bool) -> None:
    from mdhfl.status.page import render
    from mdhfl.status.places import read_all
    from mdhfl.status.serving import StatusServer, address_of

    name = place.resolve().name
    with StatusServer(address_of(address, remote=remote), page=lambda: render(read_all(place), place=name)) as server:
        say(f"{place}: http://{server.host}/ shows how it stands; Ctrl-C ends it")
        sys.stdout.flush()  # also where it goes to a file
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
