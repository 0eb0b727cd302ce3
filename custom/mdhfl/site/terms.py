"""What a site's part in an experiment was begun with: what the server asks, and what is the site's own."""

from collections.abc import Mapping
from typing import Any

from mdhfl.learning.bundle_digest import bundle_digest
from mdhfl.learning.images import digest_of_private_set
from mdhfl.sharing.messages import Request
from mdhfl.sharing.reasons import TERMS, Refusal
from mdhfl.site.settings import SiteSettings
from mdhfl.store.terms import differences

OWN = ("bundle", "data")  # names of the site's own terms that its IT may change on purpose
PRIVATE = ("without", "with a budget")


def asked_terms(request: Request) -> dict[str, Any]:
    """Return what must stay the same in every request of an experiment, as plain values."""
    return {
        "method": request.method,
        "parameters": dict(request.parameters),
        "seed": request.seed,
        "classes": list(request.subject.classes),
        "public set": request.subject.public_digest[:16],
    }


def own_terms(settings: SiteSettings) -> dict[str, Any]:
    """Return what must stay the same at the site: digests of its bundle's configurations and of its datalist.

    And whether it has a privacy budget: what was trained without noise cannot be private later.

    Raises:
        BundleError, DataError: there is no such bundle or data.
    """
    bundle, data = bundle_digest(settings.bundle, changes=settings.bundle_changes), digest_of_private_set(settings.data)
    return {"bundle": bundle[:16], "data": data[:16], "privacy": PRIVATE[bool(settings.privacy)]}


def check_terms(before: Mapping[str, Any], now: Mapping[str, Any], *, site: str, experiment: str) -> None:
    """Refuse to continue an experiment with anything else than it was begun with. Raises Refusal.

    Own terms that are not known any more, since the site's IT has changed them on purpose, may be new ones.
    """
    known = {"privacy": PRIVATE[False], **{name: now[name] for name in OWN if name in now}, **before}
    if found := differences(known, now):
        raise Refusal(
            "other_experiment",
            f"site {site!r}: experiment {experiment!r} was begun with something else: {found}. Put it back, or start a "
            "new experiment under another id",
            differs=", ".join(name for name in TERMS if known.get(name) != now.get(name)),
        )
