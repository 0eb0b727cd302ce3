"""A site's defences at work: what it shares is made coarser before it is kept, and looked at once more as it leaves.

The site keeps what it has sent, not what it would have: only so can it subtract its own share from a sum of all.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.coarsening import capped, images_left_out, left_out, on_grid, softened, top_classes
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Request
from mdhfl.sharing.records import Shared
from mdhfl.site.defences import Defences
from mdhfl.site.left import answers_left, array_digest
from mdhfl.site.settings import SiteSettings
from mdhfl.site.work import seed_of, state_folder

CLOSE = 1e-3  # what float16 may add to a number


def guarded(shared: Shared | None, *, last: Shared | None, settings: SiteSettings, request: Request) -> Shared | None:
    """Return what a site shares, less precise as its policy says; what it says again stays as it was.

    Args:
        shared: what its method shares.
        last: what it has shared last, if anything.
        settings: the site's.
        request: what is answered.
    """
    policy = settings.defences
    if not policy.chosen or not isinstance(shared, Knowledge):
        return shared
    if isinstance(last, Knowledge):
        if policy.rounds is not None and request.round >= policy.rounds:
            return replace(last, round=request.round)
        if np.array_equal(shared.values, last.values):
            return shared
    silent = _silent(policy, settings=settings, request=request)
    values = coarsened(shared.values, policy=policy, kind=shared.subject.kind, silent=silent)
    return replace(shared, values=values)


def coarsened(
    values: NDArray[np.floating], *, policy: Defences, kind: str, silent: NDArray[np.bool_] | None
) -> NDArray[np.floating]:
    """Return the values of knowledge as a policy lets them leave.

    Args:
        values: (V * N, C) probabilities or logits.
        policy: one that can be met, see `Defences.problem_with`.
        kind: "probabilities" or "logits".
        silent: (N,), which public images are not answered; None: all are.
    """
    rows: NDArray[np.floating] = values
    if policy.temperature is not None:
        rows = rows / policy.temperature if kind == "logits" else softened(rows, temperature=policy.temperature)
    if policy.top_k is not None:
        rows = top_classes(rows, count=policy.top_k)
    if policy.confidence is not None:
        rows = capped(rows, largest=policy.confidence)
    if silent is not None:
        rows = left_out(rows, images=silent, kind=kind)
    if policy.bits is not None:
        rows = on_grid(rows, bits=policy.bits, largest=policy.confidence or 1.0)
    return rows.astype(np.float32 if policy.precision is None else np.float16)


def check_guarded(knowledge: Knowledge, *, settings: SiteSettings, request: Request) -> None:
    """Refuse to let out knowledge that is not as the site's policy wants it, whoever made it.

    What has left before may leave again; the site's own list of what left tells (`left.py`), so that the limit of
    rounds holds whatever became of the site's state. A temperature leaves no trace to look for.

    Raises:
        MessageError: naming the defence.
    """
    policy = settings.defences
    if not policy.chosen:
        return
    before = answers_left(state_folder(settings, request))
    if array_digest(knowledge.values) in before:
        return
    if policy.rounds is not None and len(before) >= policy.rounds:
        raise MessageError(f"defences: rounds: {len(before)} different answers have left already, and no more may")
    silent = _silent(policy, settings=settings, request=request)
    if broken := _broken(knowledge, policy=policy, silent=silent):
        raise MessageError(f"defences: {broken}: expected {policy.chosen[broken]:g}, got knowledge that breaks it")


def _broken(knowledge: Knowledge, *, policy: Defences, silent: NDArray[np.bool_] | None) -> str:
    """Return the defence that the values break; empty for none."""
    if policy.precision is not None and knowledge.values.dtype != np.float16:
        return "precision"
    values, kind = knowledge.values.astype(np.float64), knowledge.subject.kind
    step = CLOSE
    if policy.bits is not None:
        units = 2**policy.bits - 1
        step += 1 / units
        if np.abs(values * units - np.round(values * units)).max(initial=0) > CLOSE * units:
            return "precision"
    if policy.top_k is not None and policy.top_k < values.shape[1]:
        rest = np.sort(values, axis=1)[:, : -policy.top_k]
        if np.ptp(rest, axis=1).max(initial=0) > step:
            return "top_k"
    if policy.confidence is not None and values.max(initial=0) > policy.confidence + CLOSE:
        return "confidence"
    if silent is not None:
        nothing = coarsened(np.full((1, values.shape[1]), 1 / values.shape[1]), policy=policy, kind=kind, silent=None)
        expected = nothing if kind == "probabilities" else np.zeros_like(nothing)
        if not np.allclose(values[np.tile(silent, len(values) // len(silent))], expected, atol=CLOSE):
            return "answered"
    return ""


def _silent(policy: Defences, *, settings: SiteSettings, request: Request) -> NDArray[np.bool_] | None:
    if policy.answered is None:
        return None
    seed = seed_of(settings, request, "answered")
    return images_left_out(request.subject.public_count, answered=policy.answered, seed=seed)
