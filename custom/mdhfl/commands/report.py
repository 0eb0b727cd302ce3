"""`mdhfl report`: run folders in, one page out."""

from pathlib import Path

import click

from mdhfl.showing.terminal import say

EXAMPLES = """
\b
One run:
  mdhfl report runs/a --out report/
\b
MDH-FL against local-only training, two seeds each (runs that differ in nothing
but their seed are shown as mean and standard deviation):
  mdhfl report runs/mdhfl-0 runs/mdhfl-1 runs/local-0 runs/local-1 --out report/
\b
A run that is still going on or was interrupted works as well.
"""


@click.command(name="report", epilog=EXAMPLES, short_help="Write an HTML report about one or more runs.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", default="report", show_default=True, type=click.Path(path_type=Path), help="Folder to write to.")
def report_command(runs: tuple[Path, ...], out: Path) -> None:
    """Write an HTML report about one or more runs.

    RUN is a folder that `mdhfl run` or `mdhfl poc` wrote, the download of a FLARE job, a server's folder of an
    experiment, or a site's, below "state" in site.json: then the report holds what that site knows, and what left it.
    It is one self-contained file, report.html; beside it lie its figures as PNG, scores.csv (a line per number),
    summary.csv and report.json.
    """
    from mdhfl.extras import require

    require("report", what="a report")
    from mdhfl.reports.groups import compare, group_runs
    from mdhfl.reports.site_run import read_any_run
    from mdhfl.reports.terminal import print_scores
    from mdhfl.reports.write import write_report

    found = [read_any_run(run) for run in runs]
    page = write_report(runs, out=out)
    print_scores([run.summary for run in found])
    for comparison in compare(group_runs(found)):
        say(comparison.in_short)
    say(f"report: {page}")
