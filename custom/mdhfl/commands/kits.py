"""`mdhfl site-kit`, `mdhfl server-kit`: what IT puts into a FLARE startup kit, written in one go and explained."""

import json
from pathlib import Path

import click

from mdhfl.flare.policy import SERVER_CLASSES, SITE_CLASSES, write_policy
from mdhfl.showing.terminal import say
from mdhfl.showing.texts import markdown
from mdhfl.site.settings import SCORES, SiteSettings, read_site_settings

KIT = click.Path(path_type=Path, exists=True, file_okay=False)
PLACE = click.Path(path_type=Path)
SCORES_IN_WORDS = {
    "off": "nothing",
    "aggregated": "means of three decimals",
    "full": "confusion matrices, and with them how many test images it has of each class",
}

SITE_PAGE = """# What this kit allows

Written by `mdhfl site-kit` for {site}. FLARE reads these files when the kit starts.

* `site.json`: network ({bundle}), images, public set and state of this site. It may share: {may_share}.
  Of its scores and losses leaves: {scores}.
  With fewer than {images} training images, or {classes_with} classes, nothing leaves; a class with fewer than {count}
  images is told like one without any.{withheld}
  Modules of methods from elsewhere whose code a job may run: {methods}.
  No job can change this file, or name another.
* `resources.json`: only a job of mdhfl's own form is started: two files of settings, no code, no variables. It may
  name {classes} classes, and nothing else of mdhfl, MONAI or FLARE. Logs are not streamed.
  A job's process that is killed or stopped is started again, up to five times, and ends with the client.
* `authorization.json`: administrators may submit, start, stop and list jobs. Nobody may send code with a job, or read
  files of this kit.
* `privacy.json`: whatever a job says, only answers of the asked form leave. `mdhfl leaves` lists what left.
"""

SERVER_PAGE = """# What this kit allows

Written by `mdhfl server-kit`. FLARE reads these files when the kit starts.

* `resources.json`: only a job of mdhfl's own form is started: two files of settings, no code, no variables. It may
  name {classes} classes, and nothing else of mdhfl or FLARE. A job's process ends with the
  server; a job that a killed server left running is marked as ended when it is back.
* `authorization.json`: administrators may submit, start, stop and list jobs. Nobody may send code with a job, or read
  files of this kit.

Results are kept in `experiments/<id>`, which no job can move.
"""


@click.command(name="site-kit", short_help="Write a site's settings and policies into its FLARE startup kit.")
@click.option("--out", "kit", type=KIT, required=True, help="The startup kit: the folder with `startup` and `local`.")
@click.option("--site", required=True, help="The site's name in the kit.")
@click.option("--data", type=PLACE, required=True, help="The site's folder from `mdhfl prepare`.")
@click.option("--public", type=PLACE, required=True, help="The folder of the public set.")
@click.option("--state", type=PLACE, required=True, help="Where models and progress are kept; must outlive jobs.")
@click.option("--bundle", required=True, help="A built-in bundle's name, or the path of your own (a bundle is code).")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option(
    "--may-share",
    default="knowledge",
    show_default=True,
    help="What may leave beside scores: knowledge, weights, encrypted_weights; several with commas.",
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
@click.option("--withhold", default="", help="What never leaves though a method asks for it: competences.")
@click.option("--weights", type=PLACE, help="A state_dict of the bundle that the network starts from.")
@click.option(
    "--methods",
    default="",
    help="Modules of methods from elsewhere that a job may name, with commas. Their code runs at the site.",
)
def site_kit_command(
    kit: Path,
    *,
    site: str,
    data: Path,
    public: Path,
    state: Path,
    bundle: str,
    device: str,
    threads: int,
    may_share: str,
    scores: str,
    minimum_images: int,
    minimum_classes: int,
    smallest_count: int,
    withhold: str,
    weights: Path | None,
    methods: str,
) -> None:
    """Write site.json, resources.json, authorization.json and privacy.json, and a page that explains each.

    \b
    Example:
      mdhfl site-kit --out kits/site-1 --site site-1 --bundle resnet10 --device cuda:0 \\
            --data /srv/mdhfl/site-1 --public /srv/mdhfl/public --state /srv/mdhfl/state
    """
    settings = SiteSettings(
        site=site,
        bundle=str(Path(bundle).resolve()) if "/" in bundle else bundle,
        data=data.resolve(),
        public=public.resolve(),
        state=state.resolve(),
        device=device,
        threads=threads,
        may_share=_names(may_share),
        scores=scores,
        minimum_images=minimum_images,
        minimum_classes=minimum_classes,
        smallest_count=smallest_count,
        withhold=_names(withhold),
        weights=weights.resolve() if weights else None,
        methods=_names(methods),
    )
    local = kit / "local"
    written = write_policy(local, classes=SITE_CLASSES, is_site=True)
    (local / "site.json").write_text(json.dumps(settings.to_json(), indent=2) + "\n", encoding="utf-8")
    read_site_settings(local / "site.json")
    page = SITE_PAGE.format(
        site=markdown(site),
        bundle=markdown(bundle),
        may_share=markdown(", ".join(settings.may_share) or "nothing"),
        scores=SCORES_IN_WORDS[scores],
        images=settings.minimum_images,
        classes_with=settings.minimum_classes,
        count=settings.smallest_count,
        withheld="" if not settings.withhold else f" Never leaves: {', '.join(settings.withhold)}.",
        methods=markdown(", ".join(settings.methods) or "none"),
        classes=len(SITE_CLASSES),
    )
    _finish(local, page, [*written, local / "site.json"])
    say(f"next: mdhfl check {local / 'site.json'}")


@click.command(name="server-kit", short_help="Write the server's policies into its FLARE startup kit.")
@click.option("--out", "kit", type=KIT, required=True, help="The startup kit: the folder with `startup` and `local`.")
def server_kit_command(kit: Path) -> None:
    """Write resources.json and authorization.json, and a page that explains each.

    \b
    Example:
      mdhfl server-kit --out kits/server
    """
    written = write_policy(kit / "local", classes=SERVER_CLASSES, is_site=False)
    _finish(kit / "local", SERVER_PAGE.format(classes=len(SERVER_CLASSES)), written)


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def _finish(local: Path, page: str, written: list[Path]) -> None:
    (local / "mdhfl.md").write_text(page, encoding="utf-8")
    for path in [*written, local / "mdhfl.md"]:
        say(f"written: {path}")
