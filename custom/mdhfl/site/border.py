"""The border of a site: every message to the server or to a peer is rebuilt here from checked fields, and written down.

What an answer may look like, the site's own settings, data and network say (`form.py`); how much it tells, `told.py`.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl.hosting.pieces import Question
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.knowledge import Knowledge, check_knowledge
from mdhfl.sharing.lots import Lot
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import pack, payload_bytes, unpack
from mdhfl.sharing.pledges import Pledge
from mdhfl.sharing.reasons import Refusal, is_sentence
from mdhfl.sharing.records import Shared
from mdhfl.sharing.turns import MergeTurn, Roll
from mdhfl.sharing.weights import Weights, check_weights
from mdhfl.site import history
from mdhfl.site.blind_border import checked_part, checked_pledge
from mdhfl.site.form import Form, form_of, names_of
from mdhfl.site.guarding import check_guarded
from mdhfl.site.left import SERVER, note
from mdhfl.site.log import PeerLog, refusal_of
from mdhfl.site.peer_border import checked_message
from mdhfl.site.settings import SiteSettings
from mdhfl.site.told import told
from mdhfl.site.work import state_folder


class Border:
    """What may leave one site. Nothing here raises: what cannot pass becomes a refusal."""

    def __init__(self, settings: SiteSettings) -> None:
        self.settings = settings
        self._peer_log = PeerLog(settings.state, site=settings.site)

    def let_out(self, wire: Any, request: Request) -> Answer:
        """Check an answer, write down that it leaves, and return it rebuilt; or a refusal in its place.

        Args:
            wire: an answer's fields, see `Answer.to_wire`.
            request: what was asked.
        """
        return self.noted(self.checked(wire, request), request)

    def checked(self, wire: Any, request: Request) -> Answer:
        """Return an answer rebuilt from checked fields, or a refusal in its place."""
        try:
            return _rebuilt(_checked(Answer.from_wire(wire), request, self.settings))
        except Exception as error:
            return self.refusal(error, request, code="held_back")

    def unasked(self, wire: Any) -> Answer:
        """Return the refusal of a site that could not read what it was asked; whatever else it says stays here."""
        try:
            refusal = Answer.from_wire(wire).refusal
            return Answer(site=self.settings.site, round=-1, refusal=self._checked_refusal(refusal, None))
        except Exception as error:
            return self.refusal(error, None, code="request")

    def noted(self, answer: Answer, request: Request) -> Answer:
        """Write down that an answer leaves; what cannot be written down does not leave."""
        try:
            policy = self.settings.policy
            note(self._folder(request), answer.to_wire(), request=request, to=SERVER, defences=policy)
        except OSError as error:
            return self.refusal(error, request)
        return answer

    def message(self, message: Any, *, to: str, reply_to: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Check a message to another site, write down that it leaves, and return it rebuilt.

        Args:
            message: what a leader asks, with the server's request in it; or what answers that.
            to: the other site.
            reply_to: what is answered; None if this site asks.

        Returns:
            The message; one with "refusal" if it must not leave.
        """
        asked = message if reply_to is None else reply_to
        request = None
        try:
            request = Request.from_wire(asked["request"])
            if reply_to is not None and set(message) == {"refusal"}:
                checked = {"refusal": self._checked_refusal(str(message["refusal"]), request)}
            else:
                checked = checked_message(message, self.settings, request=request, reply_to=reply_to)
            folder = self._folder(request)
            if reply_to is not None and not folder.is_dir():  # a peer may ask about anything: it makes no folder here
                folder = self.settings.state
            note(folder, checked, request=request, to=to, action=f"peer: {asked['ask']!s:.20}")
        except Exception as error:
            if reply_to is None:
                return {"refusal": self.refusal(error, request, code="held_back").refusal}
            number = -1 if request is None else request.round
            return {"refusal": self._peer_log.refusal_of(_named(error, "held_back"), peer=to, round=number)}
        return checked

    def question(self, question: Any, request: Request) -> dict[str, Any]:
        """Check a question to the server about its public set, write down that it leaves, and return it rebuilt.

        Raises:
            MessageError: it is no question about the public set of the request.
            OSError: it cannot be written down; then it does not leave.
        """
        checked = Question.from_wire(question)
        if checked.public_digest != request.subject.public_digest:
            raise MessageError("question: expected one about the experiment's public set, got another")
        note(self._folder(request), checked.to_wire(), request=request, to=SERVER, action="public set")
        return checked.to_wire()

    def refusal(self, error: Exception, request: Request | None, *, code: str = "") -> Answer:
        """Return the refusal that an exception becomes; its text stays in the site's log.

        Args:
            error: what happened.
            request: what was asked, if it could be read.
            code: instead of the exception's own, where that has none for the site's own messages.
        """
        error = _named(error, code)
        number, site = request.round if request is not None else -1, self.settings.site
        text = refusal_of(error, site=site, round=number, state=self.settings.state)
        answer = Answer(site=site, round=number, refusal=text)
        with suppress(ValueError):  # of an experiment that is no folder's name
            if request is not None:
                history.keep(state_folder(self.settings, request), answer, request=request, settings=self.settings)
        return answer

    def _checked_refusal(self, text: str, request: Request | None) -> str:
        if not is_sentence(text, site=self.settings.site, names=names_of(self.settings, request)):
            raise MessageError(f"expected a refusal among the known reasons, got {text[:1000]!r}")
        return text

    def _folder(self, request: Request) -> Path:
        try:
            return state_folder(self.settings, request)
        except ValueError:  # the server named a folder instead of an experiment
            return self.settings.state


def _named(error: Exception, code: str) -> Exception:
    """Return a refusal of a code for an exception that has none for the site's own messages."""
    if not code or not isinstance(error, MessageError | TypeError | AttributeError | RecursionError | KeyError):
        return error
    refusal = Refusal(code, f"{type(error).__name__}: {error}")
    refusal.__cause__ = error
    return refusal.with_traceback(error.__traceback__)


def _checked(answer: Answer, request: Request, settings: SiteSettings) -> Answer:
    """Return an answer made of nothing but what it may hold. Raises ValueError."""
    site = settings.site
    if (answer.site, answer.round) != (site, request.round):
        raise MessageError(f"expected an answer of {site!r} to round {request.round}, got another")
    if answer.refusal:
        if not is_sentence(answer.refusal, site=site, names=names_of(settings, request)):
            raise MessageError(f"expected a refusal among the known reasons, got {answer.refusal!r}")
        return Answer(site=site, round=request.round, refusal=answer.refusal)
    if request.action == "open":
        form_of(settings, request)  # it builds the network to look at: while the site gets ready, not within a round
    if request.action in ("open", "merge", "finish"):
        return Answer(site=site, round=request.round)
    form = form_of(settings, request)
    if request.action in ("commit", "reveal"):
        part = checked_part(answer.shared, form) if form.shares is Pledge else _lot(answer.shared, form)
        return Answer(site=site, round=request.round, shared=part)
    answer = told(replace(answer, shared=_shared(answer.shared, form)), form=form)
    if payload_bytes(answer) > form.budget:
        raise MessageError(f"expected an answer of at most {form.budget} bytes, got {payload_bytes(answer)}")
    return answer


def _shared(shared: Shared | None, form: Form) -> Shared | None:
    """Return what is shared, rebuilt. Raises MessageError."""
    if shared is None:
        return None
    if form.shares is None or type(shared) is not form.shares:
        raise MessageError(f"it holds {shared.kind}, which this method does not share")
    if isinstance(shared, Knowledge):
        return _knowledge(shared, form)
    if isinstance(shared, Pledge):
        return checked_pledge(shared, form)
    if isinstance(shared, Weights):
        return _weights(shared, form)
    if isinstance(shared, Lot):
        raise MessageError("it holds a lot, and no draw was asked for")
    for array in pack(shared.to_wire())[1]:  # of a method from elsewhere: the form is not known
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise MessageError(f"{shared.kind}: expected finite numbers, got {array.dtype}")
    return shared


def _knowledge(knowledge: Knowledge, form: Form) -> Knowledge:
    check_knowledge(knowledge, expected=form.subject, number=form.request.round)
    if knowledge.subject != form.subject:
        raise MessageError("knowledge: expected the site's own public set in the views of this method, got another")
    competences = knowledge.competences
    if competences is not None:
        if "competences" in form.settings.withheld:
            raise MessageError("knowledge: holds competences, which the site withholds")
        few = (competences > 0) & (competences < np.float32(form.least_competence))
        if few.any() or not np.array_equal(competences, competences.round(2)):
            raise MessageError("knowledge: holds competences of fewer images than the site tells, or not rounded ones")
    check_guarded(knowledge, settings=form.settings, request=form.request)
    return replace(knowledge, subject=form.subject)


def _weights(weights: Weights, form: Form) -> Weights:
    check_weights(weights, number=form.request.round)
    network = form.shared
    if (weights.layout, len(weights.values)) != (network.layout, network.length):
        raise MessageError(f"weights: expected {network.length} numbers of {network.bundle}, got {len(weights.values)}")
    return replace(weights, bundle=network.bundle, images=form.training)


def _lot(shared: Shared | None, form: Form) -> Lot:
    """Check what the site says in a draw: of itself what is its own, of others the names that it was asked about."""
    lesson = form.request.lesson
    roll = lesson.roll if isinstance(lesson, MergeTurn) else lesson
    if not isinstance(shared, Lot) or not isinstance(roll, Roll):
        raise MessageError("expected a lot for a draw, got something else")
    own, held = shared.commitment, shared.held
    network = (form.network.layout, form.network.bundle, form.training)
    if own is not None and (own.layout, own.architecture, own.images) != network:
        raise MessageError("lot: expected a commitment for the site's own network and images, got another")
    if not set(shared.against) <= set(roll.roster) or (held is not None and held.roll.roster != roll.roster):
        raise MessageError("lot: expected names of the experiment's sites, got others")
    return shared


def _rebuilt(answer: Answer) -> Answer:
    """Return an answer of plain values and of arrays with nothing behind them: no views, no subclasses."""
    text, arrays = pack(answer.to_wire())
    return Answer.from_wire(unpack(text, [np.array(array, order="C", subok=False, copy=True) for array in arrays]))
