"""`mdhfl site-kit`, `mdhfl server-kit`: what IT puts into a FLARE startup kit, written in one go and explained."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mdhfl.commands.offers import checked_offer
from mdhfl.commands.options import policy_of, policy_options
from mdhfl.flare.kits import write_server_kit, write_site_kit
from mdhfl.hosting.offer import in_words
from mdhfl.learning.bundle_changes import split_changes, with_prefix
from mdhfl.runs.recipe import parse_changes
from mdhfl.showing.terminal import say
from mdhfl.site.defences import defences_from, privacy_from
from mdhfl.site.settings import FROM_SERVER, SCORES, SiteSettings, read_site_settings

KIT = click.Path(path_type=Path, exists=True, file_okay=False)
PLACE = click.Path(path_type=Path)


def _keep(context: click.Context, _: click.Parameter, kit: Path) -> Path:
    """Let what the kit's site.json says stand in for every option that is not given: an update loosens no policy."""
    path = kit / "local" / "site.json"
    if path.exists():
        try:
            context.default_map = _as_options(read_site_settings(path))
        except ValueError as error:
            raise ValueError(f"{error}; mend it, or delete it to begin anew") from error
    return kit


@click.command(name="site-kit", short_help="Write a site's settings and policies into its FLARE startup kit.")
@click.option(
    "--out",
    "kit",
    type=KIT,
    required=True,
    is_eager=True,
    callback=_keep,
    help="The startup kit: the folder with `startup` and `local`.",
)
@click.option("--site", required=True, help="The site's name in the kit.")
@click.option("--data", type=PLACE, required=True, help="The site's folder from `mdhfl prepare`.")
@click.option("--public", required=True, help="The folder of the public set; `server`: the server sends it.")
@click.option(
    "--accept-public",
    default="",
    help="Digests of a server's offers that the site takes, with commas; `mdhfl accept-public` shows what they are.",
)
@click.option(
    "--largest-public",
    type=click.IntRange(min=1),
    default=SiteSettings.largest_public,
    show_default=True,
    help="Bytes that public sets from servers may take on disk, all together.",
)
@click.option("--state", type=PLACE, required=True, help="Where models and progress are kept; must outlive jobs.")
@click.option("--bundle", required=True, help="A built-in bundle's name, or the path of your own (a bundle is code).")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option(
    "--may-share",
    default="knowledge",
    show_default=True,
    help="What may leave beside scores: knowledge, blind_knowledge, weights, encrypted_weights; several with commas.",
)
@click.option(
    "--scores",
    type=click.Choice(SCORES),
    default="aggregated",
    show_default=True,
    help="What leaves of scores and losses: nothing, means of three decimals, or confusion matrices as well.",
)
@click.option(
    "--minimum-images",
    type=click.IntRange(min=2),
    default=SiteSettings.minimum_images,
    show_default=True,
    help="With fewer training images nothing leaves; at least --smallest-count.",
)
@click.option(
    "--minimum-classes",
    type=click.IntRange(min=1),
    default=SiteSettings.minimum_classes,
    show_default=True,
    help="With training images of fewer classes nothing leaves.",
)
@click.option(
    "--smallest-count",
    type=click.IntRange(min=1),
    default=SiteSettings.smallest_count,
    show_default=True,
    help="The smallest number of images that is told.",
)
@click.option(
    "--minimum-sites",
    type=click.IntRange(min=2),
    default=SiteSettings.minimum_sites,
    show_default=True,
    help="In a blind sum of fewer sites nothing leaves.",
)
@click.option(
    "--partner",
    "partners",
    multiple=True,
    metavar="SITE=KEY",
    help="A site's signing key (`mdhfl check` shows it there); repeatable: no blind sums with any other.",
)
@click.option("--withhold", default="", help="What never leaves though a method asks for it: competences.")
@click.option("--weights", type=PLACE, help="A state_dict of the bundle that the network starts from.")
@click.option(
    "--methods",
    default="",
    help="Modules of methods from elsewhere that a job may name, with commas. Their code runs at the site.",
)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="bundle.NAME=VALUE",
    help="Change the bundle's training, for example bundle.learning_rate=3e-4; repeatable.",
)
@policy_options
def site_kit_command(
    kit: Path,
    *,
    site: str,
    data: Path,
    public: str,
    accept_public: str,
    largest_public: int,
    state: Path,
    bundle: str,
    device: str,
    threads: int,
    may_share: str,
    scores: str,
    minimum_images: int,
    minimum_classes: int,
    smallest_count: int,
    minimum_sites: int,
    partners: tuple[str, ...],
    withhold: str,
    weights: Path | None,
    methods: str,
    pairs: tuple[str, ...],
    defences: tuple[str, ...],
    privacy: tuple[str, ...],
) -> None:
    """Write site.json, resources.json, authorization.json and privacy.json, and a page that explains each.

    In a kit that has a site.json, options that are not given keep what it says: after an update --out is enough.

    \b
    Example:
      mdhfl site-kit --out kits/site-1 --site site-1 --bundle resnet10 --device cuda:0 \\
            --data /srv/mdhfl/site-1 --public /srv/mdhfl/public --state /srv/mdhfl/state
    """
    others, bundle_changes = split_changes(parse_changes(pairs))
    if others:
        raise ValueError(
            f"--set {', '.join(others)}: a site sets its bundle alone, bundle.NAME=VALUE; the rest jobs say"
        )
    settings = SiteSettings(
        site=site,
        bundle=str(Path(bundle).resolve()) if "/" in bundle else bundle,
        data=data.resolve(),
        public=None if public == FROM_SERVER else Path(public).resolve(),
        accept_public=_names(accept_public),
        largest_public=largest_public,
        state=state.resolve(),
        device=device,
        threads=threads,
        may_share=_names(may_share),
        scores=scores,
        minimum_images=minimum_images,
        minimum_classes=minimum_classes,
        smallest_count=smallest_count,
        minimum_sites=minimum_sites,
        partners=_keys(partners),
        withhold=_names(withhold),
        weights=weights.resolve() if weights else None,
        methods=_names(methods),
        bundle_changes=bundle_changes,
        defences=defences_from(policy_of(defences, option="--defence")),
        privacy=privacy_from(policy_of(privacy, option="--privacy")),
    )
    _say_written(write_site_kit(kit, settings))
    path = kit / "local" / "site.json"
    if settings.public is None and not settings.accept_public:
        say(f"no public set is accepted yet: mdhfl accept-public {path} shows what a server offers")
    say(f"next: mdhfl check {path}")


@click.command(name="server-kit", short_help="Write the server's policies into its FLARE startup kit.")
@click.option("--out", "kit", type=KIT, required=True, help="The startup kit: the folder with `startup` and `local`.")
@click.option(
    "--public",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A federation's public folder, which the server sends to sites without a copy; left out: none is sent.",
)
def server_kit_command(kit: Path, *, public: Path | None) -> None:
    """Write resources.json and authorization.json, and a page that explains each.

    \b
    Example:
      mdhfl server-kit --out kits/server --public public
    """
    offer = None if public is None else checked_offer(public)
    _say_written(write_server_kit(kit, public=public))
    for line in in_words(offer) if offer is not None else []:
        say(line)


def _as_options(settings: SiteSettings) -> dict[str, Any]:
    """Return the options of `site-kit` that say what a site's settings say."""
    same = ("site", "bundle", "largest_public", "device", "threads", "scores")
    least = ("minimum_images", "minimum_classes", "smallest_count", "minimum_sites")
    listed = ("accept_public", "may_share", "withhold", "methods")
    return {
        **{name: getattr(settings, name) for name in (*same, *least)},
        **{name: ",".join(getattr(settings, name)) for name in listed},
        **{name: str(getattr(settings, name)) for name in ("data", "state")},
        "public": FROM_SERVER if settings.public is None else str(settings.public),
        "weights": None if settings.weights is None else str(settings.weights),
        "partners": [f"{site}={key}" for site, key in settings.partners.items()],
        "pairs": _pairs(with_prefix(settings.bundle_changes)),
        "defences": _pairs(settings.defences.chosen),
        "privacy": _pairs({} if settings.privacy is None else asdict(settings.privacy)),
    }


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def _keys(pairs: tuple[str, ...]) -> dict[str, str]:
    keys = {}
    for pair in pairs:
        site, equals, key = pair.partition("=")
        if not equals:
            raise ValueError(f"--partner {pair}: expected SITE=KEY")
        keys[site] = key
    return keys


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def _say_written(paths: list[Path]) -> None:
    for path in paths:
        say(f"written: {path}")
