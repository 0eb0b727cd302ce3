"""Is what the server asks what an honest server asks? Found out before anything is opened or trained."""

from mdhfl.methods import Method
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.messages import Request

BETWEEN = ("commit", "reveal", "merge")  # rounds: about the models of the last one


def check_request(request: Request, method: Method) -> None:
    """Refuse a request that contradicts itself or its method, or whose lesson no site may learn from.

    Args:
        request: its fields have passed `Request.from_wire`.
        method: the request's.

    Raises:
        MessageError: naming what was expected and what came.
    """
    action, number, lesson, subject = request.action, request.round, request.lesson, request.subject
    if (action == "warm_up") != (number == 0) and action not in ("open", *BETWEEN, "finish"):
        raise MessageError(f"request: expected a warm-up in round 0 and only there, got {action!r} in round {number}")
    if (subject.kind, subject.views) != (method.knowledge_kind, method.question_views()):
        raise MessageError(
            f"request: expected {method.knowledge_kind} in {method.question_views()} views, as its method shares, got "
            f"{subject.kind} in {subject.views}"
        )
    if lesson is None:
        return
    if action not in ("learn", "adopt", *BETWEEN):
        raise MessageError(f"request: expected no lesson for {action!r}, got {lesson.kind}")
    made_of = number if action in BETWEEN else number - 1
    if lesson.round != made_of:
        raise MessageError(f"request: expected a lesson of what was shared in round {made_of}, got {lesson.round}'s")
    lesson.check(kind=subject.kind, shape=subject.shape)
