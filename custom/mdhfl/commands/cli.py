"""The `mdhfl` command."""

import io
import os
import sys

import click

from mdhfl import __version__
from mdhfl.extras import MissingExtra
from mdhfl.showing.terminal import say, say_exception

COMMANDS = {
    "prepare": ("mdhfl.commands.prepare", "prepare_command", "Turn raw images into a federation folder."),
    "check": (
        "mdhfl.commands.check",
        "check_command",
        "Check that a federation, site.json, bundle or run is complete and consistent.",
    ),
    "methods": ("mdhfl.commands.methods", "methods_command", "List the methods, or one method's hyper-parameters."),
    "run": ("mdhfl.commands.run", "run_command", "Train a federation with one method."),
    "poc": ("mdhfl.commands.poc", "poc_command", "Rehearse with FLARE's own server and sites on this machine."),
    "compare": ("mdhfl.commands.compare", "compare_command", "Compare methods on the same data: table, figure, CSV."),
    "report": ("mdhfl.commands.report", "report_command", "Write a report of one or more runs."),
    "export-bundle": (
        "mdhfl.commands.export_bundle",
        "export_bundle_command",
        "Share a site's model as a MONAI bundle.",
    ),
    "new-bundle": (
        "mdhfl.commands.new_bundle",
        "new_bundle_command",
        "Make a bundle of an architecture from MONAI, torchvision or your own package.",
    ),
    "consortium": (
        "mdhfl.commands.consortium",
        "consortium_command",
        "Name who takes part; FLARE makes a startup kit for each.",
    ),
    "restart-site": (
        "mdhfl.commands.restart_site",
        "restart_site_command",
        "Let a site that stopped go on from its last good state.",
    ),
    "leaves": ("mdhfl.commands.leaves", "leaves_command", "List what left a site in an experiment, field by field."),
    "audit": ("mdhfl.commands.audit", "audit_command", "Measure what a run gave away, by attacks on what was sent."),
    "site-kit": (
        "mdhfl.commands.kits",
        "site_kit_command",
        "Write a site's settings and policies into its FLARE startup kit.",
    ),
    "server-kit": (
        "mdhfl.commands.kits",
        "server_kit_command",
        "Write the server's policies into its FLARE startup kit.",
    ),
    "status": ("mdhfl.commands.status", "status_command", "Show how an experiment stands, at the server or at a site."),
    "supervise": (
        "mdhfl.commands.supervise",
        "supervise_command",
        "Submit a job to a FLARE server, again and again until it is completed.",
    ),
    "sweep": (
        "mdhfl.commands.supervise",
        "sweep_command",
        "End every process that a startup kit has left on this machine.",
    ),
}


class LazyGroup(click.Group):
    """Imports a command only when it is used: `mdhfl --help` must not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def group(debug: bool) -> None:
    """Federated learning for hospitals whose models and data differ.

    \b
    A first run, from nothing to a report:
      mdhfl prepare synthetic --out fed/
      mdhfl run mdhfl_plus --federation fed/ --rounds 5 --out runs/a
      mdhfl report runs/a --out report/
    """


def one_line_errors(command: click.Command) -> None:
    """Run a command; a user's mistake becomes one line and exit code 2, with --debug or MDHFL_DEBUG a traceback."""
    sys.excepthook = say_exception
    debug = "--debug" in sys.argv or bool(os.environ.get("MDHFL_DEBUG"))
    try:
        command.main(standalone_mode=False)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.Abort:
        sys.exit("interrupted")
    except click.UsageError as error:
        _say_usage(error)
        sys.exit(2)
    except click.ClickException as error:
        say(f"Error: {error.format_message()}", error=True)
        sys.exit(1)
    except (ValueError, OSError, RuntimeError, MissingExtra) as error:
        if debug:
            raise
        say(f"Error: {error}", error=True)
        sys.exit(1 if isinstance(error, RuntimeError) else 2)


def _say_usage(error: click.UsageError) -> None:
    text = io.StringIO()
    error.show(file=text)
    for line in text.getvalue().splitlines():
        say(line, error=True)


def main() -> None:
    """Entry point of the `mdhfl` command."""
    one_line_errors(group)


if __name__ == "__main__":
    main()
