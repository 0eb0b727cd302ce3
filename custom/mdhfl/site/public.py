"""The public set at a site: its own copy, or the server's, if the site's IT has accepted exactly that offer."""

import errno
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mdhfl.hosting.fetching import NAP, Fetcher, ShouldStop, Stopped, Tell
from mdhfl.hosting.kept import (
    OFFER,
    ROOM,
    bytes_of_others,
    complete,
    is_complete,
    kept_offer,
    missing_images,
    note_offer,
    set_folder,
)
from mdhfl.hosting.offer import Offer, in_words, write_offer
from mdhfl.learning.images import image_size_of
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.knowledge import Subject
from mdhfl.sharing.messages import Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.site.settings import SiteSettings
from mdhfl.store.lock import FolderLock, InUse

PATIENCE = 600.0  # seconds that a site waits for another job of its own that fetches the same set
TOLD_PARTS = 10  # of the way to a whole set, each a line in the log


class PublicHost(Protocol):
    """How a site asks the server for a public set."""

    def ask(self, question: Mapping[str, Any], *, request: Request) -> Any:
        """Return the answer to a question that a request of the server gave rise to. Raises HostGone."""


def public_folder(settings: SiteSettings, subject: Subject) -> Path:
    """Return the folder of the public set that an experiment is about: the site's own, or what came from the server.

    Raises:
        Refusal: none came, or its offer is not accepted any more.
    """
    if settings.public is not None:
        return settings.public
    folder = _set_folder(settings, subject)
    offer = kept_offer(folder)
    if offer is None:
        raise Refusal("public_incomplete", f"{folder}: no public set came yet", expected=subject.public_digest[:8])
    _check_accepted(offer, settings)
    return folder


def get_public_set(
    settings: SiteSettings, request: Request, *, host: PublicHost | None, should_stop: ShouldStop, tell: Tell
) -> None:
    """Fetch what is missing of the server's public set, where the site has no copy of its own.

    Args:
        settings: the site's.
        request: whose subject names the set.
        host: how to ask the server; None where there is none that could be asked.
        should_stop: asked before each piece.
        tell: called with the bytes that are here and all, at each tenth of the way.

    Raises:
        Refusal: the site's IT has not accepted it, it is too large, or the server does not give what it offers.
        OSError: the disk does not take it.
        Stopped: `should_stop` said so.
    """
    if settings.public is not None:
        return
    folder, digest = _set_folder(settings, request.subject), request.subject.public_digest
    with _locked(settings.state / ROOM, name=f"{digest}.lock", should_stop=should_stop):
        before = kept_offer(folder)
        if before is not None and before.digest in settings.accept_public and is_complete(folder, before):
            return
        if host is None:
            raise Refusal(
                "public_not_hosted",
                f'site {settings.site!r}: "public" is "server", and this engine has no server that hosts one; give '
                "the folder of a copy",
                expected=digest[:8],
            )
        ask, told = partial(host.ask, request=request), _logged(settings.site, tell)
        fetcher = Fetcher(ask, public_digest=digest, should_stop=should_stop, tell=told)
        offer = fetcher.offer()
        _check_offer(offer, settings, folder=folder)
        write_offer(folder / OFFER, offer)
        fetcher.images(folder, offer)
        complete(folder, offer)


def _set_folder(settings: SiteSettings, subject: Subject) -> Path:
    try:
        return set_folder(settings.state, subject.public_digest)
    except MessageError as error:
        raise Refusal("request", str(error)) from error


def _check_offer(offer: Offer, settings: SiteSettings, *, folder: Path) -> None:
    """Refuse an offer before anything of it is fetched. Raises Refusal, OSError."""
    if offer.digest not in settings.accept_public:
        note_offer(settings.state, offer)
    _check_accepted(offer, settings)
    size, expected = image_size_of(settings.data), offer.public_digest[:8]
    if offer.image_size != size:
        raise Refusal(
            "public_offer",
            f"public set {expected}: expected images of {size} pixels, as the site's own, got {offer.image_size}",
            expected=expected,
        )
    others = bytes_of_others(settings.state, than=folder)
    if offer.bytes + others > settings.largest_public:
        raise Refusal(
            "public_too_large",
            f"public set {expected}: {offer.bytes} bytes, and {others} of others kept in {settings.state / ROOM}, are "
            f"more than largest_public in site.json ({settings.largest_public}); delete there what no experiment needs"
            ", or allow more",
            expected=expected,
        )
    lacking = sum(offer.images[number].size for number in missing_images(folder, offer))
    if lacking > (free := shutil.disk_usage(settings.state).free):
        raise OSError(errno.ENOSPC, f"public set {expected}: {lacking} bytes are to come, {free} are free")


def _check_accepted(offer: Offer, settings: SiteSettings) -> None:
    if offer.digest not in settings.accept_public:
        said = "; ".join(line.strip() for line in in_words(offer))
        raise Refusal(
            "public_not_accepted",
            f"site {settings.site!r} has not accepted this: {said}. Its IT reads it and accepts it with "
            f"`mdhfl accept-public <kit>/local/site.json --accept {offer.digest[:16]}`",
            expected=offer.public_digest[:8],
        )


def _logged(site: str, tell: Tell) -> Tell:
    """Return what tells of progress at each tenth of the way, by `tell` and by a line in the log."""
    log, said = logging.getLogger(__name__), 0

    def told(here: int, whole: int) -> None:
        nonlocal said
        if (part := here * TOLD_PARTS // whole) > said:
            said = part
            tell(here, whole)
            log.info("site %s: public set, %d of %d bytes are here", site, here, whole)

    return told


@contextmanager
def _locked(room: Path, *, name: str, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Wait until no other job of this site fetches the same set. Raises InUse, Stopped."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            lock = FolderLock(room, name=name, way_out="wait until it has fetched the public set")
            break
        except InUse:
            if time.monotonic() > until:
                raise
        if should_stop():
            raise Stopped
        time.sleep(NAP)
    with lock:
        yield
