"""`mdhfl check`: is everything there and consistent? Lists all that is wrong, not only the first thing."""

from pathlib import Path

import click

from mdhfl.runs.folder import read_federation, read_run, results_in, site_settings_path
from mdhfl.showing.terminal import say
from mdhfl.site.settings import SiteSettings, read_site_settings


@click.command(name="check", short_help="Check that a federation, site.json, bundle or run is complete and consistent.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--classes", type=click.IntRange(min=2), default=13, show_default=True, help="For a bundle: how many.")
@click.option("--image-size", type=click.IntRange(min=8), default=32, show_default=True, help="For a bundle: pixels.")
def check_command(path: Path, classes: int, image_size: int) -> None:
    """Check a federation folder, a site.json, a bundle or a run folder, and list every problem found.

    \b
    Examples:
      mdhfl check fed/                      # every file there, no image changed, labels in range
      mdhfl check /srv/mdhfl/site.json      # the bundle builds and fits the site's data
      mdhfl check bundles/my_net --classes 8 --image-size 64
      mdhfl check runs/a                    # the sites of a run

    Exit code 0 if all is well, 2 if not.
    """
    what, problems = problems_of(path, classes=classes, image_size=image_size)
    for problem in problems:
        say(f"problem: {problem}", error=True)
    if problems:
        raise ValueError(f"{path}: {what} with {len(problems)} problem{'s' if len(problems) > 1 else ''}")
    say(f"{path}: {what}, all is well")


def problems_of(path: Path, *, classes: int, image_size: int) -> tuple[str, list[str]]:
    """Return what a path is, and everything that is wrong with it.

    Raises:
        ValueError: it is none of the things that can be checked.
    """
    if (path / "federation.json").is_file():
        from mdhfl.preprocessing.folder.verify import verify_federation

        return f"federation, public set {_public_digest(path)}", verify_federation(path, pixels=True)
    home = results_in(path)
    if (home / "experiment.json").is_file():
        experiment, record = read_run(home)
        if not (home / "sites").is_dir():
            return f"results of {len(experiment.sites)} sites, {record['engine']}", _problems_of_results(home)
        found = [_problems_of_site(read_site_settings(site_settings_path(path, site))) for site in experiment.sites]
        return "run", [problem for problems in found for problem in problems]
    if (path / "configs").is_dir():
        from mdhfl.learning.bundle_check import verify_bundle

        return "bundle", verify_bundle(path, num_classes=classes, image_size=image_size)
    if path.is_file() and path.suffix == ".json":
        settings = read_site_settings(path)
        policy = "; ".join(settings.policy) or "none"
        return f"site settings, {_key_of(settings)}, defences: {policy}", _problems_of_site(settings)
    raise ValueError(
        f"{path}: expected a folder with federation.json, experiment.json or configs/, or a site.json; found none"
    )


def _problems_of_results(path: Path) -> list[str]:
    """A server's folder of an experiment, or what came home with a job: no site's settings, but records with seals."""
    from mdhfl.reports.runs import read_report_run
    from mdhfl.store.sealed import Damaged

    try:
        return list(read_report_run(path).notes)
    except (Damaged, ValueError) as error:
        return [str(error)]


def _problems_of_site(settings: SiteSettings) -> list[str]:
    from mdhfl.learning.bundle_check import verify_bundle
    from mdhfl.learning.device import why_missing
    from mdhfl.learning.images import classes_of, image_size_of
    from mdhfl.preprocessing.folder.verify import verify_site_data

    problems = [why] if (why := why_missing(settings.device)) else []
    problems += verify_site_data(settings.data, public_folder=settings.public)
    problems += _problems_of_hosted(settings) if settings.public is None else []
    if problems:
        return problems
    classes = classes_of(settings.data)
    size, changes = image_size_of(settings.data), settings.bundle_changes
    found = verify_bundle(settings.bundle, num_classes=len(classes), image_size=size, changes=changes)
    return [*found, *_problems_of_policy(settings, classes=len(classes))]


def _problems_of_policy(settings: SiteSettings, *, classes: int) -> list[str]:
    """What any method that shares probabilities would be refused for."""
    problem = settings.defences.problem_with(kind="probabilities", classes=classes)
    found = [f"defences: {problem[0]}: {problem[1]}"] if problem else []
    if settings.privacy is not None:
        from mdhfl.site.privately import check_budget

        try:
            check_budget(settings)
        except ValueError as error:
            found.append(str(error))
    return found


def _problems_of_hosted(settings: SiteSettings) -> list[str]:
    """What stands in the way of a public set from the server; one that has not come yet is no problem."""
    from mdhfl.hosting.kept import DATALIST, missing_images, offers_known, set_folder

    if not settings.accept_public:
        return [
            'public: "server", but no offer is accepted, so no public set is fetched; look at what is offered with '
            "`mdhfl accept-public`"
        ]
    problems = []
    for offer in offers_known(settings.state):
        folder = set_folder(settings.state, offer.public_digest)
        if offer.digest in settings.accept_public and (folder / DATALIST).is_file():
            problems += [
                f"{folder}: image {number} is damaged; it is fetched again when the next job begins"
                for number in missing_images(folder, offer)
            ]
    return problems


def _key_of(settings: SiteSettings) -> str:
    """Say which signing key the site's partners in blind sums know it by."""
    from mdhfl.swarm.keys import own_key

    key = own_key(settings.state)
    return "no signing key yet" if key is None else f"signing key {key.public}"


def _public_digest(path: Path) -> str:
    return str(read_federation(path)["public"]["digest"])[:8]
