"""`mdhfl consortium init`: who takes part, as the project file from which FLARE makes the startup kits."""

import re
from pathlib import Path
from typing import Any

import click
import yaml

from mdhfl.commands.entries import entry_command, join_command
from mdhfl.showing.terminal import say

IMPL = "nvflare.lighter.impl"
ROOT_YEARS = 10


@click.group(name="consortium", short_help="Name who takes part; FLARE makes a startup kit for each.")
def consortium_command() -> None:
    """Set up a consortium: one server, its sites, and those who administrate it."""


consortium_command.add_command(entry_command)
consortium_command.add_command(join_command)


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


def project(*, name: str, sites: list[str], server: str, port: int, admin: str, lead: str) -> dict[str, Any]:
    """Return what `nvflare provision` takes.

    Args:
        name: of the consortium.
        sites: their names; they stand in the certificates, and are the sites' names in experiments.
        server: its host name, which its certificate holds; sites connect to it.
        port: on which it listens, for sites and administrators alike.
        admin: mail address of who may do everything that a kit's policy allows.
        lead: mail address of who may submit jobs.

    Raises:
        ValueError: a name that FLARE's certificates, folders or mdhfl's own files cannot take.
    """
    for option, kind, one in [
        ("--name", "org", name),
        ("--server", "server", server),
        ("--admin", "admin", admin),
        ("--lead", "admin", lead),
        *(("--sites", "client", site) for site in sites),
    ]:
        _check_name(option, kind, one)
    everybody = [server, admin, lead, *sites]
    if not sites or len({one.lower() for one in everybody}) != len(everybody):
        raise ValueError(f"--sites: expected at least one, and different names for all, got {', '.join(everybody)}")
    return {
        "api_version": 3,
        "name": name,
        "description": f"{name}: sites that learn from each other with mdhfl",
        "participants": [
            {"name": server, "type": "server", "org": name, "fed_learn_port": port, "default_host": server},
            *({"name": site, "type": "client", "org": re.sub(r"\W", "_", site)} for site in sites),
            {"name": admin, "type": "admin", "org": name, "role": "project_admin"},
            {"name": lead, "type": "admin", "org": name, "role": "lead"},
        ],
        "builders": [
            {"path": f"{IMPL}.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}},
            {"path": f"{IMPL}.static_file.StaticFileBuilder", "args": {"config_folder": "config"}},
            {"path": f"{IMPL}.cert.CertBuilder", "args": {"root_valid_days": 365 * ROOT_YEARS}},
            {"path": f"{IMPL}.signature.SignatureBuilder"},
        ],
    }


def _check_name(option: str, kind: str, name: str) -> None:
    """Refuse what FLARE would refuse, before it is written."""
    from nvflare.apis.utils.format_check import name_check, type_pattern_mapping

    invalid, _ = name_check(name, kind)
    if invalid:
        raise ValueError(f"{option} {name!r:.100}: FLARE takes no such name; expected {type_pattern_mapping[kind]}")
