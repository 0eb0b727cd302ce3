"""Who takes part in a consortium, as the project from which FLARE makes the startup kits."""

import re
from collections.abc import Sequence
from typing import Any

IMPL = "nvflare.lighter.impl"
ROOT_YEARS = 10


def project(*, name: str, sites: Sequence[str], server: str, port: int, admin: str, lead: str) -> dict[str, Any]:
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
