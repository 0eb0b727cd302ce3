"""The public set over FLARE's auxiliary messages: the server's answers, and how a site asks. No arithmetic."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from mdhfl.flare.logs import PlainLog
from mdhfl.hosting.fetching import HostGone
from mdhfl.hosting.hosted import HostedSet, no_set, unreadable
from mdhfl.server.hosting import read_hosting
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.messages import Request
from mdhfl.site.border import Border

TOPIC = "mdhfl.public"
SERVER = "server"  # FLARE's name for it
PIECE_TIMEOUT = 60.0  # seconds
SLOWEST = 1e6  # bytes a second: how much longer than others a site may take that fetches the set


class PublicService(PlainLog, FLComponent):
    """Answers the sites of one job with pieces of the public set that its server hosts, and changes nothing."""

    def __init__(self, *, sites: Collection[str], public_digest: str) -> None:
        """Take whom it may answer.

        Args:
            sites: of the experiment.
            public_digest: of the experiment's public set; no other is sent.
        """
        super().__init__()
        self._sites, self._digest = frozenset(sites), public_digest
        self._hosted: HostedSet | None = None

    def start(self, hosting: Path, fl_ctx: FLContext) -> None:
        """Measure what is hosted, and listen. A job goes on without it: sites may have copies of their own.

        Args:
            hosting: the server's hosted.json, which need not exist.
            fl_ctx: of the job.
        """
        try:
            folder = read_hosting(hosting)
            hosted = None if folder is None else HostedSet(folder)
        except (OSError, ValueError) as error:
            self.log_error(fl_ctx, f"hosts no public set: {error}")
            hosted = None
        if hosted is not None and hosted.offer.public_digest != self._digest:
            said = f"hosts public set {hosted.offer.public_digest[:8]}, the experiment's is {self._digest[:8]}"
            self.log_warning(fl_ctx, f"{said}: every site needs a copy of its own")
            hosted = None
        if hosted is not None:
            offer = hosted.offer
            said = f"hosts public set {offer.public_digest[:8]}: {len(offer.images)} images, {offer.bytes} bytes"
            self.log_info(fl_ctx, f"{said}, offer {offer.digest}, licence {offer.licence}")
        self._hosted = hosted
        fl_ctx.get_engine().register_aux_message_handler(TOPIC, self.hear)

    @property
    def longer(self) -> float:
        """Seconds that getting ready may take longer because of what is sent."""
        return 0.0 if self._hosted is None else self._hosted.offer.bytes / SLOWEST

    def hear(self, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
        """Answer a question. Never raises."""
        return DXO(data_kind=DataKind.APP_DEFINED, data=self._answer(request, fl_ctx)).to_shareable()

    def _answer(self, request: Shareable, fl_ctx: FLContext) -> dict[str, Any]:
        try:
            sender = fl_ctx.get_peer_context().get_identity_name()
            if self._hosted is None or sender not in self._sites:
                return no_set()
            return self._hosted.answer(from_shareable(request).data)
        except MessageError as error:
            self.log_warning(fl_ctx, f"a site asked for the public set with what is no question: {error}")
            return no_set()
        except Exception:  # whatever another machine sent, or this one's disk does
            self.log_exception(fl_ctx, "a piece of the public set could not be sent")
            return unreadable()


class FlareHost:
    """How a site asks the server for its public set."""

    def __init__(self, engine: Any, border: Border) -> None:
        self._engine, self._border = engine, border

    def ask(self, question: Mapping[str, Any], *, request: Request) -> Any:
        """Send a question and wait for the answer. Raises HostGone."""
        wire = self._border.question(question, request)
        with self._engine.new_context() as fl_ctx:
            replies = self._engine.send_aux_request(
                targets=[SERVER],
                topic=TOPIC,
                request=DXO(data_kind=DataKind.APP_DEFINED, data=wire).to_shareable(),
                timeout=PIECE_TIMEOUT,
                fl_ctx=fl_ctx,
            )
        reply = next(iter((replies or {}).values()), None)
        if reply is not None and reply.get_return_code() == ReturnCode.TOPIC_UNKNOWN:
            return no_set()  # a server of a version that hosts none
        if reply is None or reply.get_return_code() not in (None, ReturnCode.OK):
            code = "nothing" if reply is None else reply.get_return_code()
            raise HostGone(f"expected a piece of the public set, got {code}")
        try:
            return from_shareable(reply).data
        except Exception as error:  # whatever FLARE's reader makes of what another machine sent
            raise MessageError(f"piece: expected FLARE's DXO, got something else ({type(error).__name__})") from error
