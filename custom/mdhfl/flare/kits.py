"""What IT puts into a FLARE startup kit: settings and policies, with a page that explains each."""

import json
from pathlib import Path

from mdhfl.flare.policy import SERVER_CLASSES, SITE_CLASSES, write_policy
from mdhfl.server.hosting import FILE as HOSTED
from mdhfl.server.hosting import write_hosting
from mdhfl.showing.texts import markdown
from mdhfl.site.settings import SiteSettings, read_site_settings

PAGE = "mdhfl.md"
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
  It takes no part in a blind sum of fewer than {sites} sites; {partners}.
  Defences of its answers: {defences}
  Differential privacy of its training: {privacy}
  Modules of methods from elsewhere whose code a job may run: {methods}.
  Public set: {public}.
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

* `hosted.json`: the public set that sites without a copy of their own may fetch: {public}.

Results are kept in `experiments/<id>`, which no job can move.
"""


def write_site_kit(kit: Path, settings: SiteSettings) -> list[Path]:
    """Write site.json, resources.json, authorization.json, privacy.json and the page into a site's kit.

    Args:
        kit: the folder with `startup` and `local`.
        settings: the site's, with absolute paths.

    Returns:
        The paths of the files.

    Raises:
        ValueError: the folder is no startup kit, or the settings are not allowed.
    """
    local = kit / "local"
    written = write_policy(local, classes=SITE_CLASSES, is_site=True)
    (local / "site.json").write_text(json.dumps(settings.to_json(), indent=2) + "\n", encoding="utf-8")
    read_site_settings(local / "site.json")
    page = SITE_PAGE.format(
        site=markdown(settings.site),
        bundle=markdown(settings.bundle),
        may_share=markdown(", ".join(settings.may_share) or "nothing"),
        scores=SCORES_IN_WORDS[settings.scores],
        images=settings.minimum_images,
        classes_with=settings.minimum_classes,
        count=settings.smallest_count,
        withheld="" if not settings.withhold else f" Never leaves: {', '.join(settings.withhold)}.",
        public=_public_in_words(settings),
        sites=settings.minimum_sites,
        partners=(
            f"its partners in one are {markdown(', '.join(settings.partners))}, known by their keys"
            if settings.partners
            else "the other sites' keys are trusted when they are first seen"
        ),
        defences=f"{'; '.join(settings.defences.in_words())}. No epsilon belongs to them."
        if settings.defences.chosen
        else "none.",
        privacy=f"{settings.privacy.in_words()}." if settings.privacy else "none, and so no epsilon is claimed.",
        methods=markdown(", ".join(settings.methods) or "none"),
        classes=len(SITE_CLASSES),
    )
    return [*written, local / "site.json", _write_page(local, page)]


def write_server_kit(kit: Path, *, public: Path | None = None) -> list[Path]:
    """Write resources.json, authorization.json and the page into the server's kit; return the paths of the files.

    Args:
        kit: the folder with `startup` and `local`.
        public: the folder of the public set that it sends to sites; None for none.

    Raises:
        ValueError: the folder is no startup kit.
    """
    written = write_policy(kit / "local", classes=SERVER_CLASSES, is_site=False)
    hosting = kit / "local" / HOSTED
    write_hosting(hosting, public)
    told = "none" if public is None else markdown(str(public.resolve()))
    page = SERVER_PAGE.format(classes=len(SERVER_CLASSES), public=told)
    return [*written, *([] if public is None else [hosting]), _write_page(kit / "local", page)]


def _public_in_words(settings: SiteSettings) -> str:
    if settings.public is not None:
        return f"the site's own copy ({markdown(str(settings.public))}); none is taken from a server"
    accepted = ", ".join(digest[:16] for digest in settings.accept_public)
    most = f"at most {settings.largest_public:,} bytes, checked file by file"
    if not accepted:
        return f"from the server, but no offer is accepted yet, so none is fetched (`mdhfl accept-public`); {most}"
    return f"from the server, if it is what one of the accepted offers says ({accepted}); {most}"


def _write_page(local: Path, page: str) -> Path:
    (local / PAGE).write_text(page, encoding="utf-8")
    return local / PAGE
