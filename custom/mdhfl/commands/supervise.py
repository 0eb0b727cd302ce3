"""`mdhfl supervise`: submit a job, and submit it again until its experiment has finished. `mdhfl sweep`: end a kit."""

import contextlib
import logging
import time
from pathlib import Path

import click

from mdhfl.showing.terminal import say

KIT = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(name="supervise", short_help="Submit a job to a FLARE server, again and again until it is completed.")
@click.argument("job", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--kit", type=KIT, required=True, help="The administrator's startup kit: the folder with `startup`.")
@click.option("--attempts", type=click.IntRange(min=1), default=10, show_default=True, help="Submissions at most.")
@click.option("--pause", type=click.FloatRange(min=1), default=30.0, show_default=True, help="Seconds between two.")
def supervise_command(job: Path, *, kit: Path, attempts: int, pause: float) -> None:
    """Submit JOB, follow it, and submit it again when it ends without a result: its experiment continues.

    Waits for a server that does not answer. Stops on a result, when an administrator aborts the job, when the server
    refuses it, and when the same error comes twice without a new round in between.

    \b
    Example:
      mdhfl supervise fl_jobs/mdhfl --kit kits/admin@nvidia.com
    """
    from mdhfl.flare.admin import FlareServer
    from mdhfl.flare.supervise import supervise

    logging.getLogger().addHandler(logging.NullHandler())  # else FLARE's warnings stand between our lines
    with contextlib.closing(FlareServer(kit)) as server:
        supervise(job, server=server, attempts=attempts, pause=pause, say=_say)


@click.command(name="sweep", short_help="End every process that a startup kit has left on this machine.")
@click.argument("kits", type=KIT, nargs=-1, required=True)
def sweep_command(kits: tuple[Path, ...]) -> None:
    """Kill whatever FLARE runs for KITS on this machine: scripts, servers, clients, jobs, stopped ones too.

    For a kit that failed to start, or that does not stop. Nothing is lost: every finished round is on disk.

    \b
    Example:
      mdhfl sweep kits/server kits/site-1 kits/site-2
    """
    from mdhfl.flare.processes import sweep

    for kit in kits:
        ended = sweep(kit)
        for line in ended:
            say(f"{kit}: ended {line}")
        if not ended:
            say(f"{kit}: nothing was running")


def _say(line: str) -> None:
    say(f"{time.strftime('%H:%M:%S')} {line}")
