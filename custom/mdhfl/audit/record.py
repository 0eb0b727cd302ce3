"""`audit.json`: an audit as plain values, as `meta/schemas/audit.schema.json` describes them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mdhfl import __version__
from mdhfl.audit.audit import Audit, Membership, SiteAudit, lights_of
from mdhfl.audit.lights import EXPLAINED
from mdhfl.files import write_json

FILE = "audit.json"


def write_audit(audit: Audit) -> Path:
    """Write `audit.json` into the folder that was audited, and return its path. Raises StateError."""
    path = audit.folder / FILE
    write_json(path, plain_audit(audit))
    return path


def plain_audit(audit: Audit) -> dict[str, Any]:
    """Return an audit as plain JSON values."""
    return {
        "version": 1,
        "written_with": {"mdhfl": __version__},
        "method": audit.method,
        "shares": audit.shares,
        "shadows": audit.shadows,
        "own": audit.own,
        "predicted": audit.predicted,
        "notes": list(audit.notes),
        "explained": [list(each) for each in EXPLAINED],
        "sites": [_site(each) for each in audit.sites],
        "together": {
            "lights": lights_of(audit.together),
            "membership": [_membership(each) for each in audit.together],
        },
    }


def _site(site: SiteAudit) -> dict[str, Any]:
    counts = {**asdict(site.counts), "told": list(site.counts.told)}
    return {
        "site": site.site,
        "rounds": list(site.rounds),
        "lights": site.lights,
        "labels": None if site.labels is None else {**asdict(site.labels), "best": site.labels.best},
        "membership": [_membership(each) for each in site.membership],
        "inversion": None if site.inversion is None else asdict(site.inversion),
        "counts": counts,
        "notes": list(site.notes),
    }


def _membership(one: Membership) -> dict[str, Any]:
    found = one.found
    return {
        "threat": one.threat,
        "attack": one.attack,
        "members": found.members,
        "non_members": found.non_members,
        "auc": None if found.auc is None else asdict(found.auc),
        "tpr": {f"{rate:g}": None if value is None else asdict(value) for rate, value in found.tpr.items()},
    }
