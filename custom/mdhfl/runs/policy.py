"""The policy of a run's simulated sites, tried before anything is written: what is refused, and what is spent."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mdhfl.methods import Method
from mdhfl.site.allowed import check_defences, check_private_method
from mdhfl.site.settings import SiteSettings

if TYPE_CHECKING:
    from mdhfl.site.budget import Plan


def check_policy(
    sites: Mapping[str, SiteSettings], method: Method, *, classes: int, images: Mapping[str, int], rounds: int
) -> "dict[str, Plan]":
    """Find what a site's defences or its privacy budget would refuse, and plan what the budgets are spent on.

    Args:
        sites: site -> its settings.
        method: of the run.
        classes: C.
        images: site -> number of training images.
        rounds: of the run, after the warm-up.

    Returns:
        site -> plan, of those that have a privacy budget.

    Raises:
        Refusal: as the site would at its first request.
        ValueError: a budget is planned for fewer rounds than the run has.
    """
    plans = {}
    for site, settings in sites.items():
        check_defences(settings, method, classes=classes)
        check_private_method(settings, method)
        if settings.privacy is None:
            continue
        if settings.privacy.rounds < rounds:
            raise ValueError(
                f"--privacy rounds={settings.privacy.rounds}: expected at least the {rounds} rounds of this run, or it "
                "would stop when the budget is spent; give --rounds or --privacy rounds another number"
            )
        from mdhfl.site.privately import plan_of

        plans[site] = plan_of(settings, method, images=images[site])
    return plans
