"""`mdhfl accept-public`: what a server offers as public set, with its licence and origin; and to take it."""

from pathlib import Path

import click

from mdhfl.files import read_json, write_json
from mdhfl.hosting.kept import is_complete, note_offer, offers_known, set_folder
from mdhfl.hosting.offer import Offer, in_words, read_offer
from mdhfl.showing.terminal import say
from mdhfl.site.settings import SiteSettings, read_site_settings

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
SHORTEST = 8  # digits by which an offer may be named


@click.command(name="accept-public", short_help="Show what public sets a server offers, and accept one.")
@click.argument("settings_path", metavar="SITE_JSON", type=FILE)
@click.option("--offer", type=FILE, help="An offer that came another way: the coordinator's offer.json.")
@click.option("--accept", metavar="DIGEST", help="Accept the offer of this digest; 8 digits will do.")
def accept_public_command(settings_path: Path, *, offer: Path | None, accept: str | None) -> None:
    """Show the licence, the origin and the size of the public sets that a server offered to this site; accept one.

    Nothing is fetched before its offer is accepted here: an offer is one licence and one list of files, and another
    licence or file is another offer. SITE_JSON is the site's, in its kit: its "public" is "server".

    \b
    Examples:
      mdhfl accept-public kits/berlin/local/site.json --offer offer.json
      mdhfl accept-public kits/berlin/local/site.json --accept 6b86b273ff34fce1
    """
    settings = read_site_settings(settings_path)
    if settings.public is not None:
        raise ValueError(
            f'{settings_path}: "public" is a folder: the site has a copy of its own and takes none from a server'
        )
    if offer is not None:
        note_offer(settings.state, read_offer(offer))
    known = offers_known(settings.state)
    if not known:
        raise ValueError(
            f"{settings.state}: no server has offered a public set yet; give the coordinator's with --offer, or wait "
            "for the first job"
        )
    if accept is None:
        _show(known, settings, path=settings_path)
    else:
        _accept(_named(accept, known), settings, path=settings_path)


def _show(known: list[Offer], settings: SiteSettings, *, path: Path) -> None:
    for offer in known:
        for line in in_words(offer):
            say(line)
        if offer.digest not in settings.accept_public:
            say(f"  not accepted; to accept it: mdhfl accept-public {path} --accept {offer.digest[:16]}")
        elif is_complete(set_folder(settings.state, offer.public_digest), offer):
            say("  accepted, and here")
        else:
            say("  accepted; it is fetched when a job begins")


def _named(digest: str, known: list[Offer]) -> Offer:
    found = [offer for offer in known if offer.digest.startswith(digest)]
    if len(digest) < SHORTEST or len(found) != 1:
        raise ValueError(
            f"--accept {digest[:64]!r}: expected {SHORTEST} digits or more of one of the offers "
            f"{', '.join(offer.digest[:16] for offer in known)}"
        )
    return found[0]


def _accept(offer: Offer, settings: SiteSettings, *, path: Path) -> None:
    for line in in_words(offer):
        say(line)
    accepted = [*dict.fromkeys([*settings.accept_public, offer.digest])]
    write_json(path, {**read_json(path), "accept_public": accepted})
    say(f"accepted in {path}; `mdhfl site-kit` keeps it with --accept-public {','.join(accepted)}")
