"""What of a run cannot work, found before anything is written: its method, its bundles, and its sites' policy."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mdhfl.extras import require
from mdhfl.learning.bundle import built_in_bundles
from mdhfl.methods import Method, name_of
from mdhfl.rounds.experiment import Experiment
from mdhfl.site.allowed import check_defences, check_private_method
from mdhfl.site.settings import SiteSettings

if TYPE_CHECKING:
    from mdhfl.site.budget import Plan


def check_method(
    method: Method, *, engine: str, track: str | None, bundles: Mapping[str, str], validation: int
) -> None:
    """Find a method that cannot run so.

    Args:
        method: of the run.
        engine: "flare" or "inprocess".
        track: "mlflow" or "wandb"; None for neither.
        bundles: site -> its bundle.
        validation: number of labelled images at the server.

    Raises:
        ValueError: with the way out.
        MissingExtra: packages that it needs are missing.
    """
    if method.extra is not None:
        require(method.extra, what=name_of(method))
    method.check_federation(bundles=bundles, validation=validation)
    method.check_engine(engine)
    if track and engine != "flare":
        raise ValueError(f"--track {track}: FLARE's receivers need --engine flare, got {engine}")
    if engine == "flare" and "__main__" in modules_of(method):
        raise ValueError(
            f"method {type(method).__name__}: FLARE's processes cannot see what a script or notebook defines; put the "
            'class into a module of its own, or use engine "inprocess"'
        )


def modules_of(method: Method) -> tuple[str, ...]:
    """Return the module that must be trusted for a method from elsewhere, none for ours."""
    module, colon, _ = name_of(method).partition(":")
    return (module,) if colon else ()


def check_bundles(bundles: Mapping[str, str], federation: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Try the bundles that are not as ours are, before a run stops half-way or learns from what it is not served.

    Args:
        bundles: site -> its bundle.
        federation: the content of federation.json.
        changes: of the bundles' training; with any, ours are tried as well.

    Raises:
        ValueError: what is wrong with them.
    """
    for bundle in sorted(set(bundles.values()) - (set() if changes else set(built_in_bundles()))):
        from mdhfl.learning.bundle_check import verify_bundle

        how = {"num_classes": len(federation["classes"]), "image_size": federation["image_size"], "changes": changes}
        if problems := verify_bundle(bundle, **how):
            raise ValueError("; ".join(problems))


def check_policy(sites: Mapping[str, SiteSettings], experiment: Experiment) -> "dict[str, Plan]":
    """Find what a site's defences or its privacy budget would refuse, and plan what the budgets are spent on.

    Args:
        sites: site -> its settings.
        experiment: in which they take part.

    Returns:
        site -> plan, of those that have a privacy budget.

    Raises:
        Refusal: as the site would at its first request.
        ValueError: a budget is planned for fewer rounds than the run has.
    """
    plans, method, rounds = {}, experiment.method, experiment.rounds
    for site, settings in sites.items():
        check_defences(settings, method, classes=len(experiment.classes))
        check_private_method(settings, method)
        if settings.privacy is None:
            continue
        if settings.privacy.rounds < rounds:
            raise ValueError(
                f"--privacy rounds={settings.privacy.rounds}: expected at least the {rounds} rounds of this run, or it "
                "would stop when the budget is spent; give --rounds or --privacy rounds another number"
            )
        from mdhfl.site.privately import plan_of

        plans[site] = plan_of(settings, method, images=experiment.training_images[site])
    return plans
