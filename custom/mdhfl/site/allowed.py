"""Whether a site takes part in what a method does: what its IT allows, its defences, its privacy budget."""

from mdhfl.extras import require
from mdhfl.methods import Method, create
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.site.settings import SiteSettings


def method_of(request: Request, *, settings: SiteSettings) -> Method:
    """Return the method that a request names, if the site trusts its module and takes part in what it does.

    Raises:
        Refusal: there is no such method, its module is not trusted, or the site does not take part.
        MissingExtra: packages that it needs are missing.
    """
    try:
        method = create(request.method, request.parameters, trusted=settings.methods)
    except (ValueError, TypeError) as error:
        raise Refusal("method_unknown", str(error)) from error
    check_allowed(settings, method)
    check_defences(settings, method, classes=len(request.subject.classes))
    check_private_method(settings, method)
    return method


def check_allowed(settings: SiteSettings, method: Method) -> None:
    """Refuse a method that shares what the site's IT does not allow, or whose packages it lacks.

    Raises:
        Refusal: it is not allowed.
        MissingExtra: the packages are missing.
    """
    wanted, allowed = method.needs(), settings.may_share
    if wanted is not None and wanted not in allowed:
        raise Refusal(
            "method_not_allowed",
            f"site {settings.site!r} forbids what this method needs: {type(method).__name__} shares {method.shares}, "
            f'the site allows {", ".join(allowed) or "nothing"}. To take part, its IT adds "{wanted}" to "may_share" '
            "in site.json",
            permission=wanted,
        )
    if method.extra is not None:
        require(method.extra, what=f"site {settings.site!r}: {type(method).__name__}")


def check_defences(settings: SiteSettings, method: Method, *, classes: int) -> None:
    """Refuse a method that shares what the site's defences cannot be applied to.

    Args:
        settings: the site's.
        method: the request's.
        classes: C.

    Raises:
        Refusal: with the first defence that cannot be met.
    """
    policy = settings.defences
    if not policy.chosen or (method.answers_with is None and method.permission is None):
        return
    name = type(method).__name__
    if method.answers_with is not Knowledge:
        found: tuple[str, str] | None = next(iter(policy.chosen)), f"{name} shares {method.shares}, no knowledge"
    else:
        found = policy.problem_with(kind=method.knowledge_kind, classes=classes)
    if found is not None:
        defence, why = found
        raise Refusal(
            "defended",
            f"site {settings.site!r}: its defence {defence!r} cannot be met with {name}: {why}. Its IT changes "
            '"defences" in site.json, or does not take part',
            defence=defence,
        )


def check_private_method(settings: SiteSettings, method: Method) -> None:
    """Refuse a method that trains on private images by other means than DP-SGD, if the site has a privacy budget.

    Raises:
        Refusal: naming what the method does.
    """
    if settings.privacy is None:
        return
    ways = {
        "trains a twin beside (control)": method.trains_twin(),
        "replaces labels by answers about private images (relabel_above)": method.trust(1) < 1,
        "remembers answers about private images (early_weight)": method.early_learning() > 0,
        "trains a second network (a proxy)": method.proxy_bundle() is not None,
        "pools the images of all sites": type(method).training_images is not Method.training_images,
        "merges among the sites, where nothing of it was tried": type(method).receive is not Method.receive,
    }
    if found := [what for what, does in ways.items() if does]:
        raise Refusal(
            "defended",
            f"site {settings.site!r}: with privacy in its site.json it cannot run {type(method).__name__}, which "
            f"{found[0]}: that would say something of private images without noise. Set it otherwise, or choose "
            "another method",
            defence="privacy",
        )
