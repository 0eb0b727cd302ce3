"""`mdhfl consortium init`: who takes part, as the project file from which FLARE makes the startup kits."""

from pathlib import Path

import click
import yaml

from mdhfl.commands.entries import entry_command, join_command
from mdhfl.commands.offers import offer_command
from mdhfl.flare.project import project
from mdhfl.showing.terminal import say


@click.group(name="consortium", short_help="Name who takes part; FLARE makes a startup kit for each.")
def consortium_command() -> None:
    """Set up a consortium: one server, its sites, and those who administrate it."""


consortium_command.add_command(entry_command)
consortium_command.add_command(join_command)
consortium_command.add_command(offer_command)


@consortium_command.command(name="init")
@click.option("--sites", required=True, help="Names of the sites, with commas.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
@click.option("--name", default="mdhfl", show_default=True, help="Of the consortium.")
@click.option("--server", default="localhost", show_default=True, help="Host name under which sites reach the server.")
@click.option("--port", type=click.IntRange(1, 65535), default=8002, show_default=True, help="TCP port of the server.")
@click.option("--admin", default="admin@{name}.example", show_default=True, help="May submit, watch and end any job.")
@click.option("--lead", default="lead@{name}.example", show_default=True, help="May submit jobs, and end their own.")
def init_command(*, sites: str, out: Path, name: str, server: str, port: int, admin: str, lead: str) -> None:
    """Write project.yml, which `nvflare provision` turns into startup kits with certificates of their own.

    \b
    Example:
      mdhfl consortium init --sites berlin,paris --server fl.example.org --out consortium
      nvflare provision -p consortium/project.yml -w consortium/kits
    """
    names = [site.strip() for site in sites.split(",") if site.strip()]
    path = out / "project.yml"
    if path.exists():
        raise ValueError(
            f"{path}: exists already; a consortium grows with `nvflare provision` on an edited project.yml"
        )
    content = project(
        name=name,
        sites=names,
        server=server,
        port=port,
        admin=admin.format(name=name),
        lead=lead.format(name=name),
    )
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    kits = out / "kits" / name / "prod_00"
    say(f"written: {path}")
    say(f"next: nvflare provision -p {path} -w {out / 'kits'}")
    say(f"then: mdhfl server-kit --out {kits / server}")
    say(f"each site's IT, with its kit ({kits}/<site>): mdhfl site-kit --help")
