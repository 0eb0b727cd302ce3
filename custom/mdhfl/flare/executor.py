"""FLARE's side of `site/site.py`: a task is a request, its result an answer; peers are other sites. No arithmetic."""

import threading
from collections.abc import Mapping
from typing import Any

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from mdhfl.flare import places
from mdhfl.flare.filters import ASKED
from mdhfl.flare.logs import PlainLog
from mdhfl.flare.public import FlareHost
from mdhfl.sharing.checks import LONGEST_TEXT, MessageError, shown, text
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.showing.texts import one_line
from mdhfl.site.border import Border
from mdhfl.site.log import refusal_of
from mdhfl.site.site import Site
from mdhfl.site.work import Surroundings
from mdhfl.swarm.peers import PeerError

PEER_TOPIC = "mdhfl.peer"
PEER_TIMEOUT = 300.0  # seconds: a peer may have to import torch and load its images first
LONGEST_REASON = 300  # characters, of why a reply could not be read


class FlarePeers:
    """The other sites, by FLARE's auxiliary messages; with certificates, encrypted from site to site."""

    def __init__(self, engine: Any, border: Border) -> None:
        self._engine, self._border = engine, border

    def send(self, site: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send and wait for the reply. Raises PeerError: none, a refusal, or nothing that can be read as a message."""
        checked = self._border.message(message, to=site)
        if checked.get("refusal"):
            raise PeerError(str(checked["refusal"]))
        with self._engine.new_context() as fl_ctx:
            replies = self._engine.send_aux_request(
                targets=[site],
                topic=PEER_TOPIC,
                request=DXO(data_kind=DataKind.APP_DEFINED, data=checked).to_shareable(),
                timeout=PEER_TIMEOUT,
                fl_ctx=fl_ctx,
                secure=bool(fl_ctx.get_prop(FLContextKey.SECURE_MODE, False)),
            )
        try:
            data, refusal = _read_reply((replies or {}).get(site), site=site)
        except Exception as error:  # whatever FLARE's reader makes of what another machine sent
            reason = one_line(f"{type(error).__name__}: {error!s:.{LONGEST_REASON}}")
            raise PeerError(f"site {site!r}: expected a reply that can be read, got another ({reason})") from error
        if refusal:
            raise PeerError(one_line(refusal))
        return data


class SiteExecutor(PlainLog, Executor):
    """Answers the server's requests with what `site.json` describes. The job never names an architecture."""

    def __init__(self) -> None:
        """Take nothing from the job: a site's settings lie where `places.site_settings` says."""
        super().__init__()
        self._site: Site | None = None
        self._started = ""
        self._opening = threading.Lock()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Listen to the peers from the start of the job; at its end, let others use the site's folder."""
        if event_type == EventType.START_RUN:
            fl_ctx.get_engine().register_aux_message_handler(PEER_TOPIC, self._hear)
        if event_type == EventType.END_RUN and self._site is not None:
            self._site.close()

    def _hear(self, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
        """Answer a peer, who is whom FLARE's message names."""
        try:
            sender = fl_ctx.get_peer_context().get_identity_name()
            message = from_shareable(request).data
            site = self._open(fl_ctx)
            reply = Border(site.settings).message(site.receive(sender, message), to=sender, reply_to=message)
        except Exception as error:
            self.log_exception(fl_ctx, "a peer's message failed")
            reply = {"refusal": _refusal(error, fl_ctx, number=-1)}
        return DXO(data_kind=DataKind.APP_DEFINED, data=reply).to_shareable()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answer one request. Never raises: FLARE must not lose a site to a bad round."""
        from mdhfl.learning.training import Aborted

        name = fl_ctx.get_identity_name()
        number = -1
        try:
            request = Request.from_wire(from_shareable(shareable).data)
            number = request.round
            fl_ctx.set_prop(ASKED, request, private=True, sticky=False)
            site = self._open(fl_ctx)
            answer = site.answer(request, should_stop=lambda: abort_signal.triggered)
            self._say_start(site, fl_ctx)
            # The filter does it once more, and notes it: a filter that FLARE did not run would let all pass unseen.
            answer = Border(site.settings).checked(answer.to_wire(), request)
        except Aborted:
            return make_reply(ReturnCode.TASK_ABORTED)
        except Exception as error:
            self.log_exception(fl_ctx, f"{task_name} failed")
            answer = Answer(site=name, round=number, refusal=_refusal(error, fl_ctx, number=number))
        if answer.refusal:
            self.log_error(fl_ctx, answer.refusal)
        return DXO(data_kind=DataKind.APP_DEFINED, data=answer.to_wire()).to_shareable()

    def _say_start(self, site: Site, fl_ctx: FLContext) -> None:
        """Log once what the site begins with."""
        line = site.start_line()
        if line and line != self._started:
            self.log_info(fl_ctx, line)
            self._started = line

    def _open(self, fl_ctx: FLContext) -> Site:
        with self._opening:
            if self._site is None:
                settings = places.own_settings(fl_ctx)
                peers = FlarePeers(fl_ctx.get_engine(), Border(settings))
                host = FlareHost(fl_ctx.get_engine(), Border(settings))
                self._site = Site(settings, surroundings=Surroundings(peers=peers, host=host))
            return self._site


def _read_reply(reply: Shareable | None, *, site: str) -> tuple[Mapping[str, Any], str]:
    """Return a peer's fields, and why there are none to use, if so. Raises whatever comes of reading anything else."""
    code = "nothing" if reply is None else reply.get_return_code()
    if reply is None or code not in (None, ReturnCode.OK):
        return {}, f"site {site!r}: expected a reply, got {code!s:.100}"
    data = from_shareable(reply).data
    if not isinstance(data, Mapping):
        raise MessageError(f"expected fields by name, got {shown(data)}")
    payload_bytes(data)  # as the swarm counts them: what it could not count, it could not use
    return data, text(data.get("refusal", ""), what="refusal", longest=LONGEST_TEXT)


def _refusal(error: Exception, fl_ctx: FLContext, *, number: int) -> str:
    """Return what others may know of a failure; the rest stands in the site's log, or, without settings, in FLARE's."""
    try:
        state = places.own_settings(fl_ctx).state
    except ValueError:
        state = None
    return refusal_of(error, site=fl_ctx.get_identity_name(), round=number, state=state)
